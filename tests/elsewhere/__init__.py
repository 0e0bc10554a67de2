"""Windows, as far as it can be had on Linux: see ``sitecustomize.py``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent

#: The environment of a process that is to find itself there. It prints as Western Europe's consoles do.
ELSEWHERE = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(_FOLDER), str(_FOLDER.parents[1] / "src")]),
    "PYTHONIOENCODING": "cp1252",
    "PYTHONWARNDEFAULTENCODING": "1",
}

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="/proc tells who has a file open")
