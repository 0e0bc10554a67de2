"""Training that is stopped, by whatever it may be, and goes on."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.runs import log_lines, losses, start

from unmask import UnmaskError
from unmask.training import read_recipe, train
from unmask.training.checkpoint import load_checkpoint
from unmask.training.players import Players


def test_killed_and_resumed_equals_uninterrupted_to_the_bit(folder: Path) -> None:
    options = ("run.steps=40", "run.checkpoint_minutes=0", "run.validate_every=15", "model.dropout=0.3")
    assert start(folder, "whole", *options).wait(200) == 0
    process = start(folder, "killed", *options, wait_at=30)
    checkpoint = folder / "killed" / "checkpoint.pt"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not (checkpoint.is_file() and load_checkpoint(checkpoint)["step"] >= 17):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    killed_at = load_checkpoint(checkpoint)["step"]
    assert 17 <= killed_at <= 30
    assert start(folder, "killed", *options).wait(200) == 0

    whole, resumed = (load_checkpoint(folder / run / "checkpoint.pt") for run in ("whole", "killed"))
    assert resumed["best"] == whole["best"]
    for part in ("classifier", "adversary", "average"):
        for name, tensor in whole[part].items():
            assert torch.equal(tensor, resumed[part][name]), f"{part}.{name}"
    assert losses(folder / "killed") == losses(folder / "whole")
    model = "detector/model.safetensors"
    assert (folder / "killed" / model).read_bytes() == (folder / "whole" / model).read_bytes()


def test_interrupted_in_the_middle_of_a_round_it_equals_uninterrupted_to_the_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = read_recipe(folder / "recipe.toml", ["run.validate_every=5"])
    train(recipe, folder / "whole")
    play, rounds = Players.play, itertools.count(1)

    def interrupted(self: Players, *arguments: Any) -> Any:
        if next(rounds) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return play(self, *arguments)

    monkeypatch.setattr(Players, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, folder / "stopped")
    assert load_checkpoint(folder / "stopped" / "checkpoint.pt")["step"] == 5
    train(recipe, folder / "stopped", resume=True)
    assert log_lines(folder / "stopped", "validation") == log_lines(folder / "whole", "validation")
    model = "detector/model.safetensors"
    assert (folder / "stopped" / model).read_bytes() == (folder / "whole" / model).read_bytes()


def test_a_run_that_is_ended_where_it_stands_is_validated_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play = Players.play

    def interrupted(self: Players, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return play(self, *arguments)

    monkeypatch.setattr(Players, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(read_recipe(folder / "recipe.toml"), folder / "run")
    detector = train(read_recipe(folder / "recipe.toml", ["run.steps=1"]), folder / "run", resume=True)
    assert [line["step"] for line in log_lines(folder / "run", "validation")] == [1]
    assert json.loads((detector / "card.json").read_text())["training"]["best_step"] == 1


def test_another_precision_is_not_gone_on_with(folder: Path) -> None:
    train(read_recipe(folder / "recipe.toml"), folder / "run")
    other = read_recipe(folder / "recipe.toml", ["run.precision=bfloat16", "run.steps=14"])
    with pytest.raises(UnmaskError, match=r"was written in float32, here it is bfloat16: --set run\.precision=float32"):
        train(other, folder / "run", resume=True)


def test_an_adversary_that_came_in_stays_where_a_run_is_made_longer(folder: Path) -> None:
    options = ["game.begin=0.5", "run.log_every=1"]
    train(read_recipe(folder / "recipe.toml", [*options, "run.steps=4"]), folder / "run")
    train(read_recipe(folder / "recipe.toml", [*options, "run.steps=8"]), folder / "run", resume=True)
    assert [adversarial is not None for _, _, adversarial in losses(folder / "run")] == [False] * 2 + [True] * 6
