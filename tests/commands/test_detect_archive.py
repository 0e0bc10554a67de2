"""``unmask detect --out`` as it is typed: what it prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.clips import portrait, write_image

from unmask.cli import main
from unmask.commands import detect_archive


def test_an_output_whose_name_is_no_text(light: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, out = write_image(tmp_path / "a.png", portrait(160)), tmp_path / "out\udcff"
    command = ["detect", str(image), "--out", str(out), "--detector", str(light), "--workers", "1"]
    assert main(command) == main(command) == 0
    assert "0 files judged now, 1 in" in capsys.readouterr().out
    assert json.loads((out / "_summary.json").read_text())["files"] == 1
    assert "out\\udcff" in (out / "_summary.html").read_text()


def test_a_mistyped_name_is_said_each_time_and_is_no_row(
    light: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = write_image(tmp_path / "a.png", portrait(160)), tmp_path / "out"
    command = ["detect", str(image), "--out", str(out), "--detector", str(light), "--workers", "1"]
    for now in ("1 file", "0 files"):
        assert main([*command, str(tmp_path / "b.png"), str(tmp_path / "a.png" / "c.png")]) == 1
        said = capsys.readouterr()
        assert said.err == "".join(f"unmask: {tmp_path}/{name}: no such file\n" for name in ("b.png", "a.png/c.png"))
        assert f"{now} judged now, 1 in" in said.out
    assert main(command) == 0


def test_progress_where_there_is_no_terminal(
    light: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect_archive, "LOG_SECONDS", -1.0)
    image = write_image(tmp_path / "a.png", portrait(160))
    arguments = ["detect", str(image), "--out", str(tmp_path / "out"), "--detector", str(light), "--workers", "1"]
    assert main(arguments) == 0
    assert capsys.readouterr().err == "looked at 1 file\n"
