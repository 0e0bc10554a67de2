"""The command line as a whole: usage, exit codes, start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import unmask
from tests.tables import write_table
from unmask.cli import main

LAPTOP = Path(__file__).parents[1] / "recipes" / "laptop.toml"


@pytest.mark.parametrize("command", [["detect", "x.jpg", "--detector"], ["evaluate"]])
def test_a_bad_detector_is_one_line_and_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    pickle = tmp_path / "model.pth"
    pickle.write_bytes(b"\x80\x04")
    for detector in ("no detector", str(tmp_path), str(pickle), "a" * 300, f"{'a' * 300}.onnx"):
        assert main([*command, detector, *(["x.parquet"] if command == ["evaluate"] else [])]) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert detector in error


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["detect"],
        ["detect", "x", "--frames", "0"],
        ["detect", "x", "--frames", "few"],
        ["detect", "--what"],
    ],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: unmask" in capsys.readouterr().err


def test_evaluate_prints_a_table_and_writes_a_list(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, result = write_table(tmp_path / "faces.parquet"), tmp_path / "result.json"
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1")
    command = ["evaluate", str(untrained), str(table), "--json", str(result), "--bootstrap", "20"]
    assert main(command) == 0
    (found,) = json.loads(result.read_text())
    assert found["auc"]["low"] <= found["auc"]["value"] <= found["auc"]["high"]
    assert "faces.parquet" in capsys.readouterr().out
    assert main([*command, str(broken)]) == 1
    assert [each["error"] is None for each in json.loads(result.read_text())] == [True, False]
    (error,) = capsys.readouterr().err.splitlines()
    assert str(broken) in error


def test_version_and_a_start_without_torch() -> None:
    code = "import sys, unmask.cli; print(sorted({'torch', 'cv2', 'numpy', 'rich', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    done = subprocess.run([sys.executable, "-m", "unmask", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"unmask {unmask.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["train", "--data", "t.parquet", "--set", "run.steps=1", "recipe.toml"], "--set"),
        (["attack", "--attack", "blur", "default", "t.parquet"], "--attack"),
        (["forge", "--method", "face-swap", "t.parquet", "out"], "--method"),
        (["degrade", "--quality", "c40", "t.parquet", "out"], "--quality"),
    ],
)
def test_inputs_behind_an_option_of_many_values(
    arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are taken for values of it; the error says so, since the usage shows this very order."""
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "before" in error or "behind" in error
    assert option in error


@pytest.mark.parametrize(
    "options", [["--set", "run.steps=0", "run.seed=1"], ["--set", "run.steps=0", "--set", "run.seed=1"]]
)
def test_an_option_of_many_values_may_be_repeated(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """None of them is silently lost."""
    assert main(["train", str(LAPTOP), *options]) == 2
    assert "steps" in capsys.readouterr().err
