"""A queue that survives, and results that do not."""

from __future__ import annotations

import os
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
    _add(store, "a")
    for attempt in range(2):
        store.start("a")
        store = _again(store, tmp_path)
        assert store.queued() == (["a"] if attempt == 0 else [])
    job = store.get("a")
    assert job is not None
    assert (job.state, job.error) == ("failed", "the server was stopped twice while it was judged")
    assert not store.upload("a").exists()
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
    _add(store, "a")
    _add(store, "too old", age=100_000)
    store.upload("orphan").write_bytes(b"film")
    lost = _add(store, "lost")
    store.upload(lost).unlink()
    store = _again(store, tmp_path)
    assert [path.name for path in (tmp_path / "data" / "uploads").iterdir()] == ["a"]
    errors = [job.error for id in ("lost", "too old") if (job := store.get(id))]
    assert errors == ["the upload is gone", "the server was down for too long"]
    store.upload("forgotten").write_bytes(b"film")
    store.upload("arriving").write_bytes(b"film")
    os.utime(store.upload("forgotten"), (0, 0))
    store.expire(60, 10)
    assert {path.name for path in (tmp_path / "data" / "uploads").iterdir()} == {"a", "arriving"}
    store.close()


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
