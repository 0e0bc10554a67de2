"""Which files are open, asked of ``/proc``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def is_open(path: str) -> bool:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if any(_leads_to(file, path) for file in (process / "fd").iterdir()):
                return True
    return False


def _leads_to(link: Path, path: str) -> bool:
    try:
        return str(link.readlink()) == path
    except OSError:
        return False
