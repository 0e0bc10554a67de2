"""Processes that may die: work on hostile files, one at a time, where a crash costs that file and nothing else.

:func:`work` does many items and gives the results as they come. A :class:`Worker` is one such process for those who
have one item now and another later, with progress, and with limits on time, processor time and memory.
"""

from __future__ import annotations

import functools
import io
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from unmask.worker_process import Tell, serve

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL = 0.5
_SIGXCPU = getattr(signal, "SIGXCPU", 24)  # Windows has none
_starting = threading.Lock()


class WorkerDied(Exception):
    """An item got no result, and the process that had it is gone; the text says how.

    Its cause is a ModuleNotFoundError if ``make`` lacked a package.
    """


def work(
    make: Callable[[], Callable[[Item], Result]],
    items: Iterable[Item],
    workers: int,
    timeout: float | None = None,
    memory: int | None = None,
) -> Iterator[tuple[Item, Result | WorkerDied]]:
    """Results in the order in which they are ready, computed by processes with one thread each.

    Unlike the pools of the standard library this one survives: an item that ends its process (a crash in a codec,
    no memory left), fails in a way nobody foresaw or takes too long gives a :class:`WorkerDied`, a new process takes
    over, and the rest is done. Items are taken from the iterable only as workers become free, so it may be endless.

    Args:
        make: called once in each process; what it returns is called with every item. Both must be picklable by name.
        items: picklable.
        workers: processes, at least 1.
        timeout: seconds an item may take before its process is killed; None for no limit.
        memory: bytes an item may take in its process, see :class:`Worker`; None for no limit.

    Raises:
        WorkerDied: ``make`` itself failed in a process: no item can be done.
        ModuleNotFoundError: it failed because a package is not installed.
    """
    remaining = iter(items)
    team: list[Worker[Item, Result]] = []
    try:
        for item in itertools.islice(remaining, workers):
            team.append(Worker(functools.partial(without_progress, make), timeout=timeout, memory=memory))
            team[-1].begin(item)
        while busy := [worker for worker in team if worker.busy]:
            ready = wait([worker.connection for worker in busy], _POLL)
            for worker in busy:
                answer = worker.poll(worker.connection in ready)
                if answer is not None:
                    for item in itertools.islice(remaining, 1):
                        worker.begin(item)
                    yield answer
    except WorkerDied as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise error.__cause__ from None  # as if it were missing here: the command line knows what to install
        raise
    finally:
        for worker in team:
            worker.close()


