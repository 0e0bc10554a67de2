from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from unmask.training.memory import keep_freed_memory
for keep in (False, True):
    assert not keep or keep_freed_memory()
    for step in range(6):
        if step == 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(9 * 2**20)  # more than glibc would ever keep by itself
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_tensor_of_the_size_of_the_last_one_takes_no_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < 0.1 * given_back
