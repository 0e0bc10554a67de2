"""Two face tables and a recipe that trains on them in a second or two."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tables import write_table

RECIPE = """
[data]
train = ["{folder}/train.parquet"]
validation = ["{folder}/val.parquet"]
size = 32
batch_size = 8
workers = 0
[model]
backbone = "test_efficientnet"
pretrained = "none"
[adversary]
name = "blur-generator"
options = {{ width = 8 }}
[optimiser]
lr = 3e-3
warmup_steps = 2
[run]
steps = 12
log_every = 2
validate_every = 6
device = "cpu"
precision = "float32"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(tmp_path / "train.parquet", 32, 32, seed=1, size=32)
    write_table(tmp_path / "val.parquet", 8, 8, seed=2, size=32, split="val")
    (tmp_path / "recipe.toml").write_text(RECIPE.format(folder=tmp_path))
    return tmp_path
