"""Work on a real Ray with two actors, whatever happens to them."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.test_workers import _make
from unmask.on_ray import ATTEMPTS, _cluster, work_on_ray
from unmask.workers import WorkerDied

ray = pytest.importorskip("ray", reason="Ray is not installed")

# Ray leaves its sockets and log files to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _start(folder: Path) -> Callable[[str], tuple[str, int]]:
    return functools.partial(_do, folder)


def _do(folder: Path, item: str) -> tuple[str, int]:
    """Note that the item was begun; then the item, and the process of the actor."""
    with (folder / "begun").open("a") as file:
        file.write(f"{item}\n")
    time.sleep(0.05)
    if item == "crash":
        os._exit(3)
    if item == "slow":
        time.sleep(60)
    if item == "poison":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return item, os.getppid()


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One Ray for all tests, as its start takes seconds."""
    with _cluster(None, 2):
        yield
    assert not ray.is_initialized()


def test_a_killed_actor_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    items = [f"file {number}" for number in range(40)]
    found, killed = [], None
    for item, answer in work_on_ray(functools.partial(_start, tmp_path), items, 2):
        assert not isinstance(answer, WorkerDied), answer
        assert answer[0] == item
        found.append((item, answer[1]))
        if killed is None:
            killed = answer[1]
            os.kill(killed, signal.SIGKILL)
    assert sorted(item for item, _ in found) == sorted(items)
    assert {actor for _, actor in found} - {killed}
    assert ray.is_initialized()  # it was there before, so it stays


def test_hostile_items_cost_themselves_alone(tmp_path: Path) -> None:
    items = ["a", "crash", "b", "slow", "c", "poison", "d", "e"]
    found = dict(work_on_ray(functools.partial(_start, tmp_path), items, 2, timeout=2))
    assert {item: str(answer) for item, answer in found.items() if isinstance(answer, WorkerDied)} == {
        "crash": "ended the process that read it (exit code 3)",
        "slow": "took longer than 2 s",
        "poison": f"was begun {ATTEMPTS} times, and each time its Ray actor ended",
    }
    assert set(found) == set(items)
    assert (tmp_path / "begun").read_text().splitlines().count("poison") == ATTEMPTS


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(WorkerDied, match="no such detector"):
        list(work_on_ray(functools.partial(_make, fail=True), ["a"], 2))


def test_nothing_to_do() -> None:
    assert list(work_on_ray(_make, [], 2)) == []
