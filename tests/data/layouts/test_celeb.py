"""Celeb-DF v1, v2 and ++."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.layouts.trees import build
from unmask.data.layouts import Clip, read_layout
from unmask.data.layouts.celeb import TEST_LIST, people


def _by_key(src: Path, layout: str = "celeb-df-v2") -> dict[str, Clip]:
    return {clip.key: clip for clip in read_layout(layout, src).clips}


def test_what_a_name_says() -> None:
    assert people("id0_id16_0003") == ("id0_0003", "id0", "id16")
    assert people("id0_0003") == ("id0_0003", "id0", "")
    assert people("00012") == ("00012", "00012", "")


@pytest.mark.parametrize(("layout", "dataset"), [("celeb-df-v1", "Celeb-DF-v1"), ("celeb-df-v2", "Celeb-DF-v2")])
def test_people_and_splits(layout: str, dataset: str, tmp_path: Path) -> None:
    clips = _by_key(build(layout, tmp_path), layout)
    fake = clips[f"{dataset}/Celeb-synthesis/source/id0_id1_0000"]
    assert (fake.source, fake.component, fake.donor, fake.split) == ("id0_0000", "id0", "id1", "train")
    assert clips[f"{dataset}/real/source/id0_0000"].component == "id0"
    assert clips[f"{dataset}/real/source/id1_0003"].split == "test"
    assert clips[f"{dataset}/Celeb-synthesis/source/id1_id0_0003"].split == "test"


def test_without_the_list_nothing_has_a_split(tmp_path: Path) -> None:
    src = build("celeb-df-v2", tmp_path)
    (src / TEST_LIST).unlink()
    index = read_layout("celeb-df-v2", src)
    assert [str(problem) for problem in index.problems] == [
        f"{src / TEST_LIST}: missing: without it no clip has a split"
    ]
    assert {clip.split for clip in index.clips} == {""}
    assert any("none is for training or for testing" in note for note in index.notes)


def test_listed_videos_that_are_absent(tmp_path: Path) -> None:
    src = build("celeb-df-v2", tmp_path)
    with (src / TEST_LIST).open("a") as file:
        file.write("1 YouTube-real/00170.mp4\n1 Lost/00001.mp4\n1 Lost/00002.mp4\n")
    assert [str(problem) for problem in read_layout("celeb-df-v2", src).problems][-2:] == [
        f"{src / 'YouTube-real' / '00170.mp4'}: is named in {TEST_LIST}, but missing",
        f"{src / 'Lost'}: missing, with 2 videos of {TEST_LIST}",
    ]


def test_lines_that_are_none_and_labels_against_the_folder(tmp_path: Path) -> None:
    src = build("celeb-df-v2", tmp_path)
    (src / TEST_LIST).write_text("0 Celeb-real/id0_0000.mp4\n1\nreal Celeb-real/id1_0003.mp4\n\n1 id0_0000.mp4\n")
    index = read_layout("celeb-df-v2", src)
    assert [problem.path.rpartition(":")[2] for problem in index.problems] == ["1", "2", "3", "5"]
    clip = next(clip for clip in index.clips if clip.video == "id0_0000")
    assert (clip.label, clip.split) == ("real", "test")


def test_folders_as_preprocessing_leaves_them(tmp_path: Path) -> None:
    """``videos/`` between, ``Youtube-real`` for ``YouTube-real``: the list still finds its videos."""
    src = build("celeb-df-v2", tmp_path)
    for name in ("Celeb-real", "YouTube-real", "Celeb-synthesis"):
        (src / name).rename(src / "videos")
        (src / name.replace("YouTube", "Youtube")).mkdir()
        (src / "videos").rename(src / name.replace("YouTube", "Youtube") / "videos")
    index = read_layout("celeb-df-v2", src)
    assert index.problems == ()
    assert sorted(clip.split for clip in index.clips) == ["test", "test", "train", "train", "train"]


def test_plus_plus_names_the_method_by_its_folder(tmp_path: Path) -> None:
    clips = _by_key(build("celeb-df-pp", tmp_path), "celeb-df-pp")
    swap, driven = (clips[f"Celeb-DF++/{method}/source/id0_id1_0000"] for method in ("SimSwap", "LIA"))
    talking = clips["Celeb-DF++/FLOAT/source/id1_0003"]
    assert (swap.source, driven.source, talking.source) == ("id0_0000", "id0_0000", "id1_0003")
    assert (swap.split, driven.split, talking.split) == ("test", "test", "train")


def test_a_scenario_that_is_unknown_is_named(tmp_path: Path) -> None:
    src = build("celeb-df-pp", tmp_path)
    (src / "Celeb-synthesis" / "LIA").mkdir()
    for name in ("id0_id1_0000", "id0_id1_0001"):
        (src / "Celeb-synthesis" / "LIA" / f"{name}.mp4").write_bytes(b"x")
    assert [str(problem) for problem in read_layout("celeb-df-pp", src).problems] == [
        f"{src / 'Celeb-synthesis' / 'LIA'}: 2 videos with no place in this layout, left out"
    ]
