"""The Deepfake Detection Challenge and its preview."""

from __future__ import annotations

import json
from pathlib import Path

from tests.data.layouts.trees import build
from unmask.data.layouts import Clip, read_layout


def _by_video(src: Path, layout: str = "dfdc") -> dict[str, Clip]:
    return {clip.video: clip for clip in read_layout(layout, src).clips}


def test_originals_labels_and_splits(tmp_path: Path) -> None:
    clips = _by_video(build("dfdc", tmp_path))
    fake, real = clips["bbbbbbbbbb"], clips["aaaaaaaaaa"]
    assert (fake.label, fake.method, fake.source, fake.component, fake.split) == (
        "fake",
        "DFDC",
        real.video,
        real.video,
        "train",
    )
    assert (real.label, real.component) == ("real", "aaaaaaaaaa")
    assert [(clips[name].label, clips[name].split) for name in ("eeeeeeeeee", "ffffffffff")] == [
        ("real", "test"),
        ("fake", "test"),
    ]


def test_a_folder_names_its_split_in_any_case(tmp_path: Path) -> None:
    src = build("dfdc", tmp_path / "data")
    (src / "test").rename(src / "Test")
    clips = _by_video(src)
    assert [clips[name].split for name in ("eeeeeeeeee", "ffffffffff")] == ["test", "test"]


def test_clips_that_are_named_but_absent(tmp_path: Path) -> None:
    src = build("dfdc", tmp_path)
    part = src / "dfdc_train_part_0"
    absent = {f"{name * 10}.mp4": {"label": "FAKE", "split": "train", "original": "aaaaaaaaaa.mp4"} for name in "xyz"}
    metadata = json.loads((part / "metadata.json").read_text())
    (part / "metadata.json").write_text(json.dumps(metadata | absent))
    index = read_layout("dfdc", src)
    assert [str(problem) for problem in index.problems] == [
        f"{part / name}: is named in the metadata, but missing" for name in absent
    ]
    assert len(index.clips) == 6


def test_a_part_without_metadata(tmp_path: Path) -> None:
    src = build("dfdc", tmp_path)
    (src / "dfdc_train_part_1" / "metadata.json").unlink()
    index = read_layout("dfdc", src)
    assert [str(problem) for problem in index.problems] == [
        f"{src / 'dfdc_train_part_1' / 'metadata.json'}: missing: without it no clip of this part has a label"
    ]
    assert len(index.clips) == 4


def test_a_clip_that_the_metadata_does_not_know(tmp_path: Path) -> None:
    src = build("dfdc", tmp_path)
    (src / "dfdc_train_part_0" / "stranger.mp4").write_bytes(b"x")
    assert ["its label is unknown" in problem.reason for problem in read_layout("dfdc", src).problems] == [True]


def test_entries_without_a_label(tmp_path: Path) -> None:
    src = build("dfdc", tmp_path)
    path = src / "dfdc_train_part_0" / "metadata.json"
    path.write_text(json.dumps({"aaaaaaaaaa.mp4": {"label": "PERHAPS"}, "bbbbbbbbbb.mp4": ["FAKE"]}))
    reasons = [problem.reason for problem in read_layout("dfdc", src).problems if problem.path == str(path)]
    assert reasons == [f"{name}.mp4: no label REAL or FAKE, left out" for name in ("aaaaaaaaaa", "bbbbbbbbbb")]


def test_clips_of_broken_metadata_are_counted(tmp_path: Path) -> None:
    src = build("dfdc", tmp_path)
    part = src / "dfdc_train_part_0"
    (part / "metadata.json").write_text('{"aaaaaaaaaa.mp4": ')
    reasons = [str(problem).removeprefix(str(part)) for problem in read_layout("dfdc", src).problems]
    assert reasons[0].startswith("/metadata.json: is no valid JSON (")
    assert reasons[1:] == [": 2 clips without a label, left out"]


def test_the_name_of_a_folder_outside_is_no_split(tmp_path: Path) -> None:
    src = build("dfdc", tmp_path / "test" / "DFDC")
    path = src / "dfdc_train_part_0" / "metadata.json"
    path.write_text(json.dumps({"aaaaaaaaaa.mp4": {"label": "REAL"}}))
    assert _by_video(src)["aaaaaaaaaa"].split == ""


def test_preview_people_and_methods(tmp_path: Path) -> None:
    index = read_layout("dfdc-preview", build("dfdc-preview", tmp_path))
    fakes = [clip for clip in index.clips if clip.label == "fake"]
    assert [clip.method for clip in fakes] == ["method_A", "method_B"]
    for fake in fakes:
        assert (fake.source, fake.component, fake.donor, fake.split) == ("643049_A_001", "643049", "1224068", "train")


def test_preview_clips_that_preprocessing_moved_are_found_by_name(tmp_path: Path) -> None:
    src = build("dfdc-preview", tmp_path)
    for clip in read_layout("dfdc-preview", src).clips:
        top = src / clip.paths[0].relative_to(src).parts[0]
        frames = top / "frames" / clip.video
        frames.mkdir(parents=True)
        clip.paths[0].rename(frames / "000.png")
    index = read_layout("dfdc-preview", src)
    assert index.problems == ()
    assert [clip.paths[0].name for clip in index.clips] == ["000.png"] * 3


def test_preview_without_its_json(tmp_path: Path) -> None:
    src = build("dfdc-preview", tmp_path)
    (src / "dataset.json").unlink()
    index = read_layout("dfdc-preview", src)
    assert ["it says which clips are for training" in problem.reason for problem in index.problems] == [True]
    assert [(clip.label, clip.split) for clip in index.clips] == [("fake", ""), ("fake", ""), ("real", "")]


def test_preview_json_that_names_absent_clips_and_nonsense(tmp_path: Path) -> None:
    src = build("dfdc-preview", tmp_path)
    facts = json.loads((src / "dataset.json").read_text())
    facts |= {"method_A/9/9_8_A_001.mp4": {"label": "fake", "set": "test"}, "": {"label": "real"}, "x": 3}
    (src / "dataset.json").write_text(json.dumps(facts))
    index = read_layout("dfdc-preview", src)
    assert sorted(problem.reason for problem in index.problems) == [
        "is named in dataset.json, but missing",
        "is named in dataset.json, but missing",
        "x: no label real or fake, left out",
    ]
    assert len(index.clips) == 3
