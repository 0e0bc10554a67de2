"""A queue that survives, and results that do not."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from unmask import UnmaskError
from unmask.server.store import Job, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data")
    yield store
    store.close()


def _id(name: str) -> str:
    """As long as ids are."""
    return f"{name:_<22}"


def _add(store: Store, id: str, age: float = 0.0) -> str:
    store.upload(id).write_bytes(b"film")
    store.add(Job(id, "queued", "a.mp4", 4, 32, time.time() - age))
    return id


def _again(store: Store, tmp_path: Path) -> Store:
    store.close()
    return Store(tmp_path / "data")


def test_a_job_from_queue_to_result(store: Store) -> None:
    _add(store, "b", age=1)
    _add(store, "a", age=2)
    assert store.queued() == ["a", "b"]
    store.start("a")
    store.finish("a", '{"verdict": "real"}', b"<html>", [("{}", b"one"), ("{}", b"two")])
    job = store.get("a")
    assert job is not None
    assert (job.state, job.result, job.error) == ("done", '{"verdict": "real"}', None)
    assert (store.report("a"), store.picture("a", 1), store.picture("a", 2)) == (b"<html>", b"two", None)
    assert not store.upload("a").exists()
    store.fail("b", "no film")
    assert not store.upload("b").exists()
    assert store.get("c") is None


def test_what_was_under_way_starts_over_but_not_for_ever(store: Store, tmp_path: Path) -> None:
    job_id = _add(store, _id("a"))
    for attempt in range(2):
        store.start(job_id)
        store = _again(store, tmp_path)
        assert store.queued() == ([job_id] if attempt == 0 else [])
    job = store.get(job_id)
    assert job is not None
    assert (job.state, job.error) == ("failed", "the server was stopped twice while it was judged")
    assert not store.upload(job_id).exists()
    store.close()


def test_what_was_put_back_has_all_its_attempts(store: Store, tmp_path: Path) -> None:
    _add(store, "a")
    for _ in range(5):
        store.start("a")
        store.put_back("a")
        store = _again(store, tmp_path)
        assert store.queued() == ["a"]
    store.close()


def test_uploads_of_nobody_are_removed(store: Store, tmp_path: Path) -> None:
    _add(store, _id("a"))
    _add(store, _id("too_old"), age=100_000)
    store.upload(_id("orphan")).write_bytes(b"film")
    lost = _add(store, _id("lost"))
    store.upload(lost).unlink()
    store = _again(store, tmp_path)
    assert [path.name for path in (tmp_path / "data" / "uploads").iterdir()] == [_id("a")]
    errors = [job.error for name in ("lost", "too_old") if (job := store.get(_id(name)))]
    assert errors == ["the upload is gone", "the server was down for too long"]
    store.upload(_id("forgotten")).write_bytes(b"film")
    store.upload(_id("arriving")).write_bytes(b"film")
    os.utime(store.upload(_id("forgotten")), (0, 0))
    store.expire(60, 10)
    assert {path.name for path in (tmp_path / "data" / "uploads").iterdir()} == {_id("a"), _id("arriving")}
    store.close()


def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "uploads").mkdir(parents=True)
    mine.chmod(0o755)
    files = {mine / "uploads" / "clip.mp4": b"film", mine / "lock": b"key"}
    for path, content in files.items():
        path.write_bytes(content)
    for path in files:
        with pytest.raises(UnmaskError, match="is not empty and no folder of this server"):
            Store(mine)
        assert {each: each.read_bytes() for each in files} == files
        path.unlink()
        files = {each: content for each, content in files.items() if each != path}
    Store(mine).close()  # as a server leaves it that was killed at its first start
    assert mine.stat().st_mode & 0o777 == 0o755
    assert {name: (mine / name).stat().st_mode & 0o77 for name in ("lock", "jobs.sqlite")} == {
        "lock": 0,
        "jobs.sqlite": 0,
    }

    (mine / "uploads" / "holiday.txt").touch()
    os.utime(mine / "uploads" / "holiday.txt", (0, 0))
    store = Store(mine)
    store.expire(60, 10)
    store.close()
    assert (mine / "uploads" / "holiday.txt").exists()


@pytest.mark.parametrize("version", [0, 1])
def test_a_database_of_somebody_else_is_refused_and_left_as_it_is(version: int, tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(f"CREATE TABLE offers (title TEXT); PRAGMA user_version = {version};")
    before = path.read_bytes()
    with pytest.raises(UnmaskError, match="is not empty and no folder of this server"):
        Store(tmp_path)
    assert path.read_bytes() == before


def test_results_go_by_age_and_by_number(store: Store) -> None:
    for id in "abc":
        _add(store, id)
        store.finish(id, "{}", b"", [("{}", b"jpeg")])
    assert store.expire(60, 2) == 1
    assert (store.get("a"), store.picture("a", 0)) == (None, None)
    assert store.get("b") is not None
    waiting = _add(store, "d")
    assert store.expire(-1, 10) == 2
    assert store.queued() == [waiting]


def test_many_results_do_not_go_in_one_turn(store: Store) -> None:
    for number in range(25):
        store.finish(_add(store, str(number)), "{}", b"", [])
    assert [store.expire(-1, 10) for _ in range(4)] == [10, 10, 5, 0]


def test_nothing_of_a_deleted_result_is_left_in_the_files(store: Store, tmp_path: Path) -> None:
    _add(store, "a")
    store.finish("a", '{"path": "NEEDLE"}', b"NEEDLE" * 10_000, [("{}", b"NEEDLE" * 10_000)])
    files = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
    assert any(b"NEEDLE" in path.read_bytes() for path in files)
    store.delete("a")
    assert not any(b"NEEDLE" in path.read_bytes() for path in files)


def test_a_folder_has_one_server_and_is_private(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="another server uses this folder"):
        Store(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnmaskError, match="cannot be used for uploads and results"):
        Store(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(UnmaskError, match="file is not a database"):
        Store(tmp_path / "other")
