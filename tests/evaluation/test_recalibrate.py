"""A finished detector gets another calibration, threshold and band; its weights stay the same bytes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.detectors import make_detector
from tests.tables import encode, make_image, write_table

from unmask.cli import main
from unmask.data.table import FaceTable
from unmask.data.writer import write_faces
from unmask.detector import Scorer, read_detector
from unmask.detector.adversary import fit_adversary
from unmask.detector.card import QualityLimits
from unmask.errors import UnmaskError
from unmask.evaluation.recalibrate import fit_verdicts, recalibrate
from unmask.evaluation.tested import measure_tested


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    return make_detector(tmp_path / "detector", backbone="test_efficientnet")


@pytest.fixture
def table(tmp_path: Path, detector: Path) -> Path:
    """Rows whose labels follow the detector's own scores, which makes a good detector of an untrained one."""
    rng = np.random.default_rng(0)
    images = [make_image(rng, False) for _ in range(240)]
    odds = Scorer.load(detector, device="cpu").log_odds(images)
    fake = odds > np.median(odds) + rng.normal(0, odds.std() / 2, len(odds))
    rows = (
        {"image": encode(image), "label": "fake" if label else "real", "component": f"c{n}", "box": [0, 0, 50 + n, 40]}
        for n, (image, label) in enumerate(zip(images, fake, strict=True))
    )
    write_faces(tmp_path / "validation.parquet", rows)
    return tmp_path / "validation.parquet"


def test_the_command_from_tables_to_a_detector(
    detector: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (detector / "model.onnx").write_bytes(b"exported from the same weights")
    assert main(["calibrate", str(detector), str(table), "--out", str(out), "--fpr", "0.1", "--fnr", "0.02"]) == 0
    assert (out / "model.onnx").read_bytes() == b"exported from the same weights"
    printed = capsys.readouterr().out
    assert "held out     ECE" in printed
    assert f"written      {out}" in printed
    assert (out / "model.safetensors").read_bytes() == (detector / "model.safetensors").read_bytes()
    before, after = read_detector(detector)[0], read_detector(out)[0]
    assert "at most 10 % of the validation reals" in after.threshold_rule
    assert "at most 2 % of the validation fakes" in after.uncertain_rule
    assert after.calibration != before.calibration
    rows = FaceTable.read(table)
    scores = Scorer.load(out, device="cpu").score([rows.image(row) for row in range(len(rows))])
    assert np.mean(scores[~rows.fake] >= after.threshold) <= 0.1
    assert after.uncertain is not None
    assert np.mean(scores[rows.fake] < after.uncertain[0]) <= 0.02
    assert after.tested is not None
    assert after.tested.crops == 240
    # The box has the face's size in its frame: 50 to 289 px. Scaled to a crop, it shows no codec's blocks any more.
    assert after.tested.blockiness is None
    assert after.tested.face_side == pytest.approx(52.4, abs=0.1)
    kept = ("weights_sha256", "crop", "training", "results", "limits", "version")
    assert all(getattr(after, name) == getattr(before, name) for name in kept)


def test_one_name_in_two_data_sets_is_two_groups(detector: Path, table: Path, tmp_path: Path) -> None:
    rows = pq.read_table(table).to_pylist()
    write_faces(
        tmp_path / "two.parquet",
        ({**row, "dataset": "AB"[n % 2], "component": "000", "source": "000"} for n, row in enumerate(rows)),
    )
    found = recalibrate(Scorer.load(detector, device="cpu"), FaceTable.read(tmp_path / "two.parquet"))
    assert found.held_out["rows"] == 120, "one data set was held out"


def test_without_out_nothing_is_written(detector: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bytes_before = {file.name: file.read_bytes() for file in detector.iterdir()}
    assert main(["calibrate", str(detector), str(table)]) == 0
    assert {file.name: file.read_bytes() for file in detector.iterdir()} == bytes_before
    assert "threshold" in capsys.readouterr().out


def test_rows_that_cannot_be_read_are_named(
    detector: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.parquet"
    whole = FaceTable.read(table)
    rows = [whole.row(row) for row in range(240)]
    write_faces(broken, ({**row, "image": b"none"} if n % 80 == 3 else row for n, row in enumerate(rows)))
    assert main(["calibrate", str(detector), str(broken), "--out", str(tmp_path / "out")]) == 1
    named = re.findall(r"broken\.parquet: row (\d+): cannot", capsys.readouterr().err)
    assert named == ["3", "83", "163"]
    card = read_detector(tmp_path / "out")[0]
    assert card.tested is not None
    assert card.tested.crops == 237


def test_in_place_with_an_adversary(detector: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(detector), str(table), "--out", str(detector), "--adversary", "2"]) == 0
    card, _ = read_detector(detector)
    assert card.adversary is not None
    assert card.adversary["steps"] == 2
    assert card.tested is not None
    assert "by the map of another face" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--adversary", "5"], "--adversary: needs --out"),
        (["--split", "none"], "no row of split"),
    ],
)
def test_what_cannot_be_done_is_said(
    detector: Path, table: Path, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    assert main(["calibrate", str(detector), str(table), *options]) == 2
    assert reason in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["calibrate", str(detector), str(table), "--fpr", "1"])
    assert main(["calibrate", str(detector), str(table), "--out", str(table / "below a file")]) == 2
    assert "the folder cannot be made" in capsys.readouterr().err


