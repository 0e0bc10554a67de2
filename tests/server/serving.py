"""A real server in a process of its own, with any settings: ``python -m tests.server.serving SETTINGS.json``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx


def until(condition: Callable[[], bool]) -> None:
    """Wait for it, however busy the machine is."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.03)
    raise AssertionError("it did not come about")


class Serving:
    """Starts it, knows where it is, and ends it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self._settings = folder, settings
        self.start()

    def start(self) -> None:
        self.log_file = self.folder.with_suffix(".log")
        # A busy machine takes its time: to load a detector alone it may need a minute.
        settings = json.dumps({"folder": str(self.folder), "patience": 200, **self._settings})
        root = Path(__file__).parents[2]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.server.serving", settings],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=root,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("unmask is at "), self.log
        self.url = line.split()[-1]
        self.client = httpx.Client(base_url=self.url, timeout=220)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def uploads(self) -> list[Path]:
        return list((self.folder / "uploads").iterdir())

    def workers(self) -> list[int]:
        """Process ids of those that judge (not of the tracker that Python keeps beside them)."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        pids = [pid for task in tasks for pid in (task / "children").read_text().split()]
        return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    @contextmanager
    def held(self) -> Iterator[int]:
        """Once all jobs are done, the process that judges, whose id is given, stands still: the next job goes on."""
        until(lambda: self.figure("unmask_jobs_queued") == self.figure("unmask_jobs_running") == 0)
        (worker,) = self.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            yield worker
        finally:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)

    def figure(self, name: str) -> float:
        """The sum of a metric's lines."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def send(self, path: Path, params: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
        with path.open("rb") as file:
            return self.client.post("/detect", files={"file": (path.name, file)}, params=params, **options)

    def send_later(self, path: Path, frames: int = 32) -> str:
        """The id of a job that is waited for by nobody."""
        answer = self.send(path, {"frames": frames}, headers={"Prefer": "respond-async"})
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    def wait(self, job: str, *states: str) -> dict[str, Any]:
        """The job once it is in one of the states (done, failed)."""
        for _ in range(5000):
            found: dict[str, Any] = self.client.get(f"/jobs/{job}").json()
            if found["state"] in (states or ("done", "failed")):
                return found
            time.sleep(0.03)
        raise AssertionError(f"still {found['state']}: {self.log}")

    def end(self, how: int | None = signal.SIGTERM) -> int:
        """Send the signal, or none where one was sent before, and wait for the end: its exit code."""
        self.client.close()
        if how is not None:
            self.process.send_signal(how)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


if __name__ == "__main__":
    from unmask.server import Settings
    from unmask.server.run import serve

    given = json.loads(sys.argv[1])
    given["folder"] = Path(given["folder"])
    given["tokens"] = tuple(given.get("tokens", ()))
    serve(Settings(**given), socket.create_server(("127.0.0.1", 0)))
