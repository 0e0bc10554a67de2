from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import resource, signal, sys
from pathlib import Path
import torch
from unmask import UnmaskError
from unmask.training.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    save_checkpoint(Path(sys.argv[1]), {"weights": torch.zeros(100, 1000)})
except UnmaskError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files")
def test_a_disk_that_is_full_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    done = subprocess.run([sys.executable, "-c", CODE, str(path)], capture_output=True, text=True, timeout=200)
    assert done.stdout == f"{path}: cannot be written: File too large\n", done.stderr[-2000:]
    assert not list(tmp_path.iterdir())
