"""A training in a process of its own, and what one has logged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def log_lines(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def losses(run: Path) -> list[tuple[int, float, float | None]]:
    return [(line["step"], line["loss_clean"], line.get("loss_adversarial")) for line in log_lines(run, "train")]


#: Trains, or goes on: recipe, folder, overrides.
TRAIN = """
import sys
from pathlib import Path
from unmask.training import read_recipe, train
out = Path(sys.argv[2])
train(read_recipe(sys.argv[1], sys.argv[3:]), out, resume=(out / "checkpoint.pt").exists())
"""
_WAIT = """
import time
from unmask.training.players import Players
play = Players.play
def waiting(players, images, labels, step, share):
    if step == {step}:
        time.sleep(600)
    return play(players, images, labels, step, share)
Players.play = waiting
"""


def start(folder: Path, out: str, *more: str, wait_at: int | None = None) -> subprocess.Popen[bytes]:
    """Train, or go on, by ``folder/recipe.toml``; at a step it may wait for its end."""
    code = ("" if wait_at is None else _WAIT.format(step=wait_at)) + TRAIN
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "recipe.toml"), str(folder / out), *more], env=environment
    )
