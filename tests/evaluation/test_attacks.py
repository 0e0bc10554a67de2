"""Attacks on a small trained detector: they hurt, more strength hurts more, random changes as strong do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.detectors import make_card, make_detector
from tests.tables import make_image, write_table
from torch.nn import functional as F

from unmask.cli import main
from unmask.data.degrade import degrade_table
from unmask.data.table import FaceTable
from unmask.detector import Scorer, save_detector
from unmask.errors import UnmaskError
from unmask.evaluation import evaluate
from unmask.evaluation.attack_plan import COMPRESSION, FAMILIES, plan
from unmask.evaluation.attack_result import Outcome, Played, Robustness
from unmask.evaluation.attacks import attack_detector, load_attackable
from unmask.game.classifier import build_classifier

SIZE = 32


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector trained for seconds on faces whose fakes have a checkerboard."""
    card = make_card(backbone="test_efficientnet", input_size=SIZE, threshold=0.4)
    rng = np.random.default_rng(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_classifier(card.backbone, card.classes, card.mean, card.std).train()
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        labels = torch.arange(32) % 2
        for _ in range(40):
            images = np.stack([make_image(rng, bool(label), SIZE) for label in labels])
            optimiser.zero_grad()
            F.cross_entropy(model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255), labels).backward()
            optimiser.step()
    return save_detector(tmp_path_factory.mktemp("detector") / "trained", model.state_dict(), card)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "faces.parquet", 20, 20, seed=5, size=SIZE)


def attack(detector: Path, table: Path, **options: Any) -> Robustness:
    return attack_detector(load_attackable(detector, "cpu"), FaceTable.read(table), **{"bootstrap": 0} | options)


@pytest.fixture(scope="module")
def found(detector: Path, table: Path) -> Robustness:
    return attack(detector, table, bootstrap=50)


def played(found: Robustness, family: str) -> list[Played]:
    return [each for each in found.played if each.attack == family]


def control(each: Played) -> Outcome:
    assert each.control is not None
    return each.control


def test_the_clean_rows_are_what_evaluate_reports(detector: Path, table: Path, found: Robustness) -> None:
    [expected] = evaluate(Scorer.load(detector, "cpu"), [table], bootstrap=50).tables
    assert expected.levels is not None
    frame, clean = expected.levels.frame, found.clean.metrics
    assert (clean["auc"], clean["accuracy"], clean["reals_called_fake"]) == (
        frame["auc"],
        frame["accuracy"],
        frame["fpr"],
    )
    assert clean["fakes_called_real"].value == pytest.approx(1 - frame["tpr"].value)
    assert clean["auc"].value is not None
    assert clean["auc"].value > 0.9, "the detector has learned nothing: attacks would show nothing"
    assert found.counts == {"rows": 40, "real_rows": 20, "fake_rows": 20, "components": 20}
    assert (found.clean.loss_change, found.clean.psnr) == (0, None)


@pytest.mark.parametrize("family", ["noise", "blur", "flow", "kernel"])
def test_attacks_raise_the_loss_and_their_controls_do_so_less(found: Robustness, family: str) -> None:
    for each in played(found, family):
        assert each.outcome.loss_change >= 0
        assert control(each).loss_change < each.outcome.loss_change
    hardest = max(played(found, family), key=lambda each: each.outcome.loss)
    aucs = [outcome.metrics["auc"].value for outcome in (hardest.outcome, control(hardest), found.clean)]
    assert None not in aucs
    assert aucs[0] < aucs[1] <= aucs[2] + 0.05


def test_stronger_noise_hurts_no_less(found: Robustness) -> None:
    losses = [each.outcome.loss for each in played(found, "noise") if each.method.startswith("PGD")]
    assert len(losses) == 4
    assert losses == sorted(losses)


def test_strengths_keep_their_bounds(found: Robustness) -> None:
    for each in played(found, "noise"):
        eps = int(each.strength.removesuffix("/255")) / 255
        for outcome in (each.outcome, control(each)):
            assert outcome.psnr is not None
            assert outcome.psnr >= -20 * np.log10(eps) - 1e-3
            assert outcome.sigma is None
    for each in played(found, "blur"):
        for outcome in (each.outcome, control(each)):
            assert outcome.sigma is not None
            assert 0.2 <= outcome.sigma <= float(each.strength.removesuffix(" px")) + 1e-6


