"""DeeperForensics-1.0, UADFV, DF40 and FFIW."""

from __future__ import annotations

from pathlib import Path

from tests.data.layouts.trees import build
from unmask.data.layouts import Clip, read_layout
from unmask.data.layouts.deeperforensics import method_and_quality


def _by_key(layout: str, src: Path) -> dict[str, Clip]:
    return {clip.key: clip for clip in read_layout(layout, src).clips}


def test_deeperforensics_kinds() -> None:
    assert method_and_quality("end_to_end") == ("end_to_end", "raw")
    assert method_and_quality("end_to_end_level_3") == ("end_to_end", "level_3")
    assert method_and_quality("end_to_end_mix_2_distortions") == ("end_to_end", "mix_2_distortions")
    assert method_and_quality("reenact_postprocess") == ("reenact_postprocess", "raw")


def test_deeperforensics_people_and_splits(tmp_path: Path) -> None:
    clips = _by_key("deeperforensics", build("deeperforensics", tmp_path))
    clip = clips["DeeperForensics-1.0/end_to_end/level_3/000_M101"]
    assert (clip.source, clip.component, clip.donor, clip.split) == ("000", "M101", "M101", "train")
    assert clips["DeeperForensics-1.0/end_to_end/raw/003_W102"].split == "test"


def test_deeperforensics_lists_name_what_is_absent(tmp_path: Path) -> None:
    src = build("deeperforensics", tmp_path)
    gone = src / "manipulated_videos" / "end_to_end" / "003_W102.mp4"
    gone.unlink()
    (src / "lists" / "splits" / "val.txt").write_text("000_M101.mp4\n")
    assert [str(problem) for problem in read_layout("deeperforensics", src).problems] == [
        f"{src / 'lists' / 'splits' / 'val.txt'}:1: 000_M101 is in train.txt as well, which counts",
        f"{gone}: is named in manipulated_videos_end_to_end_list.txt, but missing",
    ]


def test_deeperforensics_recordings_are_no_reals(tmp_path: Path) -> None:
    index = read_layout("deeperforensics", build("deeperforensics", tmp_path))
    assert {clip.label for clip in index.clips} == {"fake"}
    assert any("source_videos: 1 files left out; they are not the real part" in note for note in index.notes)


def test_uadfv_pairs(tmp_path: Path) -> None:
    src = build("uadfv", tmp_path)
    (src / "real" / "0001.mp4").unlink()
    index = read_layout("uadfv", src)
    assert [str(problem) for problem in index.problems] == [
        f"{src / 'real' / '0001.mp4'}: missing: a fake was made from it"
    ]
    assert [(clip.video, clip.source) for clip in index.clips] == [
        ("0000_fake", "0000"),
        ("0001_fake", "0001"),
        ("0000", "0000"),
    ]


def test_df40_frames_domains_and_splits(tmp_path: Path) -> None:
    clips = _by_key("df40", build("df40", tmp_path))
    train = clips["DF40-ff/simswap/source/001_870"]
    assert (train.split, train.source, train.component, train.frames) == ("train", "001", "001+870", (3, 20, 100))
    test = clips["DF40-ff/simswap/source/000_003"]
    assert (test.split, test.component) == ("test", "000+003")
    celeb = clips["DF40-cdf/simswap/source/id0_id1_0000"]
    assert (celeb.split, celeb.source, celeb.component) == ("test", "id0_0000", "id0")
    assert all(clip.cropped for clip in clips.values())


def test_df40_images_that_are_of_no_video_are_clips_of_their_own(tmp_path: Path) -> None:
    clips = _by_key("df40", build("df40", tmp_path))
    fakes = [clip for clip in clips.values() if clip.method == "MidJourney"]
    assert [clip.video for clip in fakes] == ["0001", "0002"]
    assert clips["DF40/real/source/MidJourney/0001"].label == "real"
    assert len({clip.component for clip in clips.values() if clip.dataset == "DF40"}) == 3


def test_df40_without_train_and_test_has_the_split_of_ffpp(tmp_path: Path) -> None:
    src = build("df40", tmp_path) / "DF40_train"
    (src / "simswap").rename(tmp_path / "simswap")
    for name in ("DF40", "DF40_train"):
        (tmp_path / name).rename(tmp_path.parent / f"{tmp_path.name} {name}")
    index = read_layout("df40", tmp_path)
    assert [clip.split for clip in index.clips] == ["train"]
    assert any("no folder says train or test" in note for note in index.notes)


def test_ffiw_names_start_over_in_every_split(tmp_path: Path) -> None:
    src = build("ffiw", tmp_path)
    clips = _by_key("ffiw", src)
    fake = clips["FFIW/FFIW/source/val/000001"]
    assert (fake.split, fake.source, fake.component) == ("val", "val/000001", "val/000001")
    assert fake.masks == (src / "target_mask" / "val" / "000001.mp4",)
    assert clips["FFIW/real/source/train/000001"].masks == ()
