from pathlib import Path

import pytest

from unmask.training.run_log import RunLog


def test_a_long_line_is_one_line_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "word " * 40 + "end"
    RunLog(tmp_path, first_step=0, steps=1, speak=True).say(text)
    assert capsys.readouterr().err == f"{text}\n"
