"""Processes that may die: work on hostile files, one at a time, where a crash costs that file and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL = 0.5


class WorkerDied(Exception):
    """A worker ended over an item; the text says how."""


def work(
    make: Callable[[], Callable[[Item], Result]],
    items: Iterable[Item],
    workers: int,
    timeout: float | None = None,
) -> Iterator[tuple[Item, Result | WorkerDied]]:
    """Results in the order in which they are ready, computed by processes with one thread each.

    Unlike the pools of the standard library this one survives: an item that ends its process (a crash in a codec,
    no memory left) or takes too long gives a :class:`WorkerDied`, a new process takes over, and the rest is done.
    Items are taken from the iterable only as workers become free, so it may be endless.

    Args:
        make: called once in each process; what it returns is called with every item. Both must be picklable by name.
        items: picklable.
        workers: processes, at least 1.
        timeout: seconds an item may take before its process is killed; None for no limit.

    Raises:
        WorkerDied: ``make`` itself failed in a process: no item can be done.
    """
    remaining = iter(items)
    team: list[Worker[Item, Result]] = []
    try:
        for _ in range(workers):
            worker = Worker[Item, Result](make)
            team.append(worker)
            if not worker.take(remaining):
                break
        while any(worker.busy for worker in team):
            ready = wait([worker.connection for worker in team if worker.busy], _POLL)
            for worker in team:
                if not worker.busy:
                    continue
                answer = None
                if worker.connection in ready:
                    answer = worker.answer()
                elif timeout is not None and worker.seconds > timeout:
                    answer = worker.give_up(_too_long(timeout))
                if answer is not None:
                    worker.take(remaining)
                    yield answer
    finally:
        for worker in team:
            worker.stop()


class Worker(Generic[Item, Result]):
    """One process and the item it has. :func:`work` leads a team of them; :meth:`ask` is for one alone."""

    def __init__(self, make: Callable[[], Callable[[Item], Result]]) -> None:
        self._make, self.busy = make, False
        self._started = 0.0
        self._item: Any = None
        self._start()

    def _start(self) -> None:
        # Spawned, not forked: threads of torch, OpenCV and Arrow do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._make, theirs), daemon=True)
        threads = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"  # read when numeric libraries load, so it must stand before the start
        try:
            self._process.start()
        finally:
            if threads is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = threads
        theirs.close()
        self._ready = False

    def ask(self, item: Item, timeout: float | None = None) -> Result | WorkerDied:
        """What the process makes of one item; see :func:`work`."""
        self.take(iter([item]))
        while True:
            answer = None
            if self.connection.poll(_POLL):
                answer = self.answer()
            elif timeout is not None and self.seconds > timeout:
                answer = self.give_up(_too_long(timeout))
            if answer is not None:
                return answer[1]

    @property
    def seconds(self) -> float:
        """How long the item has been worked on, not counting the start of the process."""
        return time.monotonic() - self._started if self._ready else 0.0

    def take(self, items: Iterator[Item]) -> bool:
        """Begin the next item; False if there is none."""
        for self._item in items:
            self._send()
            return True
        self.busy = False
        return False

    def _send(self) -> None:
        self.busy = True
        self._started = time.monotonic()
        with suppress(OSError):  # it may have died already, which the next receive finds out
            self.connection.send(self._item)

    def answer(self) -> tuple[Item, Any] | None:
        """What the process says about its item, or how it ended; None if it only says that it has started."""
        try:
            said = self.connection.recv()
            if self._ready:
                return self._item, said
            if said is not None:
                raise WorkerDied(said)
            self._ready, self._started = True, time.monotonic()
            return None
        except (EOFError, OSError):
            self._process.join()
            if not self._ready:
                raise WorkerDied(f"a worker could not start ({_ending(self._process.exitcode)})") from None
            return self.give_up(f"ended the process that read it ({_ending(self._process.exitcode)})")

    def give_up(self, reason: str) -> tuple[Item, WorkerDied]:
        """Put a new process in the place of this one."""
        item = self._item
        self.stop()
        self._start()
        return item, WorkerDied(reason)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(make: Callable[[], Callable[[Any], Any]], connection: Connection) -> None:
    try:
        function = make()
    except Exception as error:
        connection.send(str(error) or type(error).__name__)
        return
    connection.send(None)
    try:
        while True:
            connection.send(function(connection.recv()))
    except (EOFError, KeyboardInterrupt):
        return


def _too_long(timeout: float) -> str:
    return f"took longer than {timeout:g} s"


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code}"
    return f"exit code {code}"
