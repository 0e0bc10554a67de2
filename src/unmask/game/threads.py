"""Threads for kernels that run without the GIL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch


def in_parallel(work: Callable, items: list) -> list[Any]:
    """work(item) for every item, on torch.get_num_threads() threads, the calling one among them; results in any order.

    Threads take the next item as they become free, and nobody waits for one that has not started: callers on
    several threads share the pool without harm.
    """
    threads = min(torch.get_num_threads(), len(items))
    turns = itertools.count()  # next() is atomic

    def take_turns() -> list[Any]:
        results = []
        while (turn := next(turns)) < len(items):
            results.append(work(items[turn]))
        return results

    if threads == 1:
        return take_turns()
    helpers = [pool(torch.get_num_threads() - 1, os.getpid()).submit(take_turns) for _ in range(threads - 1)]
    results = take_turns()
    for helper in helpers:
        if not helper.cancel():
            results += helper.result()
    return results


@cache
def pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The helper threads of this process: a forked child has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="unmask-kernel")
