"""Results reach the disk whole or not at all, and a wrong output path is named before any work is done."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from unmask.errors import UnmaskError


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make sure a file could be written here, without touching one that exists.

    Raises:
        UnmaskError: the path is a folder, its folder is missing, or nothing can be written there; or it is ``-``, which
            elsewhere means stdout, and there the tables go.
    """
    if os.fspath(path) == "-":
        raise UnmaskError(path, "stdout is taken; a file of this name is ./-")
    target = Path(path)
    try:
        if target.is_dir():
            raise UnmaskError(target, "is a folder, a file name is needed")
        if not target.parent.is_dir():
            raise UnmaskError(target, f"the folder {target.parent} does not exist")
        if not _is_written_as_it_is(target):
            with tempfile.TemporaryFile(dir=_target(target).parent):
                pass
        if target.exists() and not os.access(target, os.W_OK):
            raise UnmaskError(target, "the file is there and may not be written")
    except (OSError, ValueError) as error:
        raise UnmaskError(target, f"cannot be written: {_reason(error)}") from error


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, and those above it, if it is not there.

    Raises:
        UnmaskError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UnmaskError(path, f"the folder cannot be made: {_reason(error)}") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically: a reader sees the old file or the new one, never half of it.

    Raises:
        UnmaskError: the disk is full, or the folder is gone or not writable.
    """
    target = Path(path)
    try:
        if _is_written_as_it_is(target):
            with target.open("a", encoding="utf-8") as file:  # behind what was printed there
                file.write(text)
            return
        with replacing(target) as whole:
            whole.write(text.encode("utf-8"))
    except OSError as error:
        raise UnmaskError(target, f"cannot be written: {_reason(error)}") from error


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write what JSON can hold as :func:`write_text` does."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """As it is written everywhere: indented, with a newline at its end."""
    return json.dumps(value, indent=1) + "\n"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of ``path`` when the block ends, and vanishes if it fails.

    What was written is on the disk before the name points to it: a kill or a power cut leaves the old file or the new.
    A file that was there leaves its mode to the new one, and a link stays one: what it leads to is replaced.

    Raises:
        UnmaskError: it cannot be written, or the block ended with an ``OSError``.
    """
    target = _target(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(_mode(target))  # mkstemp makes files that only their owner can read
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnmaskError(path, f"cannot be written: {_reason(error)}") from error


def remove_unfinished(folder: Path, begin: str) -> None:
    """Remove what :func:`replacing` left of files whose names begin so, when it was killed; nobody may be at them."""
    for left in folder.glob(f".{begin}*"):
        left.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """Where a link leads, in the end."""
    return Path(os.path.realpath(path))


def _mode(path: Path) -> int:
    """Of the file that is there, else of a new one."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _is_written_as_it_is(target: Path) -> bool:
    """A pipe or a device, or /dev/stdout, whatever it leads to: there is nothing to put a new file in place of."""
    open_already = any(map(target.absolute().is_relative_to, ("/proc", "/dev/fd", "/dev/stdout", "/dev/stderr")))
    return target.exists() and (open_already or not target.is_file())


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
