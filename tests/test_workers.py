"""Workers survive what their items do to them."""

from __future__ import annotations

import functools
import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from unmask.worker_process import Tell
from unmask.workers import Worker, WorkerDied, work

MB = 2**20
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is limited on Linux only")


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
    if item == "error":
        raise KeyError("a thing nobody\nforesaw")
    if item == "large":
        bytearray(200 * MB)
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


def test_an_exception_costs_one_item_and_says_what_it_was() -> None:
    found = dict(work(_make, ["a", "error", "b"], 1))
    assert (found["a"], found["b"]) == ("A1", "B1")
    assert str(found["error"]) == "failed: KeyError: 'a thing nobody\\nforesaw'"


@LINUX
def test_memory_that_is_not_there_is_an_answer() -> None:
    found = dict(work(_make, ["large", "a"], 1, memory=100 * MB))
    assert str(found["large"]) == "needed more memory than 100 MB"
    assert found["a"] == "A1"
    assert dict(work(_make, ["large"], 1, memory=300 * MB)) == {"large": "LARGE1"}


class _Strange:
    pass


def _make_teller() -> Callable[[str, Tell], object]:
    return _tell


def _tell(item: str, tell: Tell) -> object:
    if item == "count":
        for number in range(3):
            tell(number / 2)
    if item == "spin":
        while True:
            pass
    if item == "talk":
        while True:
            tell(0)
    if item == "sleep":
        tell(os.getpid())
        time.sleep(60)
    if item == "strange":
        return _Strange()
    if item == "core":
        return resource.getrlimit(resource.RLIMIT_CORE)[0]
    return os.getpid()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker[str, object]]:
    worker = Worker[str, object](_make_teller, timeout=100, cpu=1, plain=True)
    yield worker
    worker.close()


def test_a_worker_is_loaded_once_and_reports_progress(worker: Worker[str, object]) -> None:
    worker.load()
    said: list[object] = []
    pid = worker.do("count", said.append)
    assert said == [0, 0.5, 1]
    assert worker.do("again") == pid != os.getpid()
    assert worker.do("core") == 0


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("spin", "needed more than 1 s of processor time"),
        ("strange", "gave an answer that is none (UnpicklingError)"),
    ],
)
def test_a_worker_is_replaced(worker: Worker[str, object], item: str, reason: str) -> None:
    before, count = worker.do("who"), worker.replaced
    with pytest.raises(WorkerDied, match=re.escape(reason)):
        worker.do(item)
    assert worker.do("who") != before
    assert worker.replaced == count + 1


def test_endless_progress_is_no_way_round_the_time() -> None:
    worker = Worker[str, object](_make_teller, timeout=0.5)
    try:
        with pytest.raises(WorkerDied, match=r"took longer than 0\.5 s"):
            worker.do("talk")
    finally:
        worker.close()


def test_a_worker_stops_when_told(worker: Worker[str, object]) -> None:
    said: list[object] = []
    with pytest.raises(WorkerDied, match="was stopped"):
        worker.do("sleep", said.append, stopped=lambda: bool(said))
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(said[0])), 0)


def test_death_between_two_items_costs_neither(worker: Worker[str, object]) -> None:
    pid = int(str(worker.do("who")))
    os.kill(pid, signal.SIGKILL)
    while worker._process.is_alive():
        time.sleep(0.01)
    assert worker.do("who") != pid


def test_a_worker_that_could_not_be_started_again_is_started_later() -> None:
    worker = Worker[str, object](_make_teller)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    refused = 0
    try:
        for files in range(1, 6, 2):  # the system gives some of those that a start needs
            pid = int(str(worker.do("who")))
            os.kill(pid, signal.SIGKILL)
            while worker._process.is_alive():
                time.sleep(0.01)
            first = os.dup(0)
            os.close(first)
            resource.setrlimit(resource.RLIMIT_NOFILE, (first + files, limits[1]))
            try:
                worker.begin("who")
            except OSError:
                refused += 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert worker.do("who") != pid
    finally:
        worker.close()
    assert refused == 3


def test_no_worker_outlives_its_parent() -> None:
    code = (
        "import os, tests.test_workers as t\n"
        "t.Worker(t._make_teller).do('sleep', lambda pid: (print(pid, flush=True), os.kill(os.getpid(), 9)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for _ in range(1000):
        try:
            os.kill(int(done.stdout), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the worker is still there")
