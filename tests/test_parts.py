"""Parts: what is done stays done, once, whatever ends the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import UnmaskError
from unmask.parts import RECIPE_FILE, Parts, Shard, as_text, check_recipe, find_parts, read_notes, read_tables

SCHEMA = pa.schema([("key", pa.string()), ("image", pa.binary())])


def _rows(key: str, count: int) -> list[dict[str, object]]:
    return [{"key": key, "image": bytes(10)} for _ in range(count)]


def _keys(folder: Path) -> Iterator[str]:
    for table in read_tables(find_parts(folder), ["key"]):
        yield from table.column("key").to_pylist()


def test_an_item_of_no_row_is_done_like_one_of_many(tmp_path: Path) -> None:
    with Parts(tmp_path, SCHEMA, items=2) as parts:
        parts.add("many", _rows("many", 3), {"faces": 3})
        parts.add("none", [], {"error": "no face"})
        parts.add("bad name \udcff", [])
    assert read_notes(tmp_path) == {"many": {"faces": 3}, "none": {"error": "no face"}, "bad name \udcff": None}
    assert list(_keys(tmp_path)) == ["many"] * 3
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == [
        "part-0-of-1-000000.parquet",
        "part-0-of-1-000001.parquet",
    ]
    # Anybody's reader takes the folder as one table, the part without a row too.
    assert pyarrow.dataset.dataset(tmp_path).to_table().num_rows == 3


def test_the_latest_note_counts_and_parts_are_never_written_over(tmp_path: Path) -> None:
    for note in ("broken", "done"):
        with Parts(tmp_path, SCHEMA) as parts:
            parts.add("a", _rows("a", 1), note)
    assert read_notes(tmp_path) == {"a": "done"}
    assert list(_keys(tmp_path)) == ["a", "a"]


def test_a_part_is_written_when_its_rows_are_large(tmp_path: Path) -> None:
    with Parts(tmp_path, SCHEMA, size=25) as parts:
        for key in "abcd":
            parts.add(key, _rows(key, 2))
        assert sorted(read_notes(tmp_path)) == ["a", "b", "c", "d"]


def test_what_was_done_before_an_error_is_written(tmp_path: Path) -> None:
    def interrupted() -> None:
        with Parts(tmp_path, SCHEMA) as parts:
            parts.add("a", _rows("a", 1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read_notes(tmp_path) == {"a": None}


def test_two_runs_at_one_shard(tmp_path: Path) -> None:
    with Parts(tmp_path, SCHEMA, Shard(0, 2)):
        with Parts(tmp_path, SCHEMA, Shard(1, 2)):
            pass
        for shard, named in ((Shard(0, 2), "0/2"), (Shard(), "0/2"), (Shard(2, 3), "0/2")):
            with pytest.raises(UnmaskError, match=f"another run is at shard {named}"), Parts(tmp_path, SCHEMA, shard):
                pass
    with Parts(tmp_path, SCHEMA):
        pass


_KILLED = """
import os, signal, sys, pyarrow as pa
from unmask.parts import Parts
with Parts(sys.argv[1], pa.schema([("key", pa.string())]), items=2) as parts:
    for key in "abc":
        parts.add(key, [{"key": key}])
    (parts.folder / ".part-0-of-1-000001.parquet.half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_loses_the_part_it_was_at_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(read_notes(tmp_path)) == ["a", "b"]
    with Parts(tmp_path, SCHEMA) as parts:
        for key in {"a", "b", "c"} - set(read_notes(tmp_path)):
            parts.add(key, _rows(key, 1))
    assert sorted(_keys(tmp_path)) == ["a", "b", "c"]
    assert not list(tmp_path.glob("*.half"))


_FULL = """
import resource, sys, pyarrow as pa
from unmask.errors import UnmaskError
from unmask.parts import Parts
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    with Parts(sys.argv[1], pa.schema([("key", pa.string()), ("image", pa.binary())]), items=1) as parts:
        parts.add("small", [{"key": "small", "image": bytes(10)}])
        parts.add("large", [{"key": "large", "image": __import__("os").urandom(100000)}])
except UnmaskError as error:
    print(error)
"""


def test_a_full_disk_is_named_and_leaves_no_half_part(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FULL, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == f"{tmp_path}/part-0-of-1-000001.parquet: cannot be written: File too large\n"
    assert sorted(read_notes(tmp_path)) == ["small"]
    assert sorted(os.listdir(tmp_path)) == [".lock-0-of-1", "part-0-of-1-000000.parquet"]  # noqa: PTH208


def test_a_file_that_is_no_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "part-0-of-1-000000.parquet").write_text("not Parquet")
    with pytest.raises(UnmaskError, match="not a part written by unmask"):
        read_notes(tmp_path)


def test_a_copy_of_a_part_is_no_part(tmp_path: Path) -> None:
    with Parts(tmp_path, SCHEMA) as parts:
        parts.add("a", _rows("a", 1))
    (part,) = find_parts(tmp_path)
    part.with_name("part-0-of-1-000000 (copy).parquet").write_bytes(part.read_bytes())
    with Parts(tmp_path, SCHEMA) as parts:
        parts.add("b", _rows("b", 1))
    assert [path.name for path in find_parts(tmp_path)] == ["part-0-of-1-000000.parquet", "part-0-of-1-000001.parquet"]
    assert list(_keys(tmp_path)) == ["a", "b"]


def test_a_recipe_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "_recipe.json").write_text("[]")
    with pytest.raises(UnmaskError, match=r"_recipe\.json: cannot be read"):
        check_recipe(tmp_path, {"frames": 32})


def test_a_part_of_another_recipe_is_named(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for index, folder in enumerate((here, there)):
        with Parts(folder, SCHEMA, Shard(index, 2), made={"detector": index + 1}) as parts:
            check_recipe(folder, {"detector": index + 1})
            parts.add(str(index), [])
    moved = (there / "part-1-of-2-000000.parquet").rename(here / "part-1-of-2-000000.parquet")
    with pytest.raises(UnmaskError) as error:
        read_notes(here, {"detector": 1})
    assert str(error.value).startswith(f"{moved}: was made with detector 2, not 1: ")
    # Nor does a folder without a recipe take that of a run which some of its parts are not of.
    (here / RECIPE_FILE).unlink()
    for made in ({"detector": 1}, {"detector": 2}):
        with pytest.raises(UnmaskError, match="was made with detector"):
            check_recipe(here, made)
    assert not (here / RECIPE_FILE).exists()
    assert read_notes(here) == {"0": None, "1": None}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnmaskError, match="out: the folder cannot be made"), Parts(tmp_path / "file" / "out", SCHEMA):
        pass


def test_a_name_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_text("a \udcff") == r"a \xff"
    # Windows' names are 16-bit numbers, and half of a pair of them may stand alone.
    monkeypatch.setattr(sys, "getfilesystemencodeerrors", lambda: "surrogatepass")
    assert as_text("a \ud83d") == r"a \xed\xa0\xbd"
    assert Shard().holds("a \ud83d")


@given(st.text(), st.integers(1, 9))
def test_each_item_is_in_one_shard(key: str, count: int) -> None:
    key = key.encode("utf-8", "ignore").decode()
    assert sum(Shard(index, count).holds(key) for index in range(count)) == 1


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "a/b", "1/2/3", "0/0"])
def test_a_wrong_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="i/n"):
        Shard.parse(text)
    assert str(Shard.parse("1/2")) == "1-of-2"
