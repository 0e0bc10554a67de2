"""Uploads that mean harm, clients that misbehave, and deaths at the worst moment."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.clips import write_video
from tests.server.serving import Serving, until
from unmask.server.store import Store

MB = 2**20


@pytest.fixture(scope="module")
def server(serve: Callable[..., Serving]) -> Serving:
    return serve(max_bytes=4 * MB, max_duration=3, queue=8, memory=400 * MB)


@pytest.fixture(scope="module")
def hasty(serve: Callable[..., Serving]) -> Serving:
    """It gives up whoever pauses for a second, which on a busy machine may be anybody: for those who mean to alone."""
    return serve(idle=1.0)


def _png_header(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in (head, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _hostile(name: str, folder: Path, clip: Path) -> Path:
    path = folder / f"private {name}"
    if name == "png":
        path.write_bytes(_png_header(100_000, 100_000))
    elif name == "truncated.mp4":
        path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 3])
    elif name == "notes.txt":
        path.write_bytes(b"dear diary\n" * 100)
    elif name == "memory.png":  # within the pixels that are allowed, but not within the memory
        Image.new("1", (9900, 9900)).save(path, "PNG")
    elif name == "long.mp4":
        write_video(path, [np.zeros((64, 64, 3), np.uint8)] * 4, rate=1)
    elif name == "list.mp4":
        path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    elif name == "link.mp4":
        path.write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("png", "more than the 100 megapixels allowed"),
        ("truncated.mp4", "the video is damaged or cut off"),
        ("notes.txt", "is not an image or video of a kind that is read here"),
        ("memory.png", "memory"),
        ("long.mp4", "lasts 4 s, more than the 3 s allowed"),
        ("list.mp4", "is not an image or video of a kind that is read here"),
        ("link.mp4", "is not an image or video of a kind that is read here"),
    ],
)
def test_a_hostile_file_costs_itself(
    server: Serving, tmp_path: Path, clip: Path, photo: Path, name: str, reason: str
) -> None:
    answer = server.send(_hostile(name, tmp_path, clip))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert reason in answer.json()["detail"]
    assert str(server.folder) not in answer.text
    assert server.client.get(f"/jobs/{answer.json()['job']}").json()["error"] == answer.json()["detail"]
    assert server.send(photo).status_code == 200
    assert server.uploads == []
    assert "private" not in server.log


def test_a_body_that_is_too_large_is_not_stored(server: Serving) -> None:
    announced = server.client.post("/detect", files={"file": ("large.mp4", bytes(6 * MB))})
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        while sent < 200:
            sent += 1
            yield bytes(MB)

    try:
        chunked = server.client.post(
            "/detect", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert chunked.status_code == 413
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        pass  # the server read on for a moment, then closed: depending on the moment the answer, or its end, is lost
    assert (announced.status_code, announced.json()["detail"]) == (413, "the file has more than the 4 MB allowed")
    assert sent < 100
    assert server.uploads == []


def test_a_slow_upload_is_given_up(hasty: Serving) -> None:
    host, port = hasty.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 100000\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nabc'
        )
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert hasty.uploads == []


def test_who_has_no_token_does_not_stay_by_sending_slowly(hasty: Serving) -> None:
    host, port = hasty.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=0.1) as connection:
        connection.sendall(b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n")
        for _ in range(300):
            with suppress(ConnectionError):  # the answer is there, and nobody reads on behind it
                connection.sendall(b" ")
            try:
                answer = connection.recv(10_000)
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it may go on for ever")
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_who_connects_and_is_silent_is_shown_out(hasty: Serving) -> None:
    host, port = hasty.url.removeprefix("http://").split(":")
    for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc"):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(said)
            assert connection.recv(10_000) == b""
    # Nor is it a way in to announce a body that nobody reads.
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"x")
        while connection.recv(10_000):
            pass


def test_an_upload_that_breaks_off_leaves_nothing(server: Serving) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 3000000\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + bytes(2 * MB)
        )
        until(lambda: bool(server.uploads))
    until(lambda: not server.uploads)


_PART = b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\nabc\r\n'
_FILE = _PART % (b"file", b'; filename="a"')


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=b", "multipart/form-data", 415),
        (b"", "multipart/form-data; boundary=x", 400),
        (b"SECRET", "multipart/form-data; boundary=x", 400),
        (_FILE, "multipart/form-data; boundary=x", 400),
        (_FILE + _FILE + b"--x--\r\n", "multipart/form-data; boundary=x", 400),
        (_PART % (b"file", b"") + b"--x--\r\n", "multipart/form-data; boundary=x", 400),
        (_PART % (b"other", b'; filename="a"') + b"--x--\r\n", "multipart/form-data; boundary=x", 400),
        (_FILE.replace(b"abc", b"") + b"--x--\r\n", "multipart/form-data; boundary=x", 400),
        (b"--x\r\n" + b"A: b\r\n" * 1000 + b"\r\nabc\r\n--x--\r\n", "multipart/form-data; boundary=x", 400),
        (b"--x\r\n\r\nabc\r\n--x--\r\n", "multipart/form-data; boundary=x", 400),
        (_FILE, f"multipart/form-data; boundary={'x' * 400}", 400),
    ],
)
def test_a_form_that_is_none(server: Serving, body: bytes, kind: str, status: int) -> None:
    answer = server.client.post("/detect", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert server.uploads == []
    assert "SECRET" not in server.log


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (b"../../etc/passwd", "passwd"),
        (b"a\x07\xe2\x80\xaeb.mp4", "ab.mp4"),
        (b"C:\\x\\y.mp4", "y.mp4"),
        (b"\xff.mp4", "\ufffd.mp4"),
        (b"", "upload"),
        (b"x" * 500 + b".mp4", "x" * 116 + ".mp4"),
    ],
)
def test_a_name_is_made_harmless(server: Serving, name: bytes, kept: str) -> None:
    body = _PART % (b"file", b'; filename="%s"' % name) + b"--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Prefer": "respond-async"}
    answer = server.client.post("/detect", content=body, headers=headers)
    assert answer.json()["name"] == kept


def test_twenty_at_once(server: Serving, photo: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        with server.held():
            asked = [pool.submit(server.send, photo) for _ in range(20)]
            until(lambda: sum(each.done() for each in asked) >= 11)
        answers = [each.result() for each in asked]
    done = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(done) + len(refused) == 20, [answer.text for answer in answers]
    assert len(done) in (8, 9)  # as many as may wait, and the one that runs if it began before the last of them came
    assert len({answer.json()["result"]["score"] for answer in done}) == 1
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert server.uploads == []


def test_a_worker_that_is_killed_costs_its_job(serve: Callable[..., Serving], photo: Path) -> None:
    server = serve()
    assert server.wait(server.send_later(photo))["state"] == "done"
    with server.held() as worker:
        job = server.send_later(photo)
        server.wait(job, "running")
        os.kill(worker, signal.SIGKILL)
        found = server.wait(job)
    assert (found["state"], found["error"]) == ("failed", "ended the process that read it (signal 9)")
    assert server.wait(server.send_later(photo))["state"] == "done"
    assert server.workers() != [worker]
    server.end()


def test_a_worker_that_the_system_refuses_costs_a_job(serve: Callable[..., Serving], photo: Path) -> None:
    server = serve()
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    until(lambda: not server.workers())
    server.client.get("/healthz")  # so that the connection is there
    files = {int(file.name) for file in Path(f"/proc/{server.process.pid}/fd").iterdir()}
    free = min(set(range(1000)) - files)
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (free + 1, limits[1]))  # the upload gets one
    try:
        refused = server.send(photo)
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
    assert (refused.status_code, refused.json()["detail"]) == (422, "the server failed; its log says where")
    assert ": OSError" in server.log
    server.end()


def test_time_is_limited_and_results_go_when_they_said_they_would(serve: Callable[..., Serving], photo: Path) -> None:
    server = serve(timeout=0.3, keep=1.0)
    with server.held():  # at work it may reach the limit of processor time first
        answer = server.send(photo)
    assert (answer.status_code, answer.json()["detail"]) == (422, "took longer than 0.3 s")
    until(lambda: server.client.get(f"/jobs/{answer.json()['job']}").status_code == 404)
    server.end()


def test_jobs_survive_the_death_of_the_server(serve: Callable[..., Serving], clip: Path, photo: Path) -> None:
    server = serve(grace=0.1)
    with server.held() as worker:
        running, waiting = server.send_later(clip), server.send_later(photo)
        server.wait(running, "running")
        (server.folder / "uploads" / f"{'orphan':_<22}").touch()
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not Path(f"/proc/{worker}/cmdline").exists())
    assert len(server.uploads) == 3
    server.start()
    found = server.wait(running)
    assert (found["error"], found["state"]) == (None, "done")
    assert found["result"]["frames"] == 12
    assert server.wait(waiting)["result"]["kind"] == "image"
    assert server.uploads == []

    # Told to stop, it lets go of who waits at once, and of what runs after a while.
    with ThreadPoolExecutor() as pool, server.held():
        asked = pool.submit(server.send, clip)
        until(lambda: server.figure("unmask_jobs_running") == 1)
        server.process.send_signal(signal.SIGTERM)
        answer = asked.result()
    assert answer.status_code == 202
    # A second signal would end it the hard way where it has nothing left to do but to leave.
    assert server.end(None) == 0
    store = Store(server.folder)
    assert store.queued() == [answer.json()["id"]]
    store.close()
    assert "Traceback" not in server.log
    assert clip.name not in server.log
