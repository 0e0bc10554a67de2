"""Sessions of ONNX Runtime: they leave nothing behind, and tell nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_nothing_is_kept_about_this_machine_to_be_reported(tmp_path: Path) -> None:
    # In continuous integration ONNX Runtime reports nothing by itself.
    told = ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in told} | {"HOME": str(tmp_path)}
    code = "import unmask; unmask.load_detector('default', runtime='onnx')"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []
