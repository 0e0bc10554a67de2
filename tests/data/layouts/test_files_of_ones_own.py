"""List files, plain folders and CSV files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.layouts.trees import build
from unmask.data.layouts import Clip, read_layout
from unmask.errors import UnmaskError


def _by_key(layout: str, src: Path) -> dict[str, Clip]:
    return {clip.key: clip for clip in read_layout(layout, src).clips}


def test_the_published_lists(tmp_path: Path) -> None:
    clips = _by_key("lists", build("lists", tmp_path))
    fake = clips["FF++/Deepfakes/c23/071_054"]
    # Of a folder all frames, of a list of frames those it names, and of both the first face alone.
    assert fake.frames == (12, 17, 102)
    assert clips["FF++/FaceSwap/c23/078_955"].frames == (12, 17)
    assert all(path.stem.endswith("_0") for path in fake.paths)
    assert (fake.split, fake.source, fake.donor, fake.component) == ("train", "071", "054", "054+071")
    assert clips["FF++/real/c23/078"].split == "test"
    assert fake.cropped


def test_a_list_file_alone_and_its_numbers(tmp_path: Path) -> None:
    for name in ("Origin/c0/images/004/0011.png", "Deepfakes/c0/images/004_982/0011.png", "a b/x.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    path = tmp_path / "some_val.txt"
    path.write_text("/Origin/c0/images/004/0011.png 0\n/Deepfakes/c0/images/004_982/0011.png\t1\na b/x.jpg 1\n")
    index = read_layout("lists", path)
    assert [(clip.label, clip.method, clip.quality, clip.video, clip.split) for clip in index.clips] == [
        ("fake", "Deepfakes", "raw", "004_982", "val"),
        ("real", "real", "raw", "004", "val"),
        ("fake", "fake", "source", "a b/x", "val"),
    ]
    assert not any(clip.cropped for clip in index.clips)
    assert index.notes == ("some_val.txt: labels are numbers; 0 is taken as real and 1 as fake",)


def test_numbers_of_other_data_sets_are_no_ids_of_ffpp(tmp_path: Path) -> None:
    for name in ("real/000/1.png", "real/000/2.png", "swapped/000/1.png", "swapped/cat.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    lines = ("real/000/1.png 0", "real/000/2.png 0", "swapped/000/1.png 1", "swapped/cat.png 1")
    (tmp_path / "mine.txt").write_text("\n".join(lines))
    index = read_layout("lists", tmp_path / "mine.txt")
    assert [(clip.dataset, clip.video, clip.component, clip.frames) for clip in index.clips] == [
        ("mine", "swapped/000", "fake/swapped/000", (1,)),
        ("mine", "swapped/cat", "fake/swapped/cat", ()),
        ("mine", "real/000", "real/000", (1, 2)),
    ]


def test_folders_of_crops_without_the_first_face(tmp_path: Path) -> None:
    src = build("lists", tmp_path)
    for path in (src / "original_c23/071").glob("*_0.png"):
        path.unlink()
    index = read_layout("lists", src)
    assert ["none of face 0" in problem.reason for problem in index.problems] == [True]
    assert len(index.clips) == 3


def test_lines_of_a_list_that_cannot_be_used(tmp_path: Path) -> None:
    src = build("lists", tmp_path)
    with (src / "benchmark" / "ff_train_all.lst").open("a") as file:
        file.write("Deepfakes_c23/999_960 FAKE\noriginal_c23/071 FAKE\nonly words here\noriginal_c23/078 REAL\n")
    (src / "benchmark" / "notes.txt").write_text("to whom it may concern\n")
    path = src / "benchmark" / "ff_train_all.lst"
    reasons = {problem.path: problem.reason for problem in read_layout("lists", src).problems}
    assert reasons[f"{path}:3"] == "Deepfakes_c23/999_960: no such file; left out"
    assert reasons[f"{path}:4"] == "original_c23/071: labelled fake, but its path says real; left out"
    assert "is no line of a path and a label" in reasons[f"{path}:5"]
    assert "in the list for test as well" in reasons[f"{path}:6"]
    assert reasons[f"{src / 'benchmark' / 'notes.txt'}"] == "holds no line of a path and a label: is no list"
    assert len(reasons) == 5


def test_folders_splits_manipulations_and_frames(tmp_path: Path) -> None:
    clips = _by_key("folders", build("folders", tmp_path / "mine"))
    assert sorted(clips) == [
        "mine/Reenact/source/test/a",
        "mine/Swap/source/train/a",
        "mine/Swap/source/train/ü",
        "mine/real/source/test/a",
        "mine/real/source/train/a",
        "mine/real/source/train/b c",
    ]
    assert clips["mine/real/source/train/b c"].frames == (1, 2)
    assert clips["mine/Reenact/source/test/a"].split == "test"


def test_images_in_plain_folders(tmp_path: Path) -> None:
    for name in ("real/1.jpg", "real/2.jpg", "fake/Swap/1.jpg", "fake/Swap/2.jpg", "fake/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    index = read_layout("folders", tmp_path)
    assert [(clip.method, clip.video, len(clip.paths)) for clip in index.clips] == [
        ("Swap", "1", 1),
        ("Swap", "2", 1),
        ("fake", "3", 1),
        ("real", "1", 1),
        ("real", "2", 1),
    ]
    # Nobody says that a fake of the same name was made from a real.
    assert len({clip.component for clip in index.clips}) == 5


def test_folders_of_frames_below_fake_as_below_real(tmp_path: Path) -> None:
    for name in ("real/000/1.jpg", "real/000/2.jpg", "fake/000_003/1.jpg", "fake/000_003/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    index = read_layout("folders", tmp_path)
    assert [(clip.method, clip.video, clip.frames) for clip in index.clips] == [
        ("fake", "000_003", (1, 2)),
        ("real", "000", (1, 2)),
    ]
    assert any("folders of images are clips there" in note for note in index.notes)


def test_one_kind_of_clip_only_is_said(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mp4").write_bytes(b"x")
    assert [str(problem) for problem in read_layout("folders", tmp_path).problems] == [
        f"{tmp_path / 'fake'}: missing: there are clips of one kind only"
    ]


def test_a_csv_and_what_it_says(tmp_path: Path) -> None:
    clips = _by_key("csv", build("csv", tmp_path))
    real = next(clip for clip in clips.values() if clip.paths[0].name == "a b.mp4")
    fake = next(clip for clip in clips.values() if clip.paths[0].name == "ü.mp4")
    frames = next(clip for clip in clips.values() if clip.video == "crops")
    assert (real.video, real.source, real.split) == ("a", "a", "train")
    assert (fake.video, fake.source, fake.component, fake.dataset) == ("clips/ü", "a", "a", "clips")
    assert frames.frames == (1, 2)


def test_images_of_one_video_are_its_frames(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.png", "g1.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "c.csv").write_text("path;label;video\nf10.png;REAL;v\nf2.png;REAL;v\ng1.png;fake;w\n")
    index = read_layout("csv", tmp_path / "c.csv")
    assert [(clip.video, clip.frames) for clip in index.clips] == [("w", (1,)), ("v", (2, 10))]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("https://example.org/a.mp4,fake", "is a URL, and nothing is fetched"),
        ("s3://bucket/a.mp4,fake", "is a URL, and nothing is fetched"),
        ("absent.mp4,fake", "absent.mp4: no such file; left out"),
        ("a.txt,fake", "a.txt: is no image or video by its suffix; left out"),
        ("empty,fake", "empty: the folder holds no image; left out"),
        (",fake", "the path: is empty; left out"),
        ("a.mp4,maybe", "label 'maybe' is not real or fake (or 0 or 1); left out"),
        ("a.mp4", "label '' is not real or fake (or 0 or 1); left out"),
        ("a.mp4,real,Swap", "label real with method 'Swap'"),
        ("a\0b.mp4,fake", "left out"),
        ("a.mp4,fake,Other,holdout", "split 'holdout' is not train, val or test"),
    ],
)
def test_rows_that_cannot_be_used(row: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "a.txt").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    path = tmp_path / "c.csv"
    path.write_text(f"path,label,method,split\n{row}\na.mp4,fake,Swap\n")
    index = read_layout("csv", path)
    assert [clip.method for clip in index.clips if clip.method != "Other"] == ["Swap"]
    assert {clip.split for clip in index.clips} == {""}
    (problem,) = index.problems
    assert problem.path == f"{path}:2"
    assert reason in problem.reason


def test_the_same_clip_twice(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    path = tmp_path / "c.csv"
    path.write_text("path,label\na.mp4,real\na.mp4,real\n")
    index = read_layout("csv", path)
    assert len(index.clips) == 1
    assert ["would be the same clip" in problem.reason for problem in index.problems] == [True]


def test_a_csv_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(
        UnmaskError, match=r"holds nothing of the layout csv; expected .* \(.*c.csv: is no UTF-8 text\)"
    ):
        read_layout("csv", tmp_path / "c.csv")


def test_a_csv_without_its_columns(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("file,truth\na.mp4,real\n")
    expected = r"holds nothing of the layout csv; expected .*path, label and where known .*c.csv: has no columns `path`"
    with pytest.raises(UnmaskError, match=expected):
        read_layout("csv", tmp_path)
