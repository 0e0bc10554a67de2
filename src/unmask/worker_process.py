"""What runs in a process of :mod:`unmask.workers`: it loads, does one item after the other, and keeps its limits."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

#: Called to say how far an item is; the value reaches the caller of :meth:`unmask.workers.Worker.do`.
Tell = Callable[[Any], None]


def serve(
    make: Callable[[], Callable[[Any, Tell], Any]], connection: Connection, cpu: float | None, memory: int | None
) -> None:
    """Load, then do item after item until the connection or the parent ends; limits as :class:`unmask.workers.Worker`.

    It says ``ready``, then of each item ``progress`` as often as it likes and ``done``, each with a value; ``gone``
    with the reason when it cannot go on, or ``missing`` with the name of a package that it lacks.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _limit("RLIMIT_CORE", 0)  # what is in memory is nobody's business, and a gigabyte a crash fills disks
    try:
        function = make()
    except ModuleNotFoundError as error:
        connection.send(("missing", (str(error), error.name)))
        return
    except BaseException as error:
        connection.send(("gone", str(error) or type(error).__name__))
        return
    if memory is not None and (held := _held()) is not None:
        _limit("RLIMIT_DATA", held + memory)
    connection.send(("ready", None))
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            item = connection.recv()
            if cpu is not None:
                _limit("RLIMIT_CPU", math.ceil(time.process_time() + cpu), hard=False)
            try:
                connection.send(("done", function(item, lambda value: connection.send(("progress", value)))))
            except Exception as error:
                connection.send(("gone", _failure(error, memory)))
                return


def _failure(error: Exception, memory: int | None) -> str:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "needed more memory than " + ("there is" if memory is None else f"{memory / 2**20:.0f} MB")
    return "failed: " + " ".join(f"{type(error).__name__}: {error}".split())


def _end_with(parent: int) -> None:
    """End when the parent does, however it does: nobody waits for the answer any more."""
    wait([parent])
    os._exit(1)


def _limit(name: str, value: int, hard: bool = True) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    which: int = getattr(resource, name)
    most = resource.getrlimit(which)[1]
    if most != resource.RLIM_INFINITY:
        value = min(value, most)
    resource.setrlimit(which, (value, value if hard else most))


def _held() -> int | None:
    """Bytes of private writable memory of this process, as the kernel counts them against RLIMIT_DATA."""
    try:
        lines = Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:")), None)
