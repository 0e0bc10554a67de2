from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.tables import encode
from unmask.data import FaceTable
from unmask.data.writer import write_faces
from unmask.errors import UnmaskError


def _rows(count: int) -> list[dict[str, object]]:
    image = encode(np.full((8, 8, 3), 90, np.uint8))
    return [{"image": image, "label": ("real", "fake")[i % 2], "video": f"v{i}", "frame": i} for i in range(count)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    assert write_faces(path, iter(_rows(600))) == 600
    table = FaceTable.read(path)
    assert len(table) == 600
    assert list(table.video[:2]) == ["v0", "v1"]
    assert list(table.frame) == list(range(600))
    assert table.fake.tolist() == [False, True] * 300
    assert table.image(3).shape == (8, 8, 3)
    assert pq.ParquetFile(path).num_row_groups > 1


def test_a_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"

    def rows():  # type: ignore[no-untyped-def]
        yield from _rows(300)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UnmaskError, match=r"t\.parquet: cannot be written: No space left"):
        write_faces(path, rows())
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="row 0: unknown column colour"):
        write_faces(tmp_path / "t.parquet", [{"image": b"", "label": "real", "colour": 1}])
    with pytest.raises(UnmaskError, match="near row 1"):
        write_faces(tmp_path / "t.parquet", [{"image": b"", "label": 7}])


def test_no_row_is_an_empty_table(tmp_path: Path) -> None:
    assert write_faces(tmp_path / "t.parquet", []) == 0
    with pytest.raises(UnmaskError, match="no row"):
        FaceTable.read(tmp_path / "t.parquet")


def test_a_row_goes_from_table_to_table(tmp_path: Path) -> None:
    first = {**_rows(2)[1], "box": [1.0, 2.0, 3.0, 4.0], "landmarks": [float(i) for i in range(10)], "donor": "v9"}
    write_faces(tmp_path / "a.parquet", [first])
    row = FaceTable.read(tmp_path / "a.parquet").row(0)
    assert {key: row[key] for key in first} == first
    assert "mask" not in row
    write_faces(tmp_path / "b.parquet", [row])
    assert FaceTable.read(tmp_path / "b.parquet").row(0) == row
