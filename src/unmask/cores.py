"""How many cores there are for this process, which are often fewer than the machine has."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path


def cores(root: Path = Path("/")) -> int:
    """Those it may run on, or fewer where its control group is given less time, as in a container (Linux, cgroup v2).

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _time(root))))


def _time(root: Path) -> float:
    """Seconds of processor time a second that the control group may take, and each one above it."""
    least = math.inf
    with suppress(OSError, StopIteration):
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
        name = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        group = root / "sys/fs/cgroup" / name
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # no limits are kept there, or it is "max"
                quota, period = (folder / "cpu.max").read_text("utf-8").split()
                least = min(least, int(quota) / int(period))
    return least
