"""Batches ahead of the training loop, made by threads of its own process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import cv2
import torch

from unmask.data.batches import Batch, Batches


def stream(batches: Batches, first: int, last: int, threads: int, *, pin: bool = False) -> Iterator[Batch]:
    """The batches of steps ``first`` to ``last`` - 1 in order, decoded and augmented ahead of the loop.

    Threads, not processes: decoders and what moves pixels let go of Python's lock, one table and one buffer serve all,
    nothing is copied from process to process, and no process is forked from one that runs threads of torch and Arrow.
    At most ``threads`` + 2 batches wait or are being made.

    Args:
        batches: what each step shows.
        threads: 0 makes each batch when it is asked for.
        pin: put images into page-locked memory, from which a CUDA device copies while it computes.
    """

    def make(step: int) -> Batch:
        batch = batches[step]
        # Page-locked memory keeps the order of the axes.
        return replace(batch, images=batch.images.pin_memory(), labels=batch.labels.pin_memory()) if pin else batch

    if not threads:
        yield from map(make, range(first, last))
        return
    with _single_threaded(threads) as pool:
        steps = iter(range(first, last))
        waiting: deque[Future[Batch]] = deque()
        try:
            for step in steps:
                waiting.append(pool.submit(make, step))
                if len(waiting) == threads + 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _single_threaded(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool in whose threads neither torch nor OpenCV starts more: they would fight training for its cores."""
    own, own_cv = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(threads, "unmask-loader", torch.set_num_threads, (1,)) as pool:
        met = threading.Barrier(threads + 1)
        for _ in range(threads):
            pool.submit(met.wait)
        met.wait()
        # What a thread sets for itself, torch also takes for every thread that begins later, such as autograd's.
        torch.set_num_threads(own)
        try:
            yield pool
        finally:
            cv2.setNumThreads(own_cv)
