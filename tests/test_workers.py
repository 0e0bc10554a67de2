"""Workers survive what their items do to them."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import time
from collections.abc import Callable

import pytest

from unmask.workers import WorkerDied, work


def _make(fail: bool = False) -> Callable[[str], str]:
    if fail:
        raise ValueError("no such detector")
    return _do


def _do(item: str) -> str:
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(3)
    if item == "slow":
        time.sleep(60)
    return item.upper() + os.environ["OMP_NUM_THREADS"]


def test_a_crash_costs_one_item() -> None:
    found = dict(work(_make, ["a", "crash", "b", "exit", "c"], 2))
    assert {item: value for item, value in found.items() if isinstance(value, str)} == {"a": "A1", "b": "B1", "c": "C1"}
    assert str(found["crash"]) == "ended the process that read it (signal 11)"
    assert str(found["exit"]) == "ended the process that read it (exit code 3)"


def test_a_slow_item_is_given_up() -> None:
    found = dict(work(_make, ["slow", "a"], 1, timeout=0.5))
    assert str(found["slow"]) == "took longer than 0.5 s"
    assert found["a"] == "A1"


def test_items_are_taken_only_as_workers_are_free() -> None:
    taken = itertools.count()
    endless = (str(next(taken)) for _ in itertools.repeat(None))
    results = work(_make, endless, 2)
    for _ in range(5):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert next(taken) <= 8


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(WorkerDied, match="no such detector"):
        list(work(functools.partial(_make, fail=True), ["a"], 2))


def test_nothing_to_do() -> None:
    assert list(work(_make, [], 2)) == []
