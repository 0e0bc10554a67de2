"""What a worker says about its detector, and what it takes of the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from unmask.server.judge import Answer, Item, make
from unmask.worker_process import Tell
from unmask.workers import Worker

Looked = tuple[int, Answer]


def _make(name: str) -> Callable[[Item, Tell], Looked]:
    """What the server's workers do, and how many threads OpenCV has in them."""
    import cv2

    cv2.setNumThreads(3)
    judge = make(name, 10**8, 60)
    return lambda item, tell: (cv2.getNumThreads(), judge(item, tell))


def _make_counting() -> Callable[[Item, Tell], set[str]]:
    """What the first file loads that was not there before it."""
    judge, before = make("default", 10**8, 60), set(sys.modules)

    def count(item: Item, tell: Tell) -> set[str]:
        judge(item, tell)
        return set(sys.modules) - before

    return count


def test_no_file_waits_for_torch(photo: Path) -> None:
    worker = Worker[Item, set[str]](_make_counting)
    try:
        assert not {"torch", "timm"} & worker.do((str(photo), "a.jpg", 1))
    finally:
        worker.close()


@pytest.mark.parametrize("ending", ["", "/"])
def test_the_folders_above_the_detector_stay_unsaid(light: Path, photo: Path, ending: str) -> None:
    worker = Worker[Item, Looked](partial(_make, f"{light}{ending}"))
    try:
        (_, about), (threads, answer) = worker.do(None), worker.do((str(photo), "a.jpg", 1))
    finally:
        worker.close()
    said: list[Any] = [about["detector"], answer["result"], answer["report"].decode()]
    for each in said:
        assert "light" in each
        assert str(light.parent) not in each
    assert '"name": "light"' in about["detector"]
    assert '"name": "light"' in answer["result"]
    assert threads == 1
