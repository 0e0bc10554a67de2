"""Files that one process holds at a time; the system lets go when the process ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _take(file: BinaryIO) -> None:
        file.seek(0)  # the first byte stands for the file, also where it has none
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

    def _let_go(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:

    def _take(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _let_go(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a file in the block: True, or False where somebody has it, be it this very process.

    The file is made if it is not there, and stays; nothing in it is changed. On a shared disk this works as far as its
    file system has locks.

    Raises:
        OSError: the file cannot be opened, or its file system has no locks.
    """
    with path.open("ab") as file:
        try:
            _take(file)
        except (BlockingIOError, PermissionError):  # the latter is how Windows says that it is taken
            held = False
        else:
            held = True
        try:
            yield held
        finally:
            if held:
                _let_go(file)
