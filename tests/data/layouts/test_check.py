"""Counting an index, and what ``unmask prepare --check`` and ``--list`` print of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.data.layouts.trees import TREES, build
from unmask.commands.prepare_check import SHOWN, check, list_layouts
from unmask.data.layouts import LAYOUTS, read_layout
from unmask.data.layouts.check import describe
from unmask.errors import UnmaskError

#: The clips that the repository never holds; where they are not, these tests have nothing to read.
_SHARED = Path(os.environ.get("UNMASK_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.mark.parametrize("layout", TREES)
def test_counts_add_up(layout: str, tmp_path: Path) -> None:
    index = read_layout(layout, build(layout, tmp_path / "data"))
    found = describe(index)
    assert found.problems == ()
    assert found.clips == len(index.clips)
    assert sum(count.files for count in found.counts) == sum(len(clip.paths) for clip in index.clips)
    assert sum(count.masks for count in found.counts) == sum(bool(clip.masks) for clip in index.clips)
    counted = Counter((c.dataset, c.method, c.quality, c.split, c.label) for c in index.clips)
    assert {tuple(vars(count).values())[:6] for count in found.counts} == {(*kind, n) for kind, n in counted.items()}


def test_files_that_are_empty_or_gone_are_problems(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    index = read_layout("ffpp", src)
    empty = src / "original_sequences/youtube/c23/videos/519.mp4"
    empty.write_bytes(b"")
    mask = src / "manipulated_sequences/Deepfakes/masks/videos/519_515.mp4"
    mask.write_bytes(b"")
    gone = src / "original_sequences/youtube/c23/videos/004.mp4"
    gone.unlink()
    assert sorted(str(problem) for problem in describe(index).problems) == sorted(
        [
            f"{empty}: the file is empty",
            f"{mask}: the file is empty",
            f"{gone}: cannot be read (No such file or directory)",
        ]
    )


def test_components_in_two_splits_and_splits_of_one_kind_are_said(tmp_path: Path) -> None:
    """Celeb-DF's own list does not keep people apart."""
    src = build("celeb-df-v2", tmp_path)
    (src / "List_of_testing_videos.txt").write_text("0 Celeb-synthesis/id0_id1_0000.mp4\n")
    notes = describe(read_layout("celeb-df-v2", src)).notes
    assert "Celeb-DF-v2: 1 components (people or sources) are in more than one split of those it comes with" in notes
    assert "split test: fake clips only" in notes


def test_all_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    src = build("ffpp", tmp_path / "data")
    assert check("ffpp", src) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[0] == ["data", "set", "method", "quality", "split", "label", "clips", "files", "with", "masks"]
    assert ["FF++", "Face2Face", "c40", "val", "fake", "1", "3", "1"] in lines
    assert ["DFD", "real", "c23", "-", "real", "1", "1", "-"] in lines
    assert printed.out.splitlines()[-1] == "11 clips, 0 problems"


def test_each_thing_that_is_missing_is_named_and_many_are_summed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    src = build("dfdc", tmp_path / "data")
    part = src / "dfdc_train_part_0"
    named = json.loads((part / "metadata.json").read_text())
    absent = {f"x{number:04d}.mp4": {"label": "REAL", "split": "train"} for number in range(3000)}
    (part / "metadata.json").write_text(json.dumps(named | absent))
    (src / "stills").mkdir()
    (src / "stills" / "a.jpg").write_bytes(b"x")
    assert check("dfdc", src, tmp_path / "check.json") == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "6 clips, 3,001 problems"
    lines = printed.err.splitlines()
    assert len(lines) == SHOWN + 2
    assert f"unmask: {src / 'stills' / 'a.jpg'}: has no place in this layout, left out" in lines
    assert f"unmask: {part / 'x0000.mp4'}: is named in the metadata, but missing" in lines
    where = f"all are in {tmp_path / 'check.json'}"
    assert f"unmask: ... {3000 - SHOWN:,} more: is named in the metadata, but missing ({where})" in lines
    written = json.loads((tmp_path / "check.json").read_text())
    assert written["clips"] == 6
    assert len(written["problems"]) == 3001
    assert {problem["path"] for problem in written["problems"]} >= {str(part / name) for name in absent}
    assert written["counts"][0] == {
        "dataset": "DFDC",
        "method": "real",
        "quality": "source",
        "split": "train",
        "label": "real",
        "clips": 2,
        "files": 2,
        "masks": 0,
    }


def test_names_are_printed_as_they_are_or_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("real/a.mp4", "fake/[red]Swap/a.mp4", "fake/Sw\x1b[31map/b.mp4", "fake/\udcff/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert check("folders", tmp_path, tmp_path / "check.json") == 0
    methods = {line.split()[1] for line in capsys.readouterr().out.splitlines()[1:5]}
    assert methods == {"real", "[red]Swap", r"Sw\x1b[31map", r"\udcff"}
    assert len(json.loads((tmp_path / "check.json").read_text())["counts"]) == 4


def test_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="no such file or folder"):
        check("ffpp", tmp_path / "absent")
    with pytest.raises(UnmaskError, match="the folder"):
        check("uadfv", build("uadfv", tmp_path / "data"), tmp_path / "absent" / "check.json")


def test_the_list_has_every_layout_and_its_sketch(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_layouts() == 0
    printed = capsys.readouterr().out
    for layout in LAYOUTS.values():
        assert f"{layout.name:<16} {layout.description}\n" in printed
        assert all(f"    {line.strip()}\n" in printed for line in layout.sketch.strip().splitlines())
    assert max(map(len, printed.splitlines())) <= 120


@pytest.mark.skipif(not (_SHARED / "ffpp").is_dir(), reason=f"no FF++ clips at {_SHARED / 'ffpp'}")
def test_ffpp_clips() -> None:
    found = describe(read_layout("ffpp", _SHARED / "ffpp"))
    assert found.problems == ()
    assert {(c.method, c.quality, c.split, c.clips) for c in found.counts if c.label == "fake"} == {
        ("Deepfakes", "c23", "train", 1),
        ("Face2Face", "c23", "train", 1),
        ("FaceSwap", "c23", "test", 1),
        ("NeuralTextures", "c23", "val", 1),
    }


@pytest.mark.skipif(not (_SHARED / "dfdc-videos").is_dir(), reason=f"no DFDC clips at {_SHARED / 'dfdc-videos'}")
def test_dfdc_clips() -> None:
    found = describe(read_layout("dfdc", _SHARED / "dfdc-videos"))
    assert {(c.label, c.split, c.clips) for c in found.counts} == {("real", "train", 1), ("fake", "train", 3)}
    absent = {Path(problem.path).stem for problem in found.problems if "named in the metadata" in problem.reason}
    assert absent == {"awnfpubqmo", "vtfpbtmgfh", "zvqinhzeah"}
