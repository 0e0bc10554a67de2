"""What several folders of tests share: two detectors and one clip with a face, made once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips import moving, portrait, write_video
from tests.detectors import make_detector, without_torch


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """What a shell starts in the background, and all that it starts, ignores interrupts: here they count, however the
    tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a detector that has learned nothing."""
    return make_detector(tmp_path_factory.mktemp("detector") / "untrained")


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a detector that a new process has loaded ten times sooner than ``untrained``: without torch."""
    return without_torch(tmp_path_factory.mktemp("detector") / "light")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 256 x 256 pixels with one face, H.264 in MP4."""
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4", moving(portrait(), 12))
