"""Whether heat maps show where a face was forged, on detectors of which it is known."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.detectors import make_card
from tests.tables import encode, make_image, write_table

from unmask.cli import main
from unmask.data import FaceTable
from unmask.errors import UnmaskError
from unmask.evaluation.where import measure_where, restore_half


class Finder:
    """Knows a forged pixel by its red, which no original has; ``glow`` says what its map shows."""

    def __init__(self, glow: str) -> None:
        self.card, self.glow = make_card(), glow

    def score(self, crops: list[np.ndarray]) -> np.ndarray:
        return np.array([float((crop[..., 0] > 250).any()) for crop in crops])

    def heat(self, crops: list[np.ndarray]) -> np.ndarray:
        where = np.stack([crop[..., 0] - crop[..., 1].astype(np.float32) for crop in crops]) / 255
        if self.glow == "the forged half":
            return where
        if self.glow == "the other":
            return 1 - where
        down, across = np.mgrid[:48, :48]
        return np.repeat(np.hypot(down - 24, across - 24)[None].astype(np.float32) / 34, len(crops), 0)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """40 faces and their forgeries, whose middle is red; the masks say so."""
    path = write_table(tmp_path / "faces.parquet", 40, 40)
    rows = pq.read_table(path).to_pylist()
    originals = {row["source"]: row["image"] for row in rows if row["label"] == "real"}
    mask = np.zeros((48, 48), np.uint8)
    mask[12:36, 12:36] = 255
    for row in rows:
        if row["label"] == "fake":
            image = np.array(Image.open(io.BytesIO(originals[row["source"]])))
            image[mask > 0] = (255, 0, 0)
            row |= {"image": encode(image), "mask": encode(mask)}
        else:
            row["mask"] = None
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(
    ("glow", "auc", "hottest"), [("the forged half", 1, 1), ("the other", 0, 0), ("the rim", 0.5, 0.5)]
)
def test_a_map_is_right_wrong_or_knows_nothing(table: Path, glow: str, auc: float, hottest: float) -> None:
    (found,) = measure_where(Finder(glow), FaceTable.read(table))
    assert (found.method, found.halves, found.called_fake) == ("Deepfakes", 40, 40)
    spread = 0.15 if glow == "the rim" else 0.02
    assert found.auc.value == pytest.approx(auc, abs=spread)
    assert found.hottest.value == pytest.approx(hottest, abs=2 * spread)
    assert found.auc.low <= found.auc.value <= found.auc.high
    assert found.anywhere.value == (1 if glow == "the forged half" else 0)
    assert found.area == pytest.approx(0.25 / 2, abs=0.02)


def test_one_half_is_the_original_and_the_other_the_forgery() -> None:
    rng = np.random.default_rng(0)
    fake, original = (make_image(rng, kind) for kind in (True, False))
    mask = np.zeros((48, 48))
    mask[8:40, 8:40] = 1
    sides = set()
    for seed in range(8):
        half = restore_half(fake, original, mask, np.random.default_rng(seed), row=seed)
        assert half is not None
        assert not (half.forged & half.restored).any()
        assert 0.8 < half.forged.sum() / half.restored.sum() < 1.25
        near = half.crop.astype(int) - np.where(half.forged[..., None], fake, original)
        assert np.abs(near[half.forged | half.restored]).mean() < 5
        sides.add(half.forged[20, 8:40].tobytes())
    assert len(sides) > 4


@pytest.mark.parametrize("side", [0, 1, 2])
def test_a_forgery_too_small_to_be_halved_is_left_out(table: Path, side: int) -> None:
    rows = pq.read_table(table).to_pylist()
    mask = np.zeros((48, 48), np.uint8)
    mask[20 : 20 + side, 20 : 20 + side] = 255
    small = next(row for row in rows if row["label"] == "fake")
    small["mask"] = encode(mask)
    pq.write_table(pa.Table.from_pylist(rows), table)
    (found,) = measure_where(Finder("the forged half"), FaceTable.read(table))
    assert found.halves == 39
    assert found.auc.value == pytest.approx(1, abs=0.02)


def test_the_command_says_what_is_missing_and_measures_the_rest(
    table: Path, tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare, result = write_table(tmp_path / "bare.parquet"), tmp_path / "where.json"
    command = ["evaluate", str(untrained), str(bare), str(table), "--where", "--bootstrap", "10", "--json", str(result)]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "bare.parquet: no forgery with a mask and its original" in printed.err
    assert "Deepfakes" in printed.out
    (found,) = json.loads(result.read_text())
    assert found["methods"][0]["halves"] == 40
    assert found["protocol"]["interval"]["resamples"] == 10
    assert main([*command[:4], "--where", "--recrop"]) == 2
    with pytest.raises(UnmaskError, match="no forgery"):
        measure_where(Finder("the forged half"), FaceTable.read(bare))
