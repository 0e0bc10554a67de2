"""DeepfakeBench's JSON files and frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.data.layouts.trees import build, byte
from unmask.data.layouts import Clip, read_layout

_FOLDER = Path("preprocessing/dataset_json")


def _by_key(src: Path) -> dict[str, Clip]:
    return {clip.key: clip for clip in read_layout("deepfakebench", src).clips}


def _rewrite(src: Path, name: str, change: Any) -> None:
    path = src / _FOLDER / name
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_manipulations_of_one_name_stay_apart(tmp_path: Path) -> None:
    clips = _by_key(build("deepfakebench", tmp_path))
    for method in ("Deepfakes", "Face2Face"):
        clip = clips[f"FF++/{method}/c23/000_003"]
        assert all(method in path.parts for path in clip.paths)
        assert (clip.source, clip.donor, clip.component, clip.split) == ("000", "003", "000+003", "train")
        assert clip.frames == (0, 9, 18)
        assert clip.cropped
    assert clips["FF++/real/c23/000"].component == "000+003"


def test_a_clip_in_several_splits_is_for_testing(tmp_path: Path) -> None:
    index = read_layout("deepfakebench", build("deepfakebench", tmp_path))
    celeb = [clip for clip in index.clips if clip.dataset == "Celeb-DF-v2"]
    assert [(clip.method, clip.split, clip.source) for clip in celeb] == [
        ("Celeb-synthesis", "test", "id0_0000"),
        ("real", "test", "id0_0000"),
    ]
    assert any("2 clips are listed in several splits" in note for note in index.notes)


def test_reals_that_two_files_list_are_one_clip(tmp_path: Path) -> None:
    src = build("deepfakebench", tmp_path)
    real = json.loads((src / _FOLDER / "FF-DF.json").read_text())["FF-DF"]["FF-real"]
    _rewrite(src, "FF-F2F.json", lambda tree: tree["FF-F2F"].update({"FF-real": real}))
    index = read_layout("deepfakebench", src)
    assert index.problems == ()
    assert len(index.clips) == 5


def test_paths_never_lead_to_the_frames_of_another_clip(tmp_path: Path) -> None:
    """SRC holds frames of one manipulation only: by folder name alone those of the other would be found there."""
    src = build("deepfakebench", tmp_path)
    kept = src / "datasets/rgb/FaceForensics++/manipulated_sequences"
    (kept / "Deepfakes/c23/frames").rename(src / "datasets/frames")
    for path in sorted(kept.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    index = read_layout("deepfakebench", src)
    fakes = [clip.key for clip in index.clips if clip.dataset == "FF++" and clip.label == "fake"]
    assert fakes == ["FF++/Deepfakes/c23/000_003"]
    assert any("is a frame of FF++/Deepfakes/c23/000_003 and of FF++/Face2Face" in str(each) for each in index.problems)


def test_missing_frames_are_named_and_the_others_kept(tmp_path: Path) -> None:
    src = build("deepfakebench", tmp_path)
    folder = src / "datasets/rgb/FaceForensics++/original_sequences/youtube/c23/frames/000"
    (folder / "009.png").unlink()
    index = read_layout("deepfakebench", src)
    assert [problem.reason for problem in index.problems] == ["a frame that FF-DF.json names is missing"]
    assert _by_key(src)["FF++/real/c23/000"].frames == (0, 18)
    for path in folder.iterdir():
        path.unlink()
    index = read_layout("deepfakebench", src)
    assert ["none of the 3 frames" in problem.reason for problem in index.problems] == [True]
    assert len(index.clips) == 4


def test_entries_that_are_not_as_they_should_be(tmp_path: Path) -> None:
    src = build("deepfakebench", tmp_path)

    def change(tree: Any) -> None:
        tree["FF-F2F"]["odd"] = {"train": {"a": {"label": "odd", "frames": ["a/b/000.png"]}}}
        tree["FF-F2F"]["FF-real"] = {"val": {"b": {"label": "FF-real", "frames": []}, "c": {"frames": 3}, "d": None}}
        (src / "a/b").mkdir(parents=True)
        byte(src / "a/b/000.png")

    _rewrite(src, "FF-F2F.json", change)
    index = read_layout("deepfakebench", src)
    assert [problem.reason for problem in index.problems] == [
        "FF-F2F/odd/train/a: label 'odd' says neither real nor fake, left out",
        "FF-F2F/FF-real/val/b: has no frame, left out",
        "FF-F2F/FF-real/val/c: `frames` is no list of paths, left out",
    ]
    assert len(index.clips) == 5


def test_frames_right_below_a_split_are_a_clip_named_by_their_folder(tmp_path: Path) -> None:
    """What upstream writes as the val of DFDC."""
    src = build("deepfakebench", tmp_path)
    frames = ["DFDC/test/frames/abcdefghij/000.png"]
    (src / "datasets" / "rgb" / frames[0]).parent.mkdir(parents=True)
    byte(src / "datasets" / "rgb" / frames[0])
    tree = {"DFDC": {"DFDC_Real": {"val": {"label": "DFDC_Real", "frames": frames}, "test": {}, "train": {}}}}
    (src / _FOLDER / "DFDC.json").write_text(json.dumps(tree))
    clip = _by_key(src)["DFDC/real/source/abcdefghij"]
    assert (clip.split, clip.source) == ("val", "abcdefghij")


def test_domains_of_df40_keep_their_pairs_together(tmp_path: Path) -> None:
    src = build("deepfakebench", tmp_path)
    tree: dict[str, Any] = {}
    for label, video in (("simswap_Fake", "001_870"), ("simswap_Real", "870")):
        frame = f"DF40_train/{label}/frames/{video}/000.png"
        (src / "datasets" / "rgb" / frame).parent.mkdir(parents=True)
        byte(src / "datasets" / "rgb" / frame)
        tree[label] = {"train": {video: {"label": label, "frames": [f"deepfakes_detection_datasets/{frame}"]}}}
    (src / _FOLDER / "simswap_ff.json").write_text(json.dumps({"simswap_ff": tree}))
    clips = _by_key(src)
    assert clips["simswap_ff/simswap/source/001_870"].component == "001+870"
    assert clips["simswap_ff/real/source/870"].component == "001+870"


def test_masks_are_taken_where_every_frame_has_one(tmp_path: Path) -> None:
    src = build("deepfakebench", tmp_path)
    masks = [
        f"FaceForensics++/manipulated_sequences/Face2Face/c23/masks/000_003/{frame:03d}.png" for frame in (0, 9, 18)
    ]
    for name in masks:
        (src / "datasets/rgb" / name).parent.mkdir(parents=True, exist_ok=True)
        byte(src / "datasets/rgb" / name)
    _rewrite(src, "FF-F2F.json", lambda t: t["FF-F2F"]["FF-F2F"]["train"]["c23"]["000_003"].update(masks=masks))
    clip = _by_key(src)["FF++/Face2Face/c23/000_003"]
    assert [path.name for path in clip.masks] == [path.name for path in clip.paths]
    (src / "datasets/rgb" / masks[1]).unlink()
    assert _by_key(src)["FF++/Face2Face/c23/000_003"].masks == ()


def test_one_json_file(tmp_path: Path) -> None:
    src = build("deepfakebench", tmp_path)
    index = read_layout("deepfakebench", src / _FOLDER / "FF-F2F.json")
    assert [clip.key for clip in index.clips] == ["FF++/Face2Face/c23/000_003"]


def test_frames_at_the_top_belong_to_no_clip(tmp_path: Path) -> None:
    src = build("deepfakebench", tmp_path)
    frames = ["FaceForensics++/manipulated_sequences/Face2Face/c23/frames/000_003/000.png"]
    (src / _FOLDER / "other.json").write_text(json.dumps({"frames": frames}))
    (problem,) = read_layout("deepfakebench", src).problems
    assert str(problem).endswith("other.json: names no clip with `frames`: is no JSON file of DeepfakeBench")
