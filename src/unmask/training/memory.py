"""Freed memory kept for the next step, not handed back to the system and faulted in again."""

from __future__ import annotations

import ctypes
import platform

#: Parameters of mallopt(3) in glibc's malloc.h, and what they are set to.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_SETTINGS = {_M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 2**28, _M_MMAP_MAX: 0, _M_ARENA_MAX: 1}


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what a training step frees; True if it listened.

    A step on the CPU allocates and frees the same gigabyte of activations every time. By default glibc maps every large
    tensor afresh and gives it back at once, and the kernel clears each page again: a seventh of the time
    of a training of EfficientNet-Lite0 at 128 px, and more where the machine's memory is virtual. The price is that
    the process holds its peak until it ends. Elsewhere than on glibc this does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) == 1 for parameter, value in _SETTINGS.items())
