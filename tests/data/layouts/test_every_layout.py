"""What holds for the reader of every layout."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.data.layouts.trees import TREES, build
from unmask.data.layouts import LAYOUTS, Clip, read_layout
from unmask.errors import UnmaskError

#: Layouts of which SRC may be a file, and those whose folders a scan goes through.
_FILES = ("csv", "lists", "deepfakebench")
_SCANNED = [name for name in TREES if name not in _FILES]


def test_every_layout_has_a_tree() -> None:
    assert TREES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("layout", TREES)
def test_a_whole_tree_is_read_without_a_problem(layout: str, tmp_path: Path) -> None:
    index = read_layout(layout, build(layout, tmp_path / "data"))
    _, real, fake = TREES[layout]
    assert index.problems == ()
    assert Counter(clip.label for clip in index.clips) == Counter(real=real, fake=fake)
    assert [clip.key for clip in index.clips] == sorted({clip.key for clip in index.clips})
    for clip in index.clips:
        assert all(path.is_file() for path in (*clip.paths, *clip.masks))
        assert (clip.method == "real") == (clip.label == "real")
        assert clip.label == "fake" or clip.source == clip.video
        assert clip.split in ("train", "val", "test", "")
        assert clip.source
        assert clip.component
        assert clip.dataset
        assert clip.quality
        assert len(clip.frames) in (0, len(clip.paths))
        assert len(clip.masks) in (0, len(clip.paths))
        assert list(clip.frames) == sorted(clip.frames)


@pytest.mark.parametrize("layout", [name for name in TREES if name not in ("celeb-df-pp",)])
def test_no_component_is_in_two_splits(layout: str, tmp_path: Path) -> None:
    splits: dict[tuple[str, str], set[str]] = {}
    for clip in read_layout(layout, build(layout, tmp_path / "data")).clips:
        splits.setdefault((clip.dataset, clip.component), set()).add(clip.split)
    assert all(len(names) == 1 for names in splits.values())


@pytest.mark.parametrize("layout", TREES)
def test_the_folder_around_it_will_do(layout: str, tmp_path: Path) -> None:
    build(layout, tmp_path / "around" / "the data")
    (tmp_path / "around" / "notes").mkdir()
    index = read_layout(layout, tmp_path / "around")
    assert len(index.clips) == sum(TREES[layout][1:])
    # DFDC is found by its metadata.json in any depth.
    assert layout == "dfdc" or index.notes[-1] == f"read from {tmp_path / 'around' / 'the data'}"


@pytest.mark.parametrize("layout", TREES)
def test_nothing_to_read(layout: str, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="no such file or folder"):
        read_layout(layout, tmp_path / "absent")
    with pytest.raises(UnmaskError, match="the folder is empty"):
        read_layout(layout, tmp_path)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.mp4").write_bytes(b"x")
    with pytest.raises(UnmaskError, match=f"holds nothing of the layout {layout}; expected ") as caught:
        read_layout(layout, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_layout() -> None:
    with pytest.raises(UnmaskError, match=r"layout 'ff\+\+': expected one of ffpp, dfd, "):
        read_layout("ff++", ".")


def test_two_copies_side_by_side_are_not_mixed(tmp_path: Path) -> None:
    build("uadfv", tmp_path / "one")
    build("uadfv", tmp_path / "two")
    with pytest.raises(UnmaskError, match="more than once: one, two"):
        read_layout("uadfv", tmp_path)


@pytest.mark.parametrize("layout", _SCANNED)
def test_strangers_are_named_and_the_rest_is_read(layout: str, tmp_path: Path) -> None:
    src = build(layout, tmp_path / "data")
    (src / "more").mkdir()
    (src / "more" / "holiday.mp4").write_bytes(b"x")
    (src / "README.md").write_text("read me")
    (src / ".DS_Store").write_bytes(b"x")
    index = read_layout(layout, src)
    assert [str(problem) for problem in index.problems] == [
        f"{src / 'more' / 'holiday.mp4'}: has no place in this layout, left out"
    ]
    assert len(index.clips) == sum(TREES[layout][1:])


@pytest.mark.parametrize("layout", _SCANNED)
def test_links_are_followed_but_not_in_circles(layout: str, tmp_path: Path) -> None:
    kept = build(layout, tmp_path / "elsewhere")
    src = tmp_path / "data"
    src.mkdir()
    for path in kept.iterdir():
        (src / path.name).symlink_to(path)
    deepest = max((Path(folder) for folder, _, _ in os.walk(kept)), key=lambda path: len(path.parts))
    (deepest / "circle").symlink_to(deepest.parent if deepest.parent != kept else deepest)
    (src / "nothing.mp4").symlink_to(tmp_path / "absent.mp4")
    index = read_layout(layout, src)
    assert len(index.clips) == sum(TREES[layout][1:])
    assert {problem.reason for problem in index.problems} == {
        "is a link back to a folder above it, not followed",
        "is a link to nothing",
    }


@pytest.mark.parametrize("layout", TREES)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2", b"null", b'"text"', b"[[[1]]]", b'{"a": 1}', b"\xff\xfe\x00", b'{"a": {"b": {"c": [{}]}}}'],
)
def test_broken_lists_and_json_never_end_a_reader(layout: str, content: bytes, tmp_path: Path) -> None:
    src = build(layout, tmp_path / "data")
    listing = [path for path in src.rglob("*") if path.suffix in (".json", ".txt", ".lst", ".csv")]
    for path in listing:
        path.write_bytes(content)
    try:
        index = read_layout(layout, src)
    except UnmaskError:
        assert listing
        return
    assert index.problems or not listing
    assert all("\n" not in str(problem) for problem in index.problems)


@pytest.mark.parametrize("layout", TREES)
def test_upper_case_suffixes(layout: str, tmp_path: Path) -> None:
    src = build(layout, tmp_path / "data")
    lists = [path for path in src.rglob("*") if path.suffix in (".json", ".txt", ".lst", ".csv")]
    for path in list(src.rglob("*")):
        if path.suffix in (".mp4", ".png", ".jpg"):
            path.rename(path.with_suffix(path.suffix.upper()))
    for path in lists:
        text = path.read_text(encoding="utf-8")
        if layout in ("csv", "lists", "deepfakebench"):  # these name the files themselves
            text = text.replace(".mp4", ".MP4").replace(".png", ".PNG").replace(".jpg", ".JPG")
        path.write_text(text, encoding="utf-8")
    index = read_layout(layout, src)
    assert index.problems == ()
    assert len(index.clips) == sum(TREES[layout][1:])


@pytest.mark.parametrize("layout", TREES)
def test_any_part_of_it_will_do(layout: str, tmp_path: Path) -> None:
    """With any one file gone the rest is read, and what is read is read as before."""
    src = build(layout, tmp_path / "data")
    whole = {clip.key: clip for clip in read_layout(layout, src).clips}
    for path in sorted(path for path in src.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.unlink()
        try:
            index = read_layout(layout, src)
        except UnmaskError as error:
            assert path.suffix in (".csv", ".lst", ".json"), error  # noqa: PT017
        else:
            assert index.clips or index.problems
            for clip in index.clips if path.suffix in (".mp4", ".MOV") else ():
                assert _facts(clip) == _facts(whole[clip.key])
        path.write_bytes(content)


def _facts(clip: Clip) -> tuple[str, ...]:
    return clip.label, clip.method, clip.split, clip.video, clip.source, clip.component


def test_two_files_of_one_name_are_named_not_merged(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path / "data")
    videos = src / "original_sequences" / "youtube" / "c23" / "videos"
    (videos / "519.avi").write_bytes(b"x")
    index = read_layout("ffpp", src)
    assert [str(problem) for problem in index.problems] == [
        f"{videos / '519.mp4'}: would be the same clip (FF++/real/c23/519) as {videos / '519.avi'}, left out"
    ]
    assert len(index.clips) == sum(TREES["ffpp"][1:])


def test_json_of_deep_nesting_is_no_crash(tmp_path: Path) -> None:
    src = build("dfdc", tmp_path / "data")
    (src / "dfdc_train_part_0" / "metadata.json").write_text("[" * 100_000)
    assert any("no valid JSON" in problem.reason for problem in read_layout("dfdc", src).problems)
    value: object = {}
    for _ in range(500):
        value = {"a": value}
    (src / "dfdc_train_part_0" / "metadata.json").write_text(json.dumps({"aaaaaaaaaa.mp4": value}))
    assert any("no label REAL or FAKE" in problem.reason for problem in read_layout("dfdc", src).problems)