def test_controls_are_as_strong(found: Robustness) -> None:
    for each in found.played:
        if each.attack == "compression":
            assert each.control is None
            continue
        assert each.outcome.psnr == pytest.approx(control(each).psnr, abs=6 if each.method.startswith("PGD") else 3)
        if each.attack == "blur":
            assert each.outcome.sigma == pytest.approx(control(each).sigma, rel=0.05)


def test_a_codec_does_what_degrade_does(detector: Path, table: Path, found: Robustness, tmp_path: Path) -> None:
    assert [each.method for each in played(found, "compression")] == list(COMPRESSION)
    degrade_table(FaceTable.read(table), tmp_path / "faces.parquet", "jpeg-30")
    [expected] = evaluate(Scorer.load(detector, "cpu"), [tmp_path / "faces.parquet"], bootstrap=0).tables
    assert expected.levels is not None
    [jpeg] = [each for each in found.played if each.method == "jpeg-30"]
    assert jpeg.outcome.metrics["auc"].value == expected.levels.frame["auc"].value
    degraded = FaceTable.read(tmp_path / "faces.parquet")
    assert jpeg.outcome.psnr == pytest.approx(np.mean([degraded.row(row)["psnr"] for row in range(40)]))


def test_a_seed_gives_the_same_figures_whatever_else_is_tried(detector: Path, table: Path, found: Robustness) -> None:
    scorer = load_attackable(detector, "cpu")
    state = torch.get_rng_state()
    again = attack_detector(scorer, FaceTable.read(table), attacks=["flow"], bootstrap=50)
    assert again.played == played(found, "flow")
    assert torch.equal(torch.get_rng_state(), state)
    other = attack(detector, table, attacks=["flow"], bootstrap=50, seed=1)
    assert [each.outcome.loss for each in other.played] != [each.outcome.loss for each in again.played]
    assert other.clean.loss == again.clean.loss


