"""How the CPU kernels are compiled: at first use, and kept on disk for the next process."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit

# No reassociation: differences must stay the differences they are. NaN and infinity are respected.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}

#: For a loop that kernels call: compiled into each of them.
inner = njit(**OPTIONS)


def kernel(*called: ModuleType) -> Callable[[Callable], Callable]:
    """Compile a function and cache it on disk: beside its file, else in the user's cache, else not at all.

    Args:
        called: modules with the loops it calls. Numba renews what it cached when the function's own file changes, but
            does not see those: the name tells.
    """
    content = b"".join(Path(str(module.__file__)).read_bytes() for module in called)

    def compile_and_keep(function: Callable) -> Callable:
        function.__qualname__ += f"_{zlib.crc32(content):08x}"
        try:
            return njit(cache=True, **OPTIONS)(function)
        except RuntimeError:  # no folder can be written to
            return njit(**OPTIONS)(function)

    return compile_and_keep
