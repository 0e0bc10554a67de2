"""``unmask serve`` as it is typed."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from unmask.cli import main
from unmask.commands.serve import seconds, size, tokens
from unmask.errors import UnmaskError


def test_it_serves_and_stops(untrained: Path, photo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "unmask", "serve", "--port", "0", "--detector", str(untrained), "--max-size", "1M"]
    environment = {**os.environ, "UNMASK_TOKEN": "a-token-that-nobody-guesses"}
    with subprocess.Popen(
        [*command, "--data", str(tmp_path / "data")], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert url.startswith("http://127.0.0.1:")
        bearer = {"Authorization": "Bearer a-token-that-nobody-guesses"}
        assert httpx.get(f"{url}/about").status_code == 401
        assert httpx.get(f"{url}/about", headers=bearer).json()["limits"]["max_bytes"] == 2**20
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: everybody on the network could use it; give a --token-file"),
        (["--host", "::"], "everybody on the network"),
        (["--token-file", "missing"], "missing: cannot be read (No such file or directory)"),
        (["--token-file", "short"], "short: a token needs at least 16 characters"),
        (["--token-file", "empty"], "empty: holds no token"),
        (["--port", "0", "--data", "short"], "short: cannot be used for uploads and results"),
        (["--port", "0", "--data", "data", "--detector", "nowhere"], "nowhere: "),
        (["--host", "host.invalid", "--insecure"], "host.invalid:8000: cannot listen there"),
    ],
)
def test_it_refuses_in_one_line(
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("abc\n")
    (tmp_path / "empty").write_text("\n")
    assert main(["serve", *arguments]) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith(f"unmask: {reason}" if ":" in reason else "unmask: ")
    assert reason in error


def test_a_mark_of_windows_is_no_part_of_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNMASK_TOKEN", raising=False)
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfa-token-that-nobody-guesses\r\n")
    assert tokens(str(tmp_path / "token")) == ("a-token-that-nobody-guesses",)


def test_a_token_that_is_too_short_is_named_by_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("a-token-that-nobody-guesses")
    monkeypatch.setenv("UNMASK_TOKEN", "abc")
    with pytest.raises(UnmaskError, match="UNMASK_TOKEN: a token needs at least 16 characters"):
        tokens(str(tmp_path / "token"))


def test_without_a_home_a_folder_is_needed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)  # whom the system does not know
    assert main(["serve", "--port", "0"]) == 2
    assert capsys.readouterr().err.endswith("unmask: --data: is needed: this user has no home directory\n")


def test_what_is_missing_in_a_worker_is_said_with_what_to_install(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    monkeypatch.syspath_prepend(tmp_path)  # which the workers take over
    assert main(["serve", "--port", "0", "--detector", str(untrained), "--data", str(tmp_path / "data")]) == 2
    expected = "unmask: torch is not installed; this command needs it: pip install 'unmask[torch]'\n"
    assert capsys.readouterr().err == expected


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"unmask: 127.0.0.1:{port}: cannot listen there (Address already in use)\n"


def test_the_server_itself_loads_no_torch() -> None:
    code = "import sys, unmask.server.run; print(sorted({'torch', 'cv2', 'numpy', 'av', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_sizes_and_times() -> None:
    assert [size(text) for text in ("1", "2K", "500M", "1.5G", "2gb")] == [1, 2048, 500 * 2**20, 3 * 2**29, 2**31]
    assert [seconds(text) for text in ("90", "30s", "10m", "1.5h", "7d")] == [90, 30, 600, 5400, 604800]
    for text in ("", "0", "-1M", "M", "1T", "0.1"):
        with pytest.raises(argparse.ArgumentTypeError):
            size(text)
    for text in ("", "0", "-1", "1w", "h"):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(text)
