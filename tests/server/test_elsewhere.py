"""A server where Windows' ways hold, as far as Linux can have them: see ``tests/elsewhere/sitecustomize.py``."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np

from tests.clips import write_image
from tests.elsewhere import ELSEWHERE
from tests.elsewhere.open_files import is_open
from tests.server.serving import until


def test_it_judges_and_forgets_what_is_being_read(light: Path, photo: Path, tmp_path: Path) -> None:
    large = write_image(tmp_path / "large.png", np.zeros((9000, 9000, 3), np.uint8))  # takes a while to decode
    data, log = tmp_path / "data", tmp_path / "log"
    command = [sys.executable, "-m", "unmask", "serve", "--port", "0", "--data", str(data)]
    command += ["--detector", str(light)]
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
                until(lambda: is_open(str(data / "uploads" / job)))
                assert client.delete(f"/jobs/{job}").status_code == 204
                until(lambda: not any((data / "uploads").iterdir()))

                answer = client.post("/detect", files={"file": photo.read_bytes()})
                until(lambda: client.get(answer.headers["location"]).json()["state"] == "done")
                assert client.get(answer.headers["location"]).json()["result"]["verdict"]
                assert not any((data / "uploads").iterdir())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert "Error" not in log.read_text()