def test_one_class_is_refused(detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reals = write_table(tmp_path / "reals.parquet", 6, 0)
    assert main(["calibrate", str(detector), str(reals)]) == 2
    assert "only reals" in capsys.readouterr().err


def test_verdicts_are_what_a_card_takes() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 2, 500)
    found = vars(fit_verdicts(odds, rng.random(500) < 1 / (1 + np.exp(-odds))))
    assert json.loads(json.dumps(found))["threshold"] == found["threshold"]
    assert found["uncertain"][0] < found["uncertain"][1] < found["threshold"]


def test_limits_that_the_rows_cannot_tell_stay(detector: Path, table: Path, tmp_path: Path) -> None:
    rows = [row | {"box": None} for row in pq.read_table(table).to_pylist()]
    write_faces(tmp_path / "boxless.parquet", rows)
    known = QualityLimits(crops=7, quantile=0.01, face_side=64.0, sharpness=0.5)
    card, state = read_detector(detector)
    scorer = Scorer(replace(card, tested=known), state, device="cpu")
    found = recalibrate(scorer, FaceTable.read(tmp_path / "boxless.parquet")).card.tested
    measured = measure_tested(FaceTable.read(tmp_path / "boxless.parquet"))
    assert measured is not None
    assert (measured.face_side, measured.crops) == (None, 240)
    assert found == replace(measured, face_side=64.0)
    write_faces(tmp_path / "few.parquet", rows[:90])
    assert recalibrate(scorer, FaceTable.read(tmp_path / "few.parquet")).card.tested == known


def test_few_crops_have_no_limits(tmp_path: Path) -> None:
    assert measure_tested(FaceTable.read(write_table(tmp_path / "few.parquet", 20, 20))) is None
    found = measure_tested(FaceTable.read(write_table(tmp_path / "more.parquet", 60, 60)))
    assert found is not None
    # 48 pixels and no box: sharpness and blocks can be told, the size of the face in its frame cannot.
    assert found.face_side is None
    assert found.sharpness is not None
    assert found.blockiness is not None


@pytest.mark.parametrize("whole", [2, 0])
def test_an_adversary_is_fitted_to_the_rows_that_decode(detector: Path, tmp_path: Path, whole: int) -> None:
    rng = np.random.default_rng(0)
    rows = (
        {
            "image": encode(make_image(rng, False)) if n < whole else b"broken",
            "label": label,
            "component": f"{label}{n}",
        }
        for label in ("real", "fake")
        for n in range(4)
    )
    write_faces(tmp_path / "some.parquet", rows)
    table, scorer = FaceTable.read(tmp_path / "some.parquet"), Scorer.load(detector, device="cpu")
    if whole:
        _, losses = fit_adversary(scorer, table, steps=3, batch_size=8)
        assert set(losses) == {"loss_before", "loss_after", "loss_control"}
    else:
        with pytest.raises(UnmaskError, match="cannot decode the image"):
            fit_adversary(scorer, table, steps=1, batch_size=4)
