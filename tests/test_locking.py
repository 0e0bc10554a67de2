"""Locks: one holder at a time, and none that is dead; with what Unix has, and with what Windows has."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.elsewhere import ELSEWHERE, NEEDS_PROC
from unmask.locking import locked

_HOLD = """
import sys, time
from pathlib import Path
from unmask.locking import locked
with locked(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_one_holder_at_a_time_and_what_is_in_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("key")
    for _ in range(2):
        with locked(path) as mine, locked(path) as again:
            assert (mine, again) == (True, False)
            with locked(tmp_path / "other") as other:
                assert other
    assert path.read_text() == "key"


def test_a_block_that_fails_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "lock"):
        raise KeyboardInterrupt
    with locked(tmp_path / "lock") as mine:
        assert mine


@pytest.mark.parametrize("environment", [None, pytest.param(ELSEWHERE, marks=NEEDS_PROC)], ids=["here", "elsewhere"])
def test_a_process_that_is_killed_lets_go(tmp_path: Path, environment: dict[str, str] | None) -> None:
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "lock")]
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "True\n"
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as other:
                assert other.stdout is not None
                assert other.stdout.readline() == "False\n"
                other.kill()
            with locked(tmp_path / "lock") as mine:
                assert not mine
            holder.send_signal(signal.SIGKILL)


def test_a_file_that_cannot_be_opened_is_no_file_that_is_taken(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), locked(tmp_path):
        pass
