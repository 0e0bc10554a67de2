"""Ctrl-C between two rounds, not within one: half a round is no state to go on from."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_wait(alone: bool = True) -> Iterator[Callable[[], bool]]:
    """Within this block the first Ctrl-C is only noted: the function that is given says so. The second ends everything.

    Args:
        alone: one process. Several would stop at different rounds and wait for each other: there nothing is noted,
            and the last checkpoint stays what it is. Nor is it in threads, which hear no signals.
    """
    if not alone or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before, noted = signal.getsignal(signal.SIGINT), threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        noted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