class Worker(Generic[Item, Result]):
    """One process, loaded once, that does one item at a time and is replaced when it dies.

    It dies of a crash, of an exception, of a limit, or when told to. An object serves one thread at a time.

    Args:
        make: called once in the process; what it returns is called with every item and a function that reports
            progress. Picklable by name.
        timeout: seconds of the clock for an item.
        cpu: seconds of processor time for an item, rounded up.
        memory: bytes an item may take beyond what the process holds when ``make`` is done. It bounds what the process
            has to itself and may write (heap, anonymous maps; Linux counts it as ``VmData``), not its address space,
            of which numeric libraries reserve gigabytes they never touch. No effect outside Linux.
        threads: that numeric libraries may use.
        plain: refuse answers that hold anything but numbers, text, bytes and containers of them. Unpickling other
            things runs code, and this keeps a process that a file has taken over from running its own here.
    """

    def __init__(
        self,
        make: Callable[[], Callable[[Item, Tell], Result]],
        *,
        timeout: float | None = None,
        cpu: float | None = None,
        memory: int | None = None,
        threads: int = 1,
        plain: bool = False,
    ) -> None:
        self._make, self._timeout, self._cpu, self._memory = make, timeout, cpu, memory
        self._threads, self._load = threads, _Plain if plain else pickle.Unpickler
        self._item: Any = None
        self.busy = False
        self.replaced = 0
        self._start()

    def load(self) -> None:
        """Wait until the process is ready for its first item.

        Raises:
            WorkerDied: ``make`` failed; the text says why.
        """
        while not self._ready:
            self._receive()

    def do(self, item: Item, progress: Tell | None = None, stopped: Callable[[], bool] | None = None) -> Result:
        """The result for one item.

        Args:
            item: picklable.
            progress: called with what the process reports.
            stopped: asked ten times a second; True ends the item and its process.

        Raises:
            WorkerDied: there is no result.
        """
        self.begin(item)
        while True:
            ready = wait([self.connection], 0.1)
            if stopped is not None and stopped():
                _, answer = self._give_up("was stopped")
                raise answer
            if (found := self.poll(bool(ready), progress)) is not None:
                if isinstance(found[1], WorkerDied):
                    raise found[1]
                return found[1]

    def begin(self, item: Item) -> None:
        """Hand over an item; :meth:`poll` until it is done."""
        if not self._process.is_alive():  # died while idle, which is not this item's doing
            self._replace()
        self._item, self.busy = item, True
        self._began = time.monotonic()
        with suppress(OSError):  # it may have died just now, which the next receive finds out
            self.connection.send(item)

    def poll(self, ready: bool, progress: Tell | None = None) -> tuple[Item, Result | WorkerDied] | None:
        """The item and its result, or how it ended; None while it is worked on.

        Args:
            ready: whether there is something to read from :attr:`connection`.
            progress: called with what the process reports.

        Raises:
            WorkerDied: the process could not start.
        """
        if ready:
            said = self._receive()
            if said is None:
                return None
            kind, value = said
            if kind == "done":
                self.busy = False
                return self._item, value
            if kind == "gone":
                return self._give_up(value)
            if progress is not None:
                progress(value)
        # The start of the process does not count. Checked after every message, for there might be no end of them.
        if self._ready and self._timeout is not None and time.monotonic() - self._began > self._timeout:
            return self._give_up(f"took longer than {self._timeout:g} s")
        return None

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.busy = False
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _start(self) -> None:
        # Spawned, not forked: threads of torch, OpenCV and Arrow do not survive a fork.
        context = multiprocessing.get_context("spawn")
        connection, theirs = context.Pipe()
        process = context.Process(target=serve, args=(self._make, theirs, self._cpu, self._memory), daemon=True)
        with _starting:
            before = os.environ.get("OMP_NUM_THREADS")
            # Read when numeric libraries load, so it must stand before the start.
            os.environ["OMP_NUM_THREADS"] = str(self._threads)
            try:
                process.start()
            finally:
                if before is None:
                    del os.environ["OMP_NUM_THREADS"]
                else:
                    os.environ["OMP_NUM_THREADS"] = before
        theirs.close()
        # Only now: one that the system refused is no process, and the next item tries again.
        self.connection, self._process, self._ready = connection, process, False
        self._began = time.monotonic()

    def _replace(self) -> None:
        self.close()
        self.replaced += 1
        self._start()

    def _give_up(self, reason: str) -> tuple[Item, WorkerDied]:
        self._replace()
        return self._item, WorkerDied(reason)

    def _receive(self) -> tuple[str, Any] | None:
        """The next message: ("done" | "gone" | "progress", value), or None for the one that says it is ready."""
        try:
            kind, value = self._load(io.BytesIO(self.connection.recv_bytes())).load()
        except (EOFError, OSError):
            self._process.join()
            kind, value = "gone", f"ended the process that read it ({self._ending()})"
            if self._cpu is not None and self._process.exitcode == -_SIGXCPU:
                value = f"needed more than {self._cpu:g} s of processor time"
            if not self._ready:
                self.busy = False
                raise WorkerDied(f"a worker could not start ({self._ending()})") from None
        except Exception as error:
            kind, value = "gone", f"gave an answer that is none ({type(error).__name__})"
        if self._ready:
            return kind, value
        if kind != "ready":
            self.busy = False
            if kind == "missing":
                text, name = value
                raise WorkerDied(text) from ModuleNotFoundError(text, name=name)
            raise WorkerDied(value)
        self._ready, self._began = True, time.monotonic()
        return None

    def _ending(self) -> str:
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        return f"signal {-code}"


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError("not plain")


def without_progress(make: Callable[[], Callable[[Item], Result]]) -> Callable[[Item, Tell], Result]:
    """For a :class:`Worker`, what :func:`work` takes: ``functools.partial(without_progress, make)``."""
    function = make()
    return lambda item, tell: function(item)
