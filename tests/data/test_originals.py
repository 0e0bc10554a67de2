from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.tables import write_table
from unmask.data import FaceTable
from unmask.data.checks import Columns, check_rows
from unmask.data.originals import Originals
from unmask.evaluation.evaluate import clusters_of

#: label, source, quality, frame of each row
ROWS = [
    ("real", "a", "source", 0),
    ("real", "a", "source", 10),
    ("real", "a", "c40", 10),
    ("real", "b", "source", 0),
    ("fake", "a", "source", 10),  # the very frame
    ("fake", "a", "source", 8),  # the nearest
    ("fake", "a", "c40", 0),  # nearest at its quality, not at another
    ("fake", "b", "c23", 0),  # none at its quality: any
    ("fake", "c", "source", 0),  # none at all
]


def test_a_fake_finds_its_original(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", reals=5, fakes=5)
    rows = pq.read_table(path).to_pylist()[: len(ROWS)]
    names = ("label", "source", "quality", "frame")
    changed = [row | dict(zip(names, values, strict=True)) for row, values in zip(rows, ROWS, strict=True)]
    pq.write_table(pa.Table.from_pylist(changed, pq.read_schema(path)), path)
    originals = Originals(FaceTable.read(path))
    assert [originals.of(fake) for fake in range(4, 9)] == [1, 1, 2, 3, None]
    assert [originals.exactly_of(fake) for fake in range(4, 9)] == [1, None, None, None, None]


def test_an_original_may_be_of_the_data_set_that_a_fakes_was_made_of(tmp_path: Path) -> None:
    rows = pq.read_table(write_table(tmp_path / "t.parquet", reals=1, fakes=3)).to_pylist()
    datasets = ("FF++", "DF40-ff", "DeeperForensics-1.0", "DF40-cdf")
    splits = ("train", "test", "test", "test")
    known = [
        {"dataset": dataset, "split": split, "source": "001", "component": "001+870"}
        for dataset, split in zip(datasets, splits, strict=True)
    ]
    schema = pq.read_schema(tmp_path / "t.parquet")
    path = tmp_path / "all.parquet"
    pq.write_table(pa.Table.from_pylist([a | b for a, b in zip(rows, known, strict=True)], schema), path)
    table = FaceTable.read(path)
    assert [Originals(table).of(fake) for fake in (1, 2, 3)] == [0, 0, None]
    assert clusters_of(table).tolist() == ["FF++/001+870"] * 3 + ["Celeb-DF-v2/001+870"]
    leaks = [flag for flag in check_rows(Columns([table])) if flag.kind == "component in two splits"]
    assert [len(flag.rows) for flag in leaks] == [1]
