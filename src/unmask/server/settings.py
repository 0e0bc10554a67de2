"""What an operator may choose."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from unmask.errors import UnmaskError

MB = 2**20


def default_folder() -> Path:
    """Where uploads and results wait: ``$XDG_STATE_HOME/unmask/server``.

    Raises:
        UnmaskError: the user has no home, and the variable names no folder.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        return Path(state if os.path.isabs(state) else Path("~/.local/state").expanduser()) / "unmask" / "server"  # noqa: PTH117
    except RuntimeError as error:
        raise UnmaskError("--data", "is needed: this user has no home directory") from error


@dataclass(frozen=True)
class Settings:
    """How a server behaves; every limit holds for one upload or job.

    Attributes:
        detector: ``default`` or the folder of a detector.
        folder: for uploads and results; one server at a time.
        tokens: any of them opens the door; none: the door is open.
        hosts: names under which the server may be addressed, besides ``localhost`` and plain IP addresses.
        workers: jobs at a time, each in a process with one thread.
        queue: jobs that may wait, uploads in progress included.
        max_bytes: of an upload.
        max_pixels: of a picture or frame.
        max_duration: seconds of a video.
        max_frames: analysed frames a request may ask for.
        timeout: seconds a job may take, of the clock and of the processor.
        memory: bytes a job may take beyond the loaded detector.
        patience: seconds ``POST /detect`` waits for the verdict before it answers with a job.
        idle: seconds that an upload may pause, and a connection be silent.
        keep: seconds a result is kept.
        keep_at_most: results; the oldest go first.
        grace: seconds that running jobs get when the server stops; then they start over with the next start.
    """

    detector: str = "default"
    folder: Path = field(default_factory=default_folder)
    tokens: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    workers: int = 1
    queue: int = 32
    max_bytes: int = 1024 * MB
    max_pixels: int = 100_000_000
    max_duration: float = 7200.0
    max_frames: int = 256
    timeout: float = 600.0
    memory: int = 2048 * MB
    patience: float = 20.0
    idle: float = 30.0
    keep: float = 3600.0
    keep_at_most: int = 1000
    grace: float = 10.0