def test_a_limit_draws_as_many_reals_as_fakes(detector: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", 5, 30, size=SIZE)
    losses = []
    for limit, seed, each in ((7, 0, 3), (7, 0, 3), (7, 1, 3), (60, 0, 5)):
        found = attack(detector, table, attacks=["flow"], limit=limit, seed=seed)
        assert (found.counts["real_rows"], found.counts["fake_rows"]) == (each, each)
        losses.append(found.clean.loss)
    assert losses[0] == losses[1] != losses[2]
    with pytest.raises(UnmaskError, match="limit: must be 2 or more"):
        attack(detector, table, limit=1)


def test_a_detector_that_is_too_sure_is_not_robust(detector: Path, table: Path, found: Robustness) -> None:
    """A hundred times the log-odds: the same decisions, but the loss has no gradient left in float32."""
    scorer = load_attackable(detector, "cpu")
    head = scorer.model.backbone.get_classifier()  # type: ignore[operator]
    head.weight.mul_(100)
    head.bias.mul_(100)
    sure = attack_detector(scorer, FaceTable.read(table), attacks=["noise"], bootstrap=0)
    for each, other in zip(sure.played, played(found, "noise"), strict=True):
        expected = other.outcome.metrics["accuracy"].value
        assert each.outcome.metrics["accuracy"].value == pytest.approx(expected, abs=0.03)


def test_manipulations_are_folded_into_one(table: Path, tmp_path: Path) -> None:
    """A detector of several manipulations meets one that it has no class for."""
    detector = make_detector(
        tmp_path / "many", backbone="test_efficientnet", input_size=SIZE, classes=["real", "swap", "mouth"]
    )
    [fgsm, *_] = attack(detector, table, attacks=["noise"], limit=8).played
    assert fgsm.outcome.loss_change > control(fgsm).loss_change


def test_rows_that_cannot_be_used_are_named_and_left_out(detector: Path, table: Path, tmp_path: Path) -> None:
    rows = pq.read_table(table).to_pylist()
    rows[3] |= {"image": b"no image"}
    rows[-1] |= {"image": b""}
    path = tmp_path / "broken.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = attack(detector, path, attacks=["flow"])
    assert [each["row"] for each in found.left_out] == [f"{path}: row 3", f"{path}: row 39"]
    assert all("cannot decode" in each["reason"] for each in found.left_out)
    assert found.counts["rows"] == 38
    assert {each.outcome.rows for each in found.played} == {38}
    [expected] = evaluate(Scorer.load(detector, "cpu"), [path], bootstrap=0).tables
    assert expected.levels is not None
    assert found.clean.metrics["auc"] == expected.levels.frame["auc"]
    for row in rows:
        row["image"] = b"no image" if row["label"] == "fake" else row["image"]
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(UnmaskError, match="only reals, no fake that could be read"):
        attack(detector, path, attacks=["flow"])


def test_a_plan_is_in_order_and_knows_its_names() -> None:
    assert list(dict.fromkeys(trial.attack for trial in plan())) == list(FAMILIES)
    assert {trial.attack for trial in plan(["flow", "noise", "flow"])} == {"flow", "noise"}
    names = [trial.name for trial in plan()]
    assert len(names) == len(set(names))
    with pytest.raises(UnmaskError, match=r"attack 'smoke': expected one of noise, blur"):
        plan(["noise", "smoke"])


def test_the_command(
    detector: Path, table: Path, found: Robustness, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "attacks.json"
    command = ["attack", str(detector), str(table), "--json", str(result)]
    assert main([*command, "--attack", "blur", "compression", "--split", "train", "--bootstrap", "50"]) == 0
    printed = json.loads(result.read_text())
    assert set(printed) == {
        "tables", "rows", "real_rows", "fake_rows", "components", "clean", "attacks", "left_out", "protocol",
    }  # fmt: skip
    figures = {"rows", "auc", "accuracy", "fakes_called_real", "reals_called_fake", "loss", "loss_change", "psnr"}
    assert set(printed["clean"]) == figures | {"sigma"}
    assert printed["protocol"]["attacks"] == ["blur", "compression"]
    assert printed["protocol"]["threshold"] == 0.4
    for each, expected in zip(printed["attacks"], played(found, "blur") + played(found, "compression"), strict=True):
        assert set(each) == figures | {"sigma", "attack", "method", "strength", "control"}
        assert each["auc"] == expected.outcome.metrics["auc"].to_json()
        assert each["loss_change"] == pytest.approx(expected.outcome.loss_change)
        assert (each["control"] is None) == (each["attack"] == "compression")
    screen = capsys.readouterr().out
    assert f"{printed['attacks'][0]['auc']['value']:.3f}" in screen
    assert "20 reals and 20 fakes of 20 sources" in screen


def test_exit_codes(detector: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pq.read_table(table).to_pylist()[10:30]
    broken, lone, empty = (tmp_path / f"{name}.parquet" for name in ("broken", "lone", "empty"))
    pq.write_table(pa.Table.from_pylist([rows[0] | {"image": b"x"}, *rows[1:]]), broken)
    pq.write_table(pa.Table.from_pylist(rows[:10]), lone)
    pq.write_table(pa.Table.from_pylist(rows)[:0], empty)
    assert main(["attack", str(detector), str(broken), "--attack", "flow", "--bootstrap", "0"]) == 1
    assert "broken.parquet: row 0: cannot decode" in capsys.readouterr().err
    weightless, onnx = tmp_path / "weightless", tmp_path / "onnx"
    for folder in (weightless, onnx):
        folder.mkdir()
        (folder / "card.json").write_bytes((detector / "card.json").read_bytes())
    (onnx / "model.onnx").write_bytes(b"a model")
    for arguments, message in (
        ([detector, lone], "only reals, no fake"),
        ([detector, empty], "the table has no row"),
        ([detector, tmp_path / "none.parquet"], "no such file"),
        ([detector, table, "--split", "test"], "no row of split 'test'"),
        ([detector, table, "--attack", "smoke"], "attack 'smoke': expected one of noise"),
        ([detector, table, "--limit", "1"], "must be 2 or more"),
        ([detector, table, "--json", tmp_path], "is a folder"),
        (["no detector", table], "no such detector"),
        ([weightless, table], "the file is missing"),
        ([onnx, table], "an ONNX model alone, which gives no gradients"),
        ([onnx / "model.onnx", table], "an ONNX model alone, which gives no gradients"),
    ):
        assert main(["attack", *map(str, arguments)]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert message in line


def test_an_interval_needs_more_than_one_source(detector: Path, table: Path, tmp_path: Path) -> None:
    rows = [row | {"component": "one"} for row in pq.read_table(table).to_pylist()]
    path = tmp_path / "one.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = attack(detector, path, attacks=["flow"], bootstrap=20)
    share = found.clean.metrics["fakes_called_real"]
    assert (share.low, share.reason) == (None, "one source only: no interval")
    assert replace(share, value=None).to_json()["low"] is None
