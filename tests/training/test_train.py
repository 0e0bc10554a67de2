"""Training on tables the tests make: it learns, two processes equal one, and what is wrong is said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.forge import faces
from tests.tables import write_table
from tests.training.runs import TRAIN, log_lines, losses, start

from unmask import UnmaskError
from unmask.detector import Scorer
from unmask.detector.adversary import read_adversary
from unmask.locking import locked
from unmask.training import read_recipe, train
from unmask.training.checkpoint import load_checkpoint, save_checkpoint
from unmask.training.players import precision_on


def test_from_tables_to_a_detector_that_tells_them_apart(folder: Path) -> None:
    overrides = ["run.steps=60", "run.validate_every=20", "run.log_every=20", "augmentation.enabled=false"]
    detector = train(read_recipe(folder / "recipe.toml", overrides), folder / "run")
    scorer = Scorer.load(detector)
    validation = log_lines(folder / "run", "validation")
    assert [line["step"] for line in validation] == [20, 40, 60]
    assert validation[-1]["best_auc"] > 0.9
    assert scorer.card.results["validation"]["auc"] == pytest.approx(validation[-1]["best_auc"], abs=0.02)
    assert scorer.card.training["best_step"] in (20, 40, 60)
    assert scorer.card.training["adversary"]["name"] == "blur-generator"
    # The other player comes along, and shows its map in reports.
    assert read_adversary(detector, scorer.card) is not None
    assert "of the validation fakes are called real" in scorer.card.uncertain_rule
    sigma = log_lines(folder / "run", "train")[-1]["sigma"]
    assert {"mean", "std", "q00", "q05", "q50", "q95", "q100"} <= set(sigma["real"]) == set(sigma["fake"])


@pytest.mark.parametrize("adversary", ["plain", "blur-gradient", "noise", "flow", "kernel", "random-blur"])
def test_every_kind_of_player_trains(folder: Path, adversary: str) -> None:
    overrides = [
        f"adversary.name={adversary}",
        "adversary.options={}",
        "run.steps=2",
    ]
    train(read_recipe(folder / "recipe.toml", overrides), folder / "run")
    assert (folder / "run" / "detector" / "card.json").is_file()


def test_a_restoring_adversary_trains_on_aligned_pairs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["adversary.name=restore-gradient", "adversary.options={cells=4}", "run.steps=2"]
    with pytest.raises(UnmaskError, match=r"'restore-gradient': lays each fake over its original: data\.pairing = "):
        train(read_recipe(folder / "recipe.toml", [*overrides, "data.pairing=paired"]), folder / "run")
    overrides += ["data.pairing=aligned", "game.adversarial_loss=consistency", "game.micro_batches=2"]
    train(read_recipe(folder / "recipe.toml", overrides), folder / "aligned")
    (line,) = log_lines(folder / "aligned", "train")
    assert 0.1 < line["restored"] < 0.9
    assert set(line["sigma"]) == {"real", "fake"}

    # Fakes without their originals are not laid over others.
    rows = pq.read_table(folder / "train.parquet").to_pylist()
    fakes = [row for row in rows if row["label"] == "fake"]
    gone = {row["source"] for row in fakes[:5]}
    kept = [row for row in rows if row["label"] == "fake" or row["source"] not in gone]
    pq.write_table(pa.Table.from_pylist(kept), folder / "train.parquet")
    capsys.readouterr()
    train(read_recipe(folder / "recipe.toml", overrides), folder / "some")
    assert f"{sum(row['source'] in gone for row in fakes)} fakes left out" in " ".join(capsys.readouterr().err.split())
    pq.write_table(pa.Table.from_pylist([row | {"source": row["video"]} for row in rows]), folder / "train.parquet")
    with pytest.raises(UnmaskError, match=r"train\.parquet: has the original of none of its fakes"):
        train(read_recipe(folder / "recipe.toml", overrides), folder / "none")


def test_reals_alone_are_trained_on_with_fakes_made_of_them(folder: Path) -> None:
    faces.table(folder / "faces.parquet", 12, landmarks=True)
    overrides = [f"data.train={folder}/faces.parquet", "data.self_blend=1", "data.pairing=aligned", "run.steps=2"]
    overrides += ["adversary.name=random-restore", "adversary.options={cells=4}", "run.log_every=1"]
    train(read_recipe(folder / "recipe.toml", overrides), folder / "run")
    # What is put back of a real into its self-blended fake is a half of what blending changed.
    assert all(0.4 < line["restored"] < 0.6 for line in log_lines(folder / "run", "train"))


@pytest.mark.parametrize("adversary", ["plain", "blur-gradient", "blur-generator"])
def test_training_in_bfloat16_stays_near_training_in_float32(folder: Path, adversary: str) -> None:
    options = [f"adversary.name={adversary}", "adversary.options={}", "run.log_every=1", "run.steps=3"]
    for precision in ("float32", "bfloat16"):
        train(read_recipe(folder / "recipe.toml", [*options, f"run.precision={precision}"]), folder / precision)
    card = json.loads((folder / "bfloat16" / "detector" / "card.json").read_text())
    assert card["training"]["precision"] == "bfloat16"
    state = load_checkpoint(folder / "bfloat16" / "checkpoint.pt")["classifier"]
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    for (_, wide, _), (_, narrow, _) in zip(losses(folder / "float32"), losses(folder / "bfloat16"), strict=True):
        assert narrow == pytest.approx(wide, abs=0.02)
        assert narrow != wide


@pytest.mark.parametrize("multiplies", [True, False])
def test_the_processor_decides_the_precision(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, multiplies: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": multiplies}, raising=False)
    assert precision_on(torch.device("cpu")) == ("bfloat16" if multiplies else "float32")
    assert precision_on(torch.device("cpu"), "float32") == "float32"
    assert precision_on(torch.device("mps")) == "float32"
    assert not caplog.messages
    assert precision_on(torch.device("cpu"), "bfloat16") == "bfloat16"
    assert bool(caplog.messages) is not multiplies


def test_the_adversary_enters_when_it_is_told_to(folder: Path) -> None:
    overrides = ["adversary.name=random-blur", "adversary.options={}", "game.begin=0.5", "run.log_every=1"]
    train(read_recipe(folder / "recipe.toml", overrides), folder / "run")
    attacked = [adversarial is not None for _, _, adversarial in losses(folder / "run")]
    assert attacked == [False] * 6 + [True] * 6


@pytest.mark.parametrize("adversary", ["plain", "blur-generator"])
def test_two_processes_give_the_loss_of_one_with_the_double_batch(folder: Path, adversary: str) -> None:
    # The generator's noise is drawn by each rank for its own rows: without it the two runs are one computation.
    options = ["model.process_norm=true", "model.dropout=0", f"adversary.name={adversary}", "run.log_every=1"]
    options += ["adversary.options={}"] if adversary == "plain" else ["run.steps=1"]
    assert start(folder, "one", *options).wait(200) == 0
    script = folder / "run.py"
    script.write_text(TRAIN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(script), str(folder / "recipe.toml"), str(folder / "two"), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=250)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    one, two = losses(folder / "one"), losses(folder / "two")
    assert len(one) == len(two)
    for (step, clean, adversarial), (_, other, other_adversarial) in zip(one, two, strict=True):
        # Rounding differs by the order of sums, and grows with the steps.
        assert other == pytest.approx(clean, rel=1e-3 * step, abs=1e-4 * step)
        if adversarial is not None:
            assert other_adversarial == pytest.approx(adversarial, rel=0.05)


def test_what_is_trained_on_and_validated_by_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = read_recipe(folder / "recipe.toml", ["run.steps=1", f"data.train={folder}/val.parquet"])
    card = json.loads((train(recipe, folder / "run") / "card.json").read_text())
    count = len({row["component"] for row in pq.read_table(folder / "val.parquet").to_pylist()})
    assert card["training"]["components_validated_too"] == count
    said = " ".join(capsys.readouterr().err.split())
    assert f"warning: {count} components are in the validation tables as well" in said


def test_rows_that_cannot_be_used_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pq.read_table(folder / "train.parquet").to_pylist()
    damaged = [
        {**row, "image": b"no image"} if row["label"] == "real" and place % 3 else row for place, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(damaged), folder / "train.parquet")
    (folder / "run").mkdir()
    left = folder / "run" / ".checkpoint.pt.x1y2"  # as a kill leaves it
    left.touch()
    train(read_recipe(folder / "recipe.toml", ["run.steps=2", "run.log_every=1"]), folder / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(
        r"warning: others take the places of \d+ training rows so far; \S+train\.parquet: row \d+: cannot", said
    )
    assert not left.exists()


def test_what_cannot_be_trained_says_why(folder: Path) -> None:
    write_table(folder / "reals.parquet", 6, 0)
    rows = pq.read_table(folder / "val.parquet").to_pylist()

    def attempt(*overrides: str, **options: Any) -> None:
        train(read_recipe(folder / "recipe.toml", overrides), folder / "run", **options)

    with pytest.raises(UnmaskError, match=r"reals\.parquet: no fake row"):
        attempt(f"data.train={folder}/reals.parquet")
    with pytest.raises(UnmaskError, match=r"reals\.parquet: every validation row is real"):
        attempt(f"data.validation={folder}/reals.parquet")
    broken = [{**row, "image": b"no image"} if row["label"] == "real" else row for row in rows]
    pq.write_table(pa.Table.from_pylist(broken), folder / "broken.parquet")
    with pytest.raises(UnmaskError, match=r"broken\.parquet: every validation row is fake"):
        attempt(f"data.validation={folder}/broken.parquet")
    with pytest.raises(UnmaskError, match=r"validation: the classifier's scores are not finite"):
        attempt("adversary={name='plain'}", "optimiser.lr=1e30", "run.log_every=12", "run.validate_every=2")
    (folder / "run").rename(folder / "given up")
    (folder / "run").write_text("a file")
    with pytest.raises(UnmaskError, match=r"run: the folder cannot be made"):
        attempt()
    (folder / "run").unlink()
    with pytest.raises(UnmaskError, match="no checkpoint to resume from"):
        attempt(resume=True)
    with pytest.raises(UnmaskError, match="'noise': simultaneous play needs an adversary that learns"):
        attempt("adversary.name=noise", "adversary.options={}", "game.play=simultaneous")
    with pytest.raises(UnmaskError, match=r"data\.batch_size: 7 does not divide"):
        attempt("data.batch_size=7")
    with pytest.raises(UnmaskError, match=r"data\.batch_size: 6 .* over a clean and an attacked half"):
        attempt("data.batch_size=6", "game.adversarial=split")
    with pytest.raises(UnmaskError, match=r"data\.batch_size: 8 .* over game\.micro_batches = 3"):
        attempt("game.micro_batches=3")
    with pytest.raises(UnmaskError, match=r"data\.size: vit_tiny_patch16_224 does not take 32 px"):
        attempt("model.backbone=vit_tiny_patch16_224")
    with pytest.raises(UnmaskError, match=r"'worst-of': draws must be a whole number"):
        attempt("adversary.name=worst-of", "adversary.options={draws=2.5}")
    with pytest.raises(UnmaskError, match=r"run\.device: cannot use 'abacus'"):
        attempt("run.device=abacus")
    with pytest.raises(UnmaskError, match="name the face tables"):
        attempt("data.train=[]")
    # Nobody trains for hours to hear that the card cannot be written.
    with pytest.raises(UnmaskError, match=r"no detector file can be written: .* not JSON compliant"):
        attempt("run.checkpoint_minutes=inf")
    with pytest.raises(UnmaskError, match="'hf-hub:timm/resnet18' is no timm model name"):
        attempt("model.backbone=hf-hub:timm/resnet18")
    (folder / "run").mkdir(exist_ok=True)
    with locked(folder / "run" / ".lock"), pytest.raises(UnmaskError, match="another process trains here"):
        attempt()
    attempt("run.steps=1")
    with pytest.raises(UnmaskError, match="holds a run already"):
        attempt()
    # The card names the weights that are shipped, though the checkpoint is older than they are.
    best = load_checkpoint(folder / "run" / "best.pt")
    save_checkpoint(folder / "run" / "best.pt", {**best, "step": 3, "auc": 1.0})
    attempt("run.steps=1", resume=True)
    card = json.loads((folder / "run" / "detector" / "card.json").read_text())
    assert (card["training"]["best_step"], card["training"]["validation_auc"]) == (3, 1.0)
    attempt("run.steps=2", resume=True)
    card = json.loads((folder / "run" / "detector" / "card.json").read_text())
    assert card["training"]["plan"] == [{"from_step": 0, "steps": 1}, {"from_step": 1, "steps": 2}]
    with pytest.raises(UnmaskError, match=r"another recipe: run\.seed was 0, is 9"):
        attempt("run.seed=9", resume=True)
    attempt("run.steps=2", "run.log_every=1", resume=True)
    write_table(folder / "train.parquet", 34, 32, seed=1, size=32)
    with pytest.raises(UnmaskError, match=r"written when the rows of .*train\.parquet were others"):
        attempt("run.steps=2", resume=True)
    checkpoint = folder / "run" / "checkpoint.pt"
    torch.save({"format": 99}, checkpoint)
    with pytest.raises(UnmaskError, match=r"checkpoint\.pt: checkpoint of format 99"):
        attempt(resume=True)
    checkpoint.write_bytes(b"PK broken")
    with pytest.raises(UnmaskError, match="not a readable checkpoint"):
        attempt(resume=True)
