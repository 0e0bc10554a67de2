"""FaceForensics++ and DFD."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.data.layouts.trees import build
from unmask.data.layouts import Clip, read_layout
from unmask.data.layouts.ffpp import actors, official_pairs, people


def _by_key(src: Path) -> dict[str, Clip]:
    return {clip.key: clip for clip in read_layout("ffpp", src).clips}


def test_the_official_split_is_whole() -> None:
    pairs = official_pairs()
    assert sorted(pairs.split) == sorted(pairs.partner) == [f"{number:03d}" for number in range(1000)]
    assert Counter(pairs.split.values()) == {"train": 720, "val": 140, "test": 140}
    for one, other in pairs.partner.items():
        assert pairs.partner[other] == one != other
        assert pairs.split[other] == pairs.split[one]
        assert pairs.component(one) == pairs.component(other)
    assert len({pairs.component(one) for one in pairs.split}) == 500


@pytest.mark.parametrize(
    "pair",
    # Fakes that papers show, and the ends of the official lists.
    ["071_054 train", "692_610 train", "870_001 train", "720_672 val", "727_729 val", "004_982 val", "000_003 test"],
)
def test_known_pairs(pair: str) -> None:
    name, split = pair.split()
    one, other = people(name)
    assert official_pairs().partner[one] == other
    assert official_pairs().split[one] == split


def test_what_a_name_says() -> None:
    assert people("519_515") == ("519", "515")
    assert people("519") == ("519", "")
    assert people("5190") == ("5190", "")
    assert actors("01_02__walking_down_street_hugging__ID123456") == ("01__walking_down_street_hugging", "01", "02")
    assert actors("28__talking_angry_couch") == ("28__talking_angry_couch", "28", "")


def test_a_fake_its_originals_and_its_masks(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    clips = _by_key(src)
    fake = clips["FF++/Deepfakes/c23/519_515"]
    assert (fake.source, fake.donor, fake.component, fake.split) == ("519", "515", "515+519", "train")
    assert fake.paths == (src / "manipulated_sequences/Deepfakes/c23/videos/519_515.mp4",)
    assert fake.masks == (src / "manipulated_sequences/Deepfakes/masks/videos/519_515.mp4",)
    assert clips["FF++/real/c23/519"].component == clips["FF++/real/c40/515"].component == fake.component
    assert clips["FF++/real/c23/634"].split == "test"


def test_frames_keep_their_order_and_numbers(tmp_path: Path) -> None:
    clip = _by_key(build("ffpp", tmp_path))["FF++/Face2Face/c40/004_982"]
    assert clip.frames == (0, 2, 10)
    assert (
        [path.name for path in clip.paths] == [path.name for path in clip.masks] == ["0000.png", "0002.png", "0010.png"]
    )
    assert "masks" in clip.masks[0].parts
    assert not clip.cropped


def test_masks_that_are_not_of_every_frame_are_left_out(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    (src / "manipulated_sequences/Face2Face/masks/images/004_982/0002.png").unlink()
    assert _by_key(src)["FF++/Face2Face/c40/004_982"].masks == ()


def test_dfd_is_a_data_set_of_its_own(tmp_path: Path) -> None:
    clips = _by_key(build("ffpp", tmp_path))
    fake = clips["DFD/DeepFakeDetection/c23/01_02__kitchen_pan__YVGY8LOK"]
    real = clips["DFD/real/c23/01__kitchen_pan"]
    assert (fake.source, fake.component, fake.donor, fake.split) == (real.video, "01", "02", "")
    assert real.component == "01"


def test_the_older_name_of_raw(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    (src / "original_sequences/youtube/c23").rename(src / "original_sequences/youtube/c0")
    assert "FF++/real/raw/519" in _by_key(src)


def test_a_clip_as_video_and_as_frames_is_one_clip(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    frames = src / "original_sequences/youtube/c23/images/519"
    frames.mkdir(parents=True)
    (frames / "0000.png").write_bytes(b"x")
    index = read_layout("ffpp", src)
    assert index.problems == ()
    assert any("1 clips are there as video and as frames" in note for note in index.notes)
    assert _by_key(src)["FF++/real/c23/519"].paths[0].suffix == ".mp4"


def test_a_folder_that_is_nearly_whole_names_what_it_lacks(tmp_path: Path) -> None:
    videos = tmp_path / "manipulated_sequences/FaceSwap/c23/videos"
    videos.mkdir(parents=True)
    for one, other in official_pairs().partner.items():
        if one not in ("004", "519"):
            (videos / f"{one}_{other}.mp4").write_bytes(b"x")
    index = read_layout("ffpp", tmp_path)
    assert [str(problem) for problem in index.problems] == [
        f"{videos / name}.mp4: missing" for name in ("004_982", "519_515")
    ]
    assert Counter(clip.split for clip in index.clips) == {"train": 719, "val": 139, "test": 140}


def test_names_that_are_no_ids(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    stranger = src / "manipulated_sequences/Deepfakes/c23/videos/519 copy.mp4"
    stranger.write_bytes(b"x")
    assert [str(problem) for problem in read_layout("ffpp", src).problems] == [
        f"{stranger}: is not named like a fake: 519_515; left out"
    ]


def test_split_files_of_the_folder_count(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    (src / "splits").mkdir()
    for split, pairs in (("train", [["004", "982"]]), ("val", [["515", "519"]]), ("test", [["634", "660"]])):
        (src / "splits" / f"{split}.json").write_text(json.dumps(pairs))
    index = read_layout("ffpp", src)
    assert {clip.split for clip in index.clips if clip.component == "515+519"} == {"val"}
    assert {clip.split for clip in index.clips if clip.component == "004+982"} == {"train"}
    assert any("6 ids by the lists in the folder, the other 994 by the official split" in note for note in index.notes)


def test_a_missing_split_file_is_named_and_the_official_split_used(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    (src / "splits").mkdir()
    (src / "splits" / "train.json").write_text('[["515", "519"], "004", ["1"]]')
    index = read_layout("ffpp", src)
    assert [str(problem).removeprefix(f"{src / 'splits'}/") for problem in index.problems] == [
        "train.json: 004 is no pair of ids",
        "train.json: ['1'] is no pair of ids",
        "val.json: missing beside train.json",
        "test.json: missing beside train.json",
    ]
    assert {clip.split for clip in index.clips if clip.component == "004+982"} == {"val"}


def test_uncut_downloads_and_models_are_no_strangers(tmp_path: Path) -> None:
    src = build("ffpp", tmp_path)
    for place in ("downloaded_videos/abc/abc.mp4", "manipulated_sequences/Deepfakes/models/1/preview.jpg"):
        (src / place).parent.mkdir(parents=True)
        (src / place).write_bytes(b"x")
    assert read_layout("ffpp", src).problems == ()
