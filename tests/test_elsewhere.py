"""The same work where Windows' ways hold, as far as Linux can have them: see ``elsewhere/sitecustomize.py``."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unmask
from tests.clips import portrait, write_image
from tests.elsewhere import ELSEWHERE, NEEDS_PROC
from unmask.cli import main

#: A name that no code page has whole.
_NAME = "Ölbild 中文 🙂.png"

pytestmark = NEEDS_PROC


def _python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="cp1252", env=ELSEWHERE, check=False)


@pytest.fixture
def folder(tmp_path: Path, clip: Path) -> Path:
    """A picture with a wild name, a clip, and a picture that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_image(folder / _NAME, portrait())
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def test_a_folder_gets_the_same_verdicts(folder: Path, tmp_path: Path) -> None:
    here, there, page = tmp_path / "here.json", tmp_path / "there.json", tmp_path / "page.html"
    there.write_text("of an earlier run")
    assert main(["detect", str(folder), "--json", str(here)]) == 1
    done = _python("-m", "unmask", "detect", folder, "--json", there, "--report", page)
    assert done.returncode == 1
    assert there.read_bytes() == here.read_bytes()
    assert _NAME in page.read_text("utf-8")
    assert [line.rpartition("in/")[2] for line in done.stdout.splitlines()] == [
        "clip.mp4",
        r"Ölbild \u4e2d\u6587 \U0001f642.png",
    ]
    assert "broken.jpg" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_archive_is_judged_once(folder: Path, tmp_path: Path) -> None:
    command = ("-m", "unmask", "detect", folder, "--out", tmp_path / "out", "--workers", "2")
    for expected in ("3 files judged now, 3 in", "0 files judged now, 3 in"):
        done = _python(*command)
        assert (done.returncode, done.stdout[: len(expected)]) == (1, expected), done.stderr


_BYTES = """
import sys
from pathlib import Path
import unmask
detector = unmask.load_detector("default")
for found in detector.detect_many(Path(name).read_bytes() for name in sys.argv[1:]):
    print(found.verdict, found.error)
"""


def test_bytes_are_judged(folder: Path) -> None:
    done = _python("-c", _BYTES, folder / "clip.mp4", folder / _NAME, folder / "broken.jpg")
    assert (done.returncode, done.stderr) == (0, "")
    *judged, broken = done.stdout.splitlines()
    assert [line.split()[1] for line in judged] == ["None", "None"]
    assert "damaged" in broken


def test_text_is_utf8_whatever_the_system_prefers() -> None:
    """Python on Windows reads and writes the user's code page where no encoding is named."""
    unsaid = [
        f"{path}:{call.lineno}"
        for path in sorted(Path(unmask.__file__).parent.rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and _leaves_open(call, call.func.attr)
    ]
    assert not unsaid


def _leaves_open(call: ast.Call, method: str) -> bool:
    """Whether a method of a path is called that reads or writes text, without an encoding."""
    named = {keyword.arg for keyword in call.keywords}
    given = [each.value if isinstance(each, ast.Constant) else None for each in call.args]
    if method == "open":  # its mode alone, if anything: other things are opened by their names
        return "encoding" not in named and all(isinstance(mode, str) and "b" not in mode for mode in given)
    before = {"read_text": 0, "write_text": 1}
    return method in before and "encoding" not in named and len(given) <= before[method]
