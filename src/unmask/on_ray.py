"""The same work as :mod:`unmask.workers`, on the machines of a Ray cluster through Ray Data (``unmask[ray]``).

Each actor keeps one worker process and hands it the items: a hostile file ends that process, not the actor, and costs
itself alone. When an actor ends, with its machine or for want of memory, Ray gives its items to another one, and
would do so for ever. So a ledger counts how often each item was begun, and one that was begun ``ATTEMPTS`` times
and never came back is given up as a :class:`~unmask.workers.WorkerDied`.
"""

from __future__ import annotations

import collections
import functools
import itertools
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa

from unmask.errors import UnmaskError
from unmask.workers import Worker, WorkerDied, without_progress

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How many actors an item may end before it is given up.
ATTEMPTS = 3

#: Items that an actor gets at a time; so many are done again when it ends.
_BLOCK = 4
# Ray Data plans over a whole data set. One of so many items an actor bounds what is held here, whatever there is to do,
# and makes the start of the actors' processes, once a data set, a small part of the work.
_ROUND = 1024
# Paths go in and rows come out, so the least that Ray accepts (75 MiB) is plenty.
_OBJECT_STORE = 80 * 2**20


def work_on_ray(
    make: Callable[[], Callable[[Item], Result]],
    items: Iterable[Item],
    workers: int,
    timeout: float | None = None,
    address: str | None = None,
) -> Iterator[tuple[Item, Result | WorkerDied]]:
    """Results in the order in which they are ready, as :func:`unmask.workers.work` gives them.

    Every item comes back exactly once. An item whose actor ended may be computed more than once: what ``make``
    returns must not count on seeing it only once.

    Args:
        make: called once in each process; what it returns is called with every item. Both must be picklable by name,
            and ``unmask`` must be installed on every machine of the cluster.
        items: picklable. Taken from the iterable as needed, some thousands at a time.
        workers: actors with one CPU each, at least 1. A cluster with fewer CPUs runs as many as it has.
        timeout: seconds an item may take before its process is killed; None for no limit.
        address: of a running cluster, as ``ray.init`` takes it; None starts one on this machine, for this call.

    Raises:
        UnmaskError: Ray is not installed, or there is no cluster at the address.
        WorkerDied: ``make`` itself failed: no item can be done.
    """
    with _cluster(address, workers):
        remaining = iter(items)
        while chunk := list(itertools.islice(remaining, _ROUND * workers)):
            yield from _round(make, chunk, workers, timeout)


def _round(make: Any, items: list[Any], workers: int, timeout: float | None) -> Iterator[tuple[Any, Any]]:
    import ray
    import ray.data

    block = max(1, min(_BLOCK, len(items) // (4 * workers)))
    numbered = [(number, pickle.dumps(item)) for number, item in enumerate(items)]
    blocks = [_table(numbered[start : start + block]) for start in range(0, len(items), block)]
    ledger = ray.remote(_Ledger).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    answers = (
        ray.data.from_arrow(blocks)
        .map_batches(
            _Actor,
            fn_constructor_kwargs={"make": pickle.dumps(make), "timeout": timeout, "ledger": ledger},
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
        )
        .iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )
    waiting = dict(enumerate(items))
    for batch in answers:
        assert isinstance(batch, pa.Table)
        for number, answer in zip(batch["number"].to_pylist(), batch["pickled"].to_pylist(), strict=True):
            failed, result = pickle.loads(answer)
            if failed:
                raise WorkerDied(result)
            yield waiting.pop(number), result
    if waiting:
        raise UnmaskError("Ray", f"{len(waiting)} items did not come back")


def _table(rows: list[tuple[int, bytes]]) -> pa.Table:
    return pa.table(
        {
            "number": pa.array([number for number, _ in rows], pa.int64()),
            "pickled": pa.array([pickled for _, pickled in rows], pa.large_binary()),
        }
    )


class _Ledger:
    """How often each item of a round was begun."""

    def __init__(self) -> None:
        self._begun: collections.Counter[int] = collections.Counter()

    def begin(self, number: int) -> int:
        self._begun[number] += 1
        return self._begun[number]


class _Actor:
    """On one CPU of the cluster: items in, (whether no item can be done, answer) out."""

    def __init__(self, make: bytes, timeout: float | None, ledger: Any) -> None:
        # A spawned process imports the main module of its parent again, and here that is Ray's own.
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._worker: Worker[Any, Any] = Worker(
            functools.partial(without_progress, pickle.loads(make)), timeout=timeout
        )
        self._ledger = ledger

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = zip(batch["number"].to_pylist(), batch["pickled"].to_pylist(), strict=True)
        return _table([(number, pickle.dumps(self._answer(number, pickle.loads(item)))) for number, item in rows])

    def _answer(self, number: int, item: Any) -> tuple[bool, Any]:
        import ray

        if ray.get(self._ledger.begin.remote(number)) > ATTEMPTS:
            return False, WorkerDied(f"was begun {ATTEMPTS} times, and each time its Ray actor ended")
        try:
            self._worker.load()
        except WorkerDied as error:
            return True, str(error)
        try:
            return False, self._worker.do(item)
        except WorkerDied as error:
            return False, error


@contextmanager
def _cluster(address: str | None, workers: int) -> Iterator[None]:
    """A Ray that sends nothing to anybody and prints nothing; one that is already there is left as it is."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        from ray.data import DataContext
    except ImportError as error:
        raise UnmaskError("--ray", "Ray is not installed: pip install 'unmask[ray]'") from error

    ours = not ray.is_initialized()
    if ours:
        local: dict[str, Any] = {"num_cpus": workers, "object_store_memory": _OBJECT_STORE, "include_dashboard": False}
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else local),
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UnmaskError(address or "Ray", f"cannot be used: {_one_line(error)}") from error
    context = DataContext.get_current()
    before = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield
    except ray.exceptions.RayError as error:
        raise UnmaskError(address or "Ray", f"the work stopped: {_one_line(error)}") from error
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before
        if ours:
            ray.shutdown()


def _one_line(error: Exception) -> str:
    """What went wrong: the last line of what Ray prints, which is often a whole traceback."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
