"""Faces that were cut wider or tighter than a detector takes them are not passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tables import write_table
from unmask import UnmaskError
from unmask.cli import main
from unmask.data.cut import other_cuts
from unmask.faces.crop import CropRecipe
from unmask.parts import RECIPE_FILE
from unmask.training import read_recipe, train


@pytest.fixture
def tight(tmp_path: Path) -> Path:
    """A table as ``unmask prepare --margin 0.82 --shift-y 0.05`` leaves it."""
    folder = tmp_path / "tight"
    folder.mkdir()
    write_table(folder / "part-0-of-1-000000.parquet", 6, 6, seed=1, size=32)
    made = {"layout": "ffpp", "crop": {"margin": 0.82, "shift_y": 0.05, "size": 224}}
    (folder / RECIPE_FILE).write_text(json.dumps(made))
    return folder


def test_only_what_differs_is_said(tight: Path, tmp_path: Path) -> None:
    unknown = tmp_path / "unknown.parquet"
    write_table(unknown, 2, 2, seed=2, size=32)
    assert other_cuts([tight, unknown], CropRecipe(0.82, 0.05, 96)) == []
    (line,) = other_cuts([tight, unknown], CropRecipe())
    assert line == f"{tight}: its faces were cut with margin 0.82 and shift 0.05, not with margin 1.3 and shift 0"
    (tight / RECIPE_FILE).write_text("{}")
    assert other_cuts(tight, CropRecipe()) == []


def test_measuring_on_other_cuts_is_said(tight: Path, untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(untrained), str(tight), "--bootstrap", "0"]) == 0
    assert f"{tight}: its faces were cut with margin 0.82" in capsys.readouterr().err
    assert main(["attack", str(untrained), str(tight), "--attack", "compression", "--bootstrap", "0"]) == 0
    assert "its faces were cut with margin 0.82" in capsys.readouterr().err


def test_nothing_is_calibrated_on_other_cuts(
    tight: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", str(untrained), str(tight), "--out", str(tmp_path / "out")]) == 2
    assert "its faces were cut with margin 0.82" in capsys.readouterr().err


def test_a_recipe_must_say_how_its_tables_were_cut(tight: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[data]\ntrain = ["{tight}"]\nvalidation = ["{tight}"]\n[model]\npretrained = "none"\n')
    with pytest.raises(UnmaskError, match=r"data\.crop: .*tight: its faces were cut with margin 0\.82"):
        train(read_recipe(recipe), tmp_path / "run")
    assert not (tmp_path / "run").exists()
