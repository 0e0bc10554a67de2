from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.tables import write_table
from unmask.data import FaceTable
from unmask.data.originals import Originals

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
