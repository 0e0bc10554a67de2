"""A small protocol with tables that the tests make: two manipulations, two qualities, a second data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tables import write_table

RECIPE = """
[data]
size = 32
batch_size = 8
workers = 0
[model]
backbone = "test_efficientnet"
pretrained = "none"
[optimiser]
lr = 3e-3
warmup_steps = 1
[run]
steps = 4
log_every = 1
validate_every = 4
device = "cpu"
precision = "float32"
"""

PROTOCOL = """
name = "small"
recipe = "recipe.toml"
seeds = [0, 1]
claim = "report"
best = "game"

[training]
manipulations = ["A", "B"]
tables = ["train/real.parquet", "train/{manipulation}.parquet"]
validation = ["val/{manipulation}.parquet"]
dataset = "here"

[[tests]]
dataset = "here"
manipulations = ["A", "B"]
qualities = ["source", "low"]
tables = "test/{manipulation}/{quality}.parquet"

[[tests]]
dataset = "elsewhere"
manipulations = ["C"]
qualities = ["source"]
tables = "other/{manipulation}.parquet"

[[methods]]
name = "plain"
role = "plain"
set = ['adversary={name="plain"}']

[[methods]]
name = "matched"
role = "control"
set = ['adversary={name="random-blur"}']
matched = "game"

[[methods]]
name = "game"
role = "game"
set = ['adversary={name="blur-generator", options={width=8}}']
control = "matched"
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Path of the protocol file; its tables are below ``data`` beside it."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "protocol.toml").write_text(PROTOCOL)
    data = tmp_path / "data"
    for folder in ("train", "val", "test/real", "test/A", "test/B", "other"):
        (data / folder).mkdir(parents=True)
    write_table(data / "train/real.parquet", 8, 0, seed=1, size=32)
    for number, name in enumerate("AB"):
        write_table(data / f"train/{name}.parquet", 0, 8, seed=2 + number, size=32, methods=(name,))
        write_table(data / f"val/{name}.parquet", 6, 6, seed=4 + number, size=32, methods=(name,), split="val")
        for quality in ("source", "low"):
            write_table(data / f"test/{name}/{quality}.parquet", 0, 8, seed=6 + number, size=32, methods=(name,))
    for quality in ("source", "low"):
        write_table(data / f"test/real/{quality}.parquet", 8, 0, seed=9, size=32)
    write_table(data / "other/real.parquet", 8, 0, seed=10, size=32)
    write_table(data / "other/C.parquet", 0, 8, seed=11, size=32, methods=("C",))
    return tmp_path / "protocol.toml"
