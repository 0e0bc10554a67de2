"""Media in, verdict out: real encoded files, the real face finder, an untrained network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unmask
from tests.clips import moving, portrait, write_image, write_video
from tests.detectors import make_detector
from unmask import UnmaskError
from unmask.detection import Detector, FaceScore, ScoredTrack, load_detector, rank_tracks, verdict_of
from unmask.detector import QualityLimits
from unmask.detector.file import BUNDLED
from unmask.detector.frames import pooled
from unmask.faces import Box


@pytest.fixture(scope="module")
def detector(untrained: Path) -> Detector:
    return load_detector(untrained)


def test_a_clip_gets_a_verdict_from_its_track(detector: Detector, clip: Path) -> None:
    found = detector.detect(clip, frames=6)
    assert (found.kind, found.width, found.height, found.frames) == ("video", 256, 256, 6)
    (track,) = found.tracks
    assert track.counted
    assert [face.position for face in track.faces] == list(range(6))
    assert found.score == track.score == pooled([face.score for face in track.faces])
    assert found.verdict == verdict_of(found.score, found.threshold)
    assert len({face.frame for face in track.faces}) == 6
    assert all(0 <= face.time <= found.duration for face in track.faces)
    assert found.detector.version == "7"
    assert len(found.detector.weights) == 12


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_an_image_gets_a_verdict_from_its_face(detector: Detector, tmp_path: Path, suffix: str) -> None:
    found = detector.detect(write_image(tmp_path / f"face.{suffix}", portrait()))
    assert (found.kind, found.duration, found.frames, len(found.tracks)) == ("image", None, 1, 1)
    box = found.tracks[0].faces[0].box
    assert box.x < 115 < box.x + box.width
    assert box.y < 55 < box.y + box.height


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_other_containers(detector: Detector, tmp_path: Path, suffix: str) -> None:
    found = detector.detect(write_video(tmp_path / f"clip.{suffix}", [portrait()] * 4), frames=2)
    assert found.verdict in ("real", "fake")


def test_the_same_bytes_give_the_same_score(untrained: Path, detector: Detector, clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip.read_bytes())
    first, again = detector.detect(clip, frames=4), load_detector(untrained).detect(copy, frames=4)
    assert first.to_json() | {"path": ""} == again.to_json() | {"path": ""}


def test_threads_may_share_a_detector(detector: Detector, clip: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "face.png", portrait())
    alone = [detector.detect(path, frames=4) for path in (clip, image)]
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(lambda path: detector.detect(path, frames=4), [clip, image] * 3))
    assert shared == alone * 3


def test_threads_may_share_pictures_and_adversary(clip: Path) -> None:
    detector = load_detector("default")
    alone = detector.detect(clip, frames=4, pictures=True)
    assert all(each.heat is not None and each.sigma is not None for each in alone.evidence)
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(lambda _: detector.detect(clip, frames=4, pictures=True), range(6)))
    assert shared == [alone] * 6


def test_many_sources_of_many_kinds(detector: Detector, clip: Path) -> None:
    found = list(detector.detect_many([clip, portrait(), Image.fromarray(portrait()), clip.read_bytes()], frames=2))
    assert [each.path for each in found] == [str(clip), "image", "image", "bytes"]
    assert (found[0].score, found[1].score) == (found[3].score, found[2].score)


def test_a_poor_picture_is_never_sure_of_itself(tmp_path: Path) -> None:
    limits = QualityLimits(crops=500, quantile=0.01, face_side=500.0, sharpness=0.0)
    careful = load_detector(make_detector(tmp_path / "careful", tested=limits))
    found = careful.detect(portrait(), pictures=True)
    assert found.verdict == found.tracks[0].verdict == "uncertain"
    assert found.score is not None
    assert "too small" in found.warnings[0]
    assert found.to_json()["warnings"] == list(found.warnings)
    quality = found.to_json()["tracks"][0]["quality"]
    assert quality["side"] < 500
    assert quality["tilt"] < 15
    turned = careful.detect(Image.fromarray(portrait()).rotate(40))
    assert any("too far from upright" in each for each in turned.warnings)
    found.save_report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "poorer than nearly all that this detector was tested on" in page
    assert "too small" in page


def test_exif_rotation_is_applied_before_the_search(detector: Detector, tmp_path: Path) -> None:
    image = portrait()[:, :200]
    upright = detector.detect(write_image(tmp_path / "upright.png", image))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    turned = detector.detect(write_image(tmp_path / "turned.png", np.rot90(image), exif=exif))
    assert (turned.width, turned.height) == (200, 256)
    assert turned.to_json() | {"path": ""} == upright.to_json() | {"path": ""}


def test_no_face_is_an_answer(detector: Detector, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    for image in (noise, np.zeros((1, 1, 3), np.uint8), np.full((64, 64, 3), 128, np.uint8)):
        found = detector.detect(write_image(tmp_path / "none.png", image))
        assert (found.verdict, found.score, found.tracks, found.error) == ("no face", None, (), None)


def test_a_face_in_a_picture_of_12000_pixels(detector: Detector, tmp_path: Path) -> None:
    wide = np.zeros((700, 12_000, 3), np.uint8)
    wide[50:650, 6000:6600] = portrait(600)
    found = detector.detect(write_image(tmp_path / "wide.jpg", wide))
    assert found.width == 12_000
    assert found.verdict in ("real", "fake", "no face")


def test_a_verdict_on_half_a_video_says_so(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "half.mkv"
    noise = np.random.default_rng(0).integers(0, 60, (20, 256, 256, 3), np.uint8)
    write_video(path, list(portrait() // 2 + noise))
    assert detector.detect(path, frames=2).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = detector.detect(path, frames=2)
    assert found.verdict in ("real", "fake")
    assert re.fullmatch(r"the video is damaged: only [01]\.\d s of 2\.0 s could be read", found.warnings[0])


def test_a_verdict_on_one_of_several_pages_says_so(detector: Detector, tmp_path: Path) -> None:
    path, page = tmp_path / "pages.tiff", Image.fromarray(portrait())
    page.save(path, save_all=True, append_images=[page])
    assert detector.detect(path).warnings == ("the file holds several pages: only the first was looked at",)


def test_a_verdict_on_half_the_lines_says_so(detector: Detector, tmp_path: Path) -> None:
    woven = moving(portrait(), 6)
    for now, later in pairwise(woven):
        now[1::2] = later[1::2]
    (warning,) = detector.detect(write_video(tmp_path / "woven.mp4", woven), frames=6).warnings
    assert warning.startswith("the video is interlaced: of 5 of 6 frames every second line was looked at")


def _broken(name: str, tmp_path: Path, clip: Path) -> Path:
    path = tmp_path / f"{name}.mp4"
    if name == "missing":
        return path
    if name == "a folder":
        path.mkdir()
        return path
    content = {
        "empty": b"",
        "text": b"this is no film\n" * 50,
        "truncated": clip.read_bytes()[: clip.stat().st_size // 3],
        "half a png": write_image(tmp_path / "whole.png", portrait()).read_bytes()[:2000],
    }[name]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["missing", "a folder", "empty", "text", "truncated", "half a png"])
def test_what_cannot_be_judged_is_named_with_the_reason(
    detector: Detector, tmp_path: Path, clip: Path, name: str
) -> None:
    path = _broken(name, tmp_path, clip)
    with pytest.raises(UnmaskError, match=str(path)) as caught:
        detector.detect(path)
    assert "\n" not in str(caught.value)


def test_more_pixels_than_can_be_handled_is_an_error(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (12_000, 12_000)).save(path)
    with pytest.raises(UnmaskError, match="12000 x 12000"):
        detector.detect(path)


def test_many_go_on_after_one_that_fails(detector: Detector, clip: Path, tmp_path: Path) -> None:
    bad, good = detector.detect_many([tmp_path / "missing.jpg", clip], frames=2)
    assert (bad.verdict, bad.score, bad.error) == (None, None, "no such file")
    assert good.error is None


def test_many_go_on_after_a_failure_nobody_foresaw(untrained: Path, clip: Path) -> None:
    calls = []

    def fails_once(frames: object) -> list[list[object]]:
        calls.append(frames)
        if len(calls) == 1:
            raise RuntimeError("the codec\nfell over")
        return [[] for _ in frames]  # type: ignore[attr-defined]

    bad, good = load_detector(untrained, fails_once).detect_many([clip, clip], frames=2)
    assert bad.error == "cannot be analysed: RuntimeError: the codec fell over"
    assert good.verdict == "no face"


def test_a_fault_of_the_detector_is_not_said_of_the_file(untrained: Path, clip: Path, tmp_path: Path) -> None:
    def fails(frames: object) -> list[list[object]]:
        raise UnmaskError("finder.onnx", "is damaged")

    missing = f"{tmp_path}/./missing.jpg"
    found = load_detector(untrained, fails).detect_many([clip, missing, b"no picture"])  # type: ignore[arg-type]
    assert [each.error for each in found] == [
        "finder.onnx: is damaged",
        "no such file",
        "is not an image or video of a kind that is read here",
    ]


def test_an_adversary_that_is_missing_costs_its_map_and_not_the_verdict(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(BUNDLED / "default", tmp_path / "detector"))
    (folder / "adversary.safetensors").unlink()
    (found,) = load_detector(folder).detect_many([portrait()], pictures=True)
    assert (found.error, found.verdict is None) == (None, False)
    assert [each.heat is not None for each in found.evidence] == [True]
    (note,) = found.notes
    assert note.startswith(f"No map of the adversary: {folder / 'adversary.safetensors'}: the file is missing")


def test_pictures_only_when_asked_for(detector: Detector, clip: Path) -> None:
    plain, full = detector.detect(clip, frames=8), detector.detect(clip, frames=8, pictures=True)
    assert (plain.evidence, plain.still) == ((), None)
    assert full.to_json() == plain.to_json()
    scores = [evidence.face.score for evidence in full.evidence]
    every = [face.score for face in full.tracks[0].faces]
    assert (scores[0], scores[-1]) == (max(every), min(every))
    assert all(evidence.jpeg.startswith(b"\xff\xd8") for evidence in full.evidence)
    assert full.still is not None


def test_the_uncertain_band_comes_from_the_card(tmp_path: Path, clip: Path) -> None:
    wide = load_detector(make_detector(tmp_path / "wide", uncertain=(0.0, 1.0)))
    found = wide.detect(clip, frames=2)
    assert (found.verdict, found.to_json()["uncertain"]) == ("uncertain", [0.0, 1.0])


def test_load_detector_is_reached_from_the_package(untrained: Path) -> None:
    assert unmask.load_detector(untrained).card.version == "7"
    with pytest.raises(UnmaskError, match="nowhere"):
        unmask.load_detector("nowhere")


@pytest.mark.parametrize(
    ("score", "band", "verdict"),
    [
        (None, None, "no face"),
        (0.5, None, "fake"),
        (0.499999, None, "real"),
        (0.6, (0.4, 0.6), "uncertain"),
        (0.61, (0.4, 0.6), "fake"),
        (0.39, (0.4, 0.6), "real"),
    ],
)
def test_verdict_of_a_score(score: float | None, band: tuple[float, float] | None, verdict: str) -> None:
    assert verdict_of(score, 0.5, band) == verdict


@pytest.fixture
def track() -> Callable[..., ScoredTrack]:
    def make(length: int, side: float, score: float) -> ScoredTrack:
        faces = (FaceScore(i, i, i / 10, Box(0, 0, side * 0.8, side), 0.99, score) for i in range(length))
        return ScoredTrack(tuple(faces), score)

    return make


def test_one_forged_person_makes_a_clip_fake(track: Callable[..., ScoredTrack]) -> None:
    ranked = rank_tracks([track(32, 200, 0.1), track(20, 90, 0.9)], "video", 32)
    assert [(each.score, each.counted) for each in ranked] == [(0.9, True), (0.1, True)]


def test_a_short_find_decides_nothing(track: Callable[..., ScoredTrack]) -> None:
    ranked = rank_tracks([track(2, 200, 0.99), track(30, 100, 0.1)], "video", 32)
    assert [each.score for each in ranked] == [0.1, 0.99]
    assert ranked[1].reason == "too short: seen in 2 of 32 frames, 8 are needed"


def test_a_small_face_decides_nothing(track: Callable[..., ScoredTrack]) -> None:
    ranked = rank_tracks([track(32, 30, 0.99), track(4, 100, 0.1)], "video", 32)
    assert [each.counted for each in ranked] == [True, False]
    assert ranked[1].reason == "too small: 30 px, 40 px are needed"


def test_short_shots_count_when_nothing_is_longer(track: Callable[..., ScoredTrack]) -> None:
    assert all(each.counted for each in rank_tracks([track(4, 80, 0.1)] * 8, "video", 32))
    assert not rank_tracks([track(2, 80, 0.9)], "video", 32)[0].counted


def test_in_an_image_only_the_size_counts(track: Callable[..., ScoredTrack]) -> None:
    ranked = rank_tracks([track(1, 100, 0.2), track(1, 41, 0.7), track(1, 20, 0.9)], "image", 1)
    assert [(each.score, each.counted) for each in ranked] == [(0.7, True), (0.2, True), (0.9, False)]
