"""Every fault that a table can have is found, and named by its rows; what is no fault is left alone."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.data.test_duplicates import picture
from tests.tables import encode
from unmask import UnmaskError
from unmask.cli import main
from unmask.data.inspect import Inspection, inspect_tables
from unmask.data.writer import SCHEMA, write_faces
from unmask.parts import Parts


def face(seed: int, label: str = "real", **known: Any) -> dict[str, Any]:
    row = {
        "image": encode(picture(seed, 64)),
        "label": label,
        "method": "real" if label == "real" else "FaceSwap",
        "dataset": "FF++",
        "quality": "c23",
        "split": "train",
        "video": f"{label}{seed}",
        "source": f"source{seed}",
    }
    return row | known


def clean() -> list[dict[str, Any]]:
    """Two reals and two fakes a split."""
    rows = [face(seed, split=split) for seed, split in enumerate(("train", "train", "test", "test"))]
    return rows + [
        face(seed + 10, "fake", split=split, source=f"source{seed}")
        for seed, split in enumerate(("train", "train", "test", "test"))
    ]


def inspect(folder: Path, rows: Iterable[dict[str, Any]]) -> Inspection:
    write_faces(folder / "t.parquet", rows)
    return inspect_tables(folder / "t.parquet")


def findings(found: Inspection) -> dict[str, list[str]]:
    """By kind, without the folder."""
    return {flag.kind: [row.replace(f"{found.tables[0]}: ", "") for row in flag.rows] for flag in found.flags}


def jpeg(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def test_a_clean_table_is_counted(tmp_path: Path) -> None:
    rows = clean()
    rows.insert(1, {**rows[0], "frame": 5, "image": encode(picture(50, 64))})
    found = inspect(tmp_path, rows)
    assert found.flags == ()
    assert found.rows == 9
    assert found.sizes == {"64 x 64": 9}
    counts = [(each.split, each.method, each.label, each.rows, each.videos, each.sources) for each in found.counts]
    assert counts == [
        ("test", "FaceSwap", "fake", 2, 2, 2),
        ("test", "real", "real", 2, 2, 2),
        ("train", "FaceSwap", "fake", 2, 2, 2),
        ("train", "real", "real", 3, 2, 2),
    ]


def test_a_source_in_two_splits(tmp_path: Path) -> None:
    rows = clean()
    rows[7]["source"] = "source0"
    found = findings(inspect(tmp_path, rows))
    assert found["source in two splits"] == ["source 'source0': row 0 ('train'), row 7 ('test')"]
    assert set(found) == {"source in two splits", "component in two splits"}


def test_sources_of_two_data_sets_may_share_their_name(tmp_path: Path) -> None:
    rows = clean()
    for row in rows:
        row |= {"dataset": row["split"], "source": "000", "component": None}
    assert inspect(tmp_path, rows).flags == ()


def test_a_split_of_one_class(tmp_path: Path) -> None:
    found = findings(inspect(tmp_path, [*clean(), face(30, split="val"), face(31, split="val")]))
    assert found == {"one-class split": ["split 'val': all 2 rows are real"]}


def test_a_key_twice(tmp_path: Path) -> None:
    rows = [{**row, "track": 0} for row in clean()]
    rows += [
        {**rows[0], "image": encode(picture(40, 64)), "track": 1},
        {**rows[5], "image": encode(picture(41, 64))},
        {**rows[0], "image": encode(picture(42, 64)), "quality": "c40"},
        {**rows[0], "image": encode(picture(43, 64)), "frame": 9},
    ]
    assert findings(inspect(tmp_path, rows)) == {"key twice": ["row 5 and row 9"]}


def test_a_label_that_contradicts_its_method(tmp_path: Path) -> None:
    rows = clean()
    rows[0]["method"], rows[4]["method"] = "FaceSwap", "real"
    found = findings(inspect(tmp_path, rows))
    assert found == {
        "label against method": ["row 0: label 'real', method 'FaceSwap'", "row 4: label 'fake', method 'real'"]
    }


def test_unreadable_rows_and_odd_sizes(tmp_path: Path) -> None:
    rows = clean() + [face(seed) for seed in range(20, 50)]
    rows[1]["image"] = b"\xff\xd8 broken"
    rows[2]["image"] = b""
    rows[3]["image"] = encode(picture(3, 70))
    rows[4]["image"] = encode(picture(14, 64)[:20])
    found = findings(inspect(tmp_path, rows))
    assert set(found) == {"unreadable row", "odd size"}
    assert [line.split(":")[0] for line in found["unreadable row"]] == ["row 1", "row 2"]
    assert found["odd size"] == ["row 3: 70 x 70", "row 4: 64 x 20"]


def test_a_picture_in_two_splits_however_it_is_coded(tmp_path: Path) -> None:
    rows = clean()
    rows[2]["image"] = jpeg(picture(0, 64), 60)
    found = findings(inspect(tmp_path, rows))
    assert found == {"duplicate across splits": ["row 0 (train, real) and row 2 (test, real)"]}


def test_a_picture_with_two_labels(tmp_path: Path) -> None:
    rows = clean()
    rows[5]["image"] = jpeg(picture(0, 64), 80)
    found = findings(inspect(tmp_path, rows))
    assert found == {"duplicate across labels": ["row 0 (train, real) and row 5 (train, FaceSwap)"]}


def test_a_forgery_may_look_like_its_source_but_not_be_the_same_file(tmp_path: Path) -> None:
    rows = clean()
    rows[4]["image"] = jpeg(picture(0, 64), 80)
    assert inspect(tmp_path, rows).flags == ()
    rows[4]["image"] = rows[0]["image"]
    found = findings(inspect(tmp_path, rows))
    assert found == {"duplicate across labels": ["row 0 (train, real) and row 4 (train, FaceSwap)"]}


def test_a_picture_under_two_names(tmp_path: Path) -> None:
    rows = clean()
    rows[1]["image"] = rows[0]["image"]
    assert findings(inspect(tmp_path, rows)) == {"duplicate": ["row 0 (train, real) and row 1 (train, real)"]}
    rows[1]["image"] = jpeg(picture(0, 64), 80)
    assert list(findings(inspect(tmp_path, rows))) == ["duplicate across components"]
    rows[1]["component"] = rows[0]["component"] = "c"
    rows[5]["component"] = rows[4]["component"] = "c"
    assert inspect(tmp_path, rows).flags == ()


def test_a_still_clip_is_no_fault(tmp_path: Path) -> None:
    rows = clean()
    rows += [{**rows[0], "frame": frame} for frame in range(1, 40)]
    assert inspect(tmp_path, rows).flags == ()


def test_parts_are_one_table_and_a_broken_part_does_not_stop_the_others(tmp_path: Path) -> None:
    rows = clean()
    write_faces(tmp_path / "a.parquet", rows[:4])
    write_faces(tmp_path / "b.parquet", [*rows[4:], face(0, video="again", split="test", source="other")])
    (tmp_path / "c.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-90])
    pq.write_table(pa.table({"image": [b"x"], "label": ["REAL"]}), tmp_path / "d.parquet")
    (tmp_path / "_e.parquet").write_bytes(b"being written")
    found = inspect_tables([tmp_path])
    assert found.rows == 9
    flags = {flag.kind: flag.rows for flag in found.flags}
    assert set(flags) == {"unreadable part", "duplicate across splits"}
    assert [Path(row.split(": ")[0]).name for row in flags["unreadable part"]] == ["c.parquet", "d.parquet"]
    (pair,) = flags["duplicate across splits"]
    assert "a.parquet: row 0" in pair
    assert "b.parquet: row 4" in pair


def test_a_part_of_clips_without_a_face_is_no_fault(tmp_path: Path) -> None:
    with Parts(tmp_path, SCHEMA) as parts:
        parts.add("some", clean())
        parts.write()
        parts.add("none", [])
    found = inspect_tables(tmp_path)
    assert (len(found.tables), found.rows, found.flags) == (2, 8, ())


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    write_faces(tmp_path / "t.parquet", [])
    with pytest.raises(UnmaskError, match=r"t\.parquet: no readable table \(no row\)"):
        inspect_tables(tmp_path)
    (tmp_path / "t.parquet").write_bytes(b"text")
    with pytest.raises(UnmaskError, match=r"t\.parquet: no readable table"):
        inspect_tables(tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "t.parquet", tmp_path / "found.json"
    write_faces(table, clean())
    assert main(["table", str(table)]) == 0
    output = capsys.readouterr().out
    assert "nothing is wrong" in output
    assert "8 rows in 1 file; images 64 x 64 (8)" in output
    write_faces(table, [face(seed, video="v\x1b[31m", source="s") for seed in range(5)])
    assert main(["table", str(table), "--json", str(out), "--show", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "key twice: 4 rows share data set, manipulation, quality, video, frame and track with another" in lines
    assert "  ... and 3 more" in lines
    found = json.loads(out.read_text())
    assert {flag["kind"]: len(flag["rows"]) for flag in found["flags"]} == {"one-class split": 1, "key twice": 4}
    assert found["counts"][0]["rows"] == 5
    write_faces(table, [face(seed, label="fake", method="[red]x", video="v", source="s") for seed in range(2)])
    assert main(["table", str(table)]) == 1
    assert " [red]x " in capsys.readouterr().out
    table.write_bytes(b"")
    assert main(["table", str(table)]) == 2
    assert main(["table", str(tmp_path / "none.parquet")]) == 2
    assert capsys.readouterr().err.splitlines()[1] == f"unmask: {tmp_path / 'none.parquet'}: no such file"


def test_a_real_table(tmp_path: Path) -> None:
    """Validation rows of DFDC: no leak; reals that occur under two names are found."""
    shared = Path(os.environ.get("UNMASK_SHARED", Path(__file__).parents[3] / "shared"))
    table = shared / "data" / "dfdc-faces" / "val.parquet"
    if not table.exists():
        pytest.skip(f"{table} is not there")
    found = inspect_tables(table)
    assert found.rows == 3185
    assert [flag.kind for flag in found.flags] == ["duplicate"]
