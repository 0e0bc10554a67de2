"""A server where Windows' ways hold, as far as Linux can have them: see ``tests/elsewhere/sitecustomize.py``."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np

from tests.clips import write_image
from tests.elsewhere import ELSEWHERE
from tests.elsewhere.open_files import is_open


def test_it_judges_and_forgets_what_is_being_read(photo: Path, tmp_path: Path) -> None:
    large = write_image(tmp_path / "large.png", np.zeros((9000, 9000, 3), np.uint8))  # takes a while to decode
    data, log = tmp_path / "data", tmp_path / "log"
    command = [sys.executable, "-m", "unmask", "serve", "--port", "0", "--data", str(data)]
    with (
        log.open("w") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=ELSEWHERE) as process,
    ):
        try:
            assert process.stdout is not None
            with httpx.Client(base_url=process.stdout.readline().split()[-1], timeout=60) as client:
                second = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=ELSEWHERE, check=False)
                assert (second.returncode, second.stderr) == (2, f"unmask: {data}: another server uses this folder\n")

                file = {"file": large.read_bytes()}
                job = client.post("/detect", files=file, headers={"Prefer": "respond-async"}).json()["id"]
                _until(lambda: is_open(str(data / "uploads" / job)))
                assert client.delete(f"/jobs/{job}").status_code == 204
                _until(lambda: not any((data / "uploads").iterdir()))

                answer = client.post("/detect", files={"file": photo.read_bytes()}, headers={"Prefer": "wait=60"})
                assert answer.json()["result"]["verdict"]
                assert not any((data / "uploads").iterdir())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert "Error" not in log.read_text()


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.03)
    raise AssertionError("it did not come about")
