"""Without torch: `unmask detect` judges, and what needs torch says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.detection import load_detector

_WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
from unmask.cli import main
sys.exit(main(sys.argv[1:]))
"""
_HEAVY = (
    "torch", "torchvision", "timm", "safetensors", "numba", "sklearn", "scipy", "skimage", "matplotlib", "pyarrow",
    "onnx", "onnxscript", "simplejpeg",
)  # fmt: skip


def test_the_package_is_imported_at_once_and_lists_what_it_has() -> None:
    code = (
        "import sys, unmask; print('load_detector' in dir(unmask), {'numpy', 'torch', 'onnxruntime'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True set()\n", "")


def light(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process in which none of the heavy packages can be imported."""
    code = _WITHOUT.format(names=_HEAVY)
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_a_clip_gets_the_same_score(clip: Path, tmp_path: Path) -> None:
    result, page = tmp_path / "verdicts.json", tmp_path / "report.html"
    done = light("detect", str(clip), "--json", str(result), "--report", str(page), "--frames", "4")
    (found,) = json.loads(result.read_text())
    assert (done.returncode, done.stderr) == (0, f"unmask: {clip}: {found['warnings'][0]}\n")
    expected = load_detector("default", runtime="torch").detect(clip, frames=4)
    assert found["verdict"] == expected.verdict
    assert found["score"] == pytest.approx(expected.score, abs=1e-4)
    assert found["detector"] == {**vars(expected.detector)}
    assert "No map of the adversary" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (("train", "recipe.toml"), "torch"),
        (("detect", "clip.mp4", "--runtime", "torch"), "torch"),
        (("evaluate", "default", "table.parquet"), "torch"),
        (("attack", "default", "table.parquet"), "torch"),
        (("export", "default"), "export"),
    ],
)
def test_what_needs_torch_says_what_to_install(arguments: tuple[str, ...], package: str) -> None:
    done = light(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"pip install 'unmask[{package}]'" in line


def test_the_demo_runs_and_prints_a_name_that_the_console_lacks(tmp_path: Path) -> None:
    code = _WITHOUT.format(names=_HEAVY).replace("unmask.cli", "unmask.demo")
    out, environment = tmp_path / "中文", {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rf"report: {tmp_path}/\u4e2d\u6587/report.html" in done.stdout
    assert (out / "report.html").is_file()
