from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tables import encode, make_image, write_table
from unmask import UnmaskError
from unmask.data import FaceTable


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    table = FaceTable.read(write_table(tmp_path / "t.parquet", reals=3, fakes=4, seed=5))
    assert len(table) == 7
    assert table.fake.tolist() == [False] * 3 + [True] * 4
    rng = np.random.default_rng(5)
    expected = [make_image(rng, fake) for fake in table.fake]
    for row in range(7):
        assert np.array_equal(table.image(row), expected[row])


def test_folder_and_list_are_read_as_one_table(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", 2, 2)
    write_table(tmp_path / "b.parquet", 3, 0)
    table = FaceTable.read(tmp_path)
    assert len(table) == 7
    assert table.where(3).endswith("a.parquet: row 3")
    assert table.where(4).endswith("b.parquet: row 0")
    assert len(FaceTable.read([tmp_path / "b.parquet", tmp_path / "a.parquet"])) == 7


def test_split_keeps_its_rows(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", 2, 2, split="train")
    write_table(tmp_path / "b.parquet", 1, 2, split="val")
    assert len(FaceTable.read(tmp_path, split="val")) == 3
    with pytest.raises(UnmaskError, match="no row of split 'test'"):
        FaceTable.read(tmp_path, split="test")


def test_manipulations_of_one_clip_are_different_videos(tmp_path: Path) -> None:
    rows = [
        {"image": encode(np.zeros((4, 4, 3), np.uint8)), "label": label, "method": method, "video": "000"}
        for label, method in (("real", "real"), ("fake", "Deepfakes"), ("fake", "FaceSwap"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert len(set(FaceTable.read(tmp_path / "t.parquet").video_key())) == 3


def test_missing_columns_are_filled(tmp_path: Path) -> None:
    rows = [{"image": encode(np.zeros((4, 4, 3), np.uint8)), "label": label} for label in ("real", "fake")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    table = FaceTable.read(tmp_path / "t.parquet")
    assert table.method.tolist() == ["real", "fake"]
    assert table.quality.tolist() == ["source", "source"]
    assert len(set(table.video)) == 2


def test_missing_values_are_filled_like_missing_columns(tmp_path: Path) -> None:
    image = encode(np.zeros((4, 4, 3), np.uint8))
    rows = [
        {"image": image, "label": "real", "video": "a", "method": None, "source": None, "frame": None},
        {"image": image, "label": "fake", "video": None, "method": "FaceSwap", "source": "a", "frame": 7},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    table = FaceTable.read(tmp_path / "t.parquet")
    assert table.method.tolist() == ["real", "FaceSwap"]
    assert table.source.tolist() == table.component.tolist() == ["a", "a"]
    assert table.frame.tolist() == [0, 7]
    assert table.video_key().tolist() == ["t/real/source/a", "t/FaceSwap/source/t/1"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b""), "not a readable Parquet"),
        (lambda path: path.write_bytes(b"PAR1 but not really"), "not a readable Parquet"),
        (lambda path: pq.write_table(pa.table({"label": ["real"]}), path), "column 'image' is missing"),
        (
            lambda path: pq.write_table(pa.table({"image": [b"x"], "label": ["REAL"]}), path),
            "row 0: label is 'REAL'",
        ),
        (
            lambda path: pq.write_table(pa.table({"image": [1], "label": ["real"]}), path),
            "holds int64, expected binary",
        ),
        (
            lambda path: pq.write_table(pa.table({"image": [b"x"], "label": ["real"], "frame": ["a"]}), path),
            "column 'frame': expected int64",
        ),
    ],
)
def test_unusable_files_are_one_line_errors(tmp_path: Path, make: object, reason: str) -> None:
    path = tmp_path / "t.parquet"
    make(path)  # type: ignore[operator]
    with pytest.raises(UnmaskError, match=reason) as caught:
        FaceTable.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_row_of_one_split_is_named_by_its_number_in_the_file(tmp_path: Path, streaming: bool) -> None:
    for name in "ab":
        rows = [{"image": b"broken", "label": "real", "split": split} for split in ("train", "test", "train", "test")]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    table = FaceTable.read(tmp_path, "test", streaming=streaming)
    assert [table.where(row) for row in range(4)] == [
        f"{tmp_path}/{name}.parquet: row {n}" for name in "ab" for n in (1, 3)
    ]
    with pytest.raises(UnmaskError, match=r"b\.parquet: row 3: cannot decode"):
        table.image(3)


def test_truncated_parquet_is_named(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnmaskError, match=r"t\.parquet: not a readable Parquet"):
        FaceTable.read(path)


def test_undecodable_row_names_file_and_row(tmp_path: Path) -> None:
    rows = [{"image": b"\xff\xd8 broken", "label": "real"}, {"image": None, "label": "fake"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    table = FaceTable.read(tmp_path / "t.parquet")
    for row in (0, 1):
        with pytest.raises(UnmaskError, match=rf"t\.parquet: row {row}: cannot decode"):
            table.image(row)
