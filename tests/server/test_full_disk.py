"""A disk without room: what is refused, what is told, and that it passes."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from tests.server.serving import Serving, until
from unmask.server import uploads
from unmask.server.problems import Problem


@pytest.fixture(scope="module")
def server(serve: Callable[..., Serving]) -> Serving:
    return serve(keep=20.0)


@contextmanager
def _largest_file(server: Serving, size: int) -> Iterator[None]:
    """No file of the server may grow beyond so many bytes."""

    def limit(size: int) -> None:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    limit(size)
    try:
        yield
    finally:
        limit(resource.RLIM_INFINITY)


def test_it_is_said_and_survived(server: Serving, photo: Path) -> None:
    empty_log = server.send(photo).json()["id"]
    server.client.delete(f"/jobs/{empty_log}")
    with _largest_file(server, 40_000):
        upload = server.client.post("/detect", files={"file": ("a.jpg", bytes(2**20))})
        result = server.send(photo)  # fits, but what it gives does not
    assert (upload.status_code, upload.json()["detail"]) == (507, "no space for the upload (File too large)")
    assert (result.status_code, result.json()["detail"]) == (422, "no space for the result")
    assert server.send(photo).status_code == 200
    assert server.uploads == []


def test_a_job_whose_end_cannot_be_noted_ends_all_the_same(server: Serving, photo: Path) -> None:
    def failed() -> float:
        return server.figure('unmask_jobs_total{outcome="failed"}')

    def state() -> str:
        with closing(sqlite3.connect(server.folder / "jobs.sqlite")) as database:
            return str(database.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()[0])

    before, kept = failed(), server.send(photo).json()["id"]
    with ExitStack() as full:
        with server.held():
            job = server.send_later(photo)
            server.wait(job, "running")
            full.enter_context(_largest_file(server, (server.folder / "jobs.sqlite-wal").stat().st_size))
        assert server.wait(job)["error"] == "no space for the result"
        assert (state(), server.uploads, failed()) == ("running", [], before + 1)
        refused = server.client.delete(f"/jobs/{kept}")
        assert (refused.status_code, server.client.get(f"/jobs/{kept}").status_code) == (507, 200)
        assert "deleting needs some" in refused.json()["detail"]
    until(lambda: state() == "failed")  # once there is room
    assert server.wait(job)["error"] == "no space for the result"
    assert server.client.delete(f"/jobs/{kept}").status_code in (204, 404)  # it may have been its time


def test_uploads_leave_room_for_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\npicture\r\n--x--\r\n'

    async def arrives() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    def receive() -> tuple[str, int]:
        scope = {"type": "http", "headers": [(b"content-type", b"multipart/form-data; boundary=x")]}
        return asyncio.run(uploads.receive(Request(scope, arrives), tmp_path / "upload", 1000, 1.0))

    monkeypatch.setattr(uploads, "_SPARE", shutil.disk_usage(tmp_path).total)
    with pytest.raises(Problem, match="no space for the upload"):
        receive()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(uploads, "_SPARE", 0)
    assert receive() == ("a", 7)
