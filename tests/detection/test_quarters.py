"""Pictures and clips the wrong way up are judged as they would be the right way up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips import moving, portrait, write_video
from unmask.demo import portraits
from unmask.detection import Detection, Detector, load_detector
from unmask.detection.quarters import box_as_given, find_quarters
from unmask.faces import MTCNN, Box, Face


class Counting(MTCNN):
    """The face finder, and how often whole pictures were searched."""

    searches = 0

    def __call__(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        self.searches += len(frames)
        return super().__call__(frames)


@pytest.fixture(scope="module")
def finder() -> Counting:
    return Counting()


@pytest.fixture(scope="module")
def detector(untrained: Path, finder: Counting) -> Detector:
    return load_detector(untrained, finder)


def _box(found: Detection) -> tuple[float, ...]:
    box = found.tracks[0].faces[0].box
    return box.x, box.y, box.width, box.height


@pytest.mark.parametrize(
    ("quarters", "turn"), [(1, "a quarter turn to the right"), (2, "half a turn"), (3, "a quarter turn to the left")]
)
def test_a_picture_the_wrong_way_up_scores_as_the_right_way_up(detector: Detector, quarters: int, turn: str) -> None:
    image = portraits()[0][:500]
    upright, turned = detector.detect(image, pictures=True), detector.detect(np.rot90(image, quarters), pictures=True)
    assert turned.score == upright.score
    assert turned.warnings == (
        f"the picture seems to lie the wrong way up: its faces were judged after {turn}",
        *upright.warnings,
    )
    # The crop is shown as it was judged; picture and box are as given.
    assert turned.evidence[0].jpeg == upright.evidence[0].jpeg
    assert turned.still is not None
    assert (turned.width, turned.height) == (turned.still.width, turned.still.height)
    assert (turned.width, turned.height) == np.rot90(image, quarters).shape[1::-1]
    x, y, width, height = _box(upright)
    wide, high = 512, 500
    expected = {
        1: (y, wide - x - width, height, width),
        2: (wide - x - width, high - y - height, width, height),
        3: (high - y - height, x, height, width),
    }
    assert _box(turned) == pytest.approx(expected[quarters])


def test_a_face_that_is_found_upside_down_is_judged_the_right_way_up(detector: Detector) -> None:
    hopper = portraits()[1]
    assert MTCNN()([np.rot90(hopper, 2)])[0]  # its mouth passes for eyes
    turned = detector.detect(np.rot90(hopper, 2))
    assert turned.score == detector.detect(hopper).score
    assert "half a turn" in turned.warnings[0]


def test_a_clip_that_lost_its_rotation(detector: Detector, tmp_path: Path) -> None:
    lying = [np.ascontiguousarray(np.rot90(each)) for each in moving(portrait(), 12)]
    found = detector.detect(write_video(tmp_path / "lying.mp4", lying), frames=12)
    assert found.frames_with_face == 12
    assert found.warnings[0] == (
        "the video seems to lie the wrong way up: its faces were judged after a quarter turn to the right"
    )
    x, y, width, height = _box(found)
    assert x < 55 < x + width  # the face of the upright picture is at (115, 55)
    assert y < 256 - 115 < y + height


def test_sure_faces_are_not_searched_twice(detector: Detector, finder: Counting) -> None:
    finder.searches = 0
    detector.detect(portrait())
    assert finder.searches == 1


@pytest.mark.parametrize(("there", "quarters"), [(0.989, 0), (0.999, 1)])
def test_a_little_surer_is_not_enough(there: float, quarters: int) -> None:
    box, image = Box(10, 20, 100, 120), portrait()
    assert find_quarters(lambda frames: [[Face(box, there)]], [image], [[Face(box, 0.983)]]) == quarters


def test_nothing_is_seen_in_textures(detector: Detector, finder: Counting) -> None:
    rng = np.random.default_rng(0)
    for scale in (1, 4, 16, 64):
        rough = Image.fromarray(rng.integers(0, 255, (256 // scale, 320 // scale, 3), np.uint8))
        finder.searches = 0
        found = detector.detect(rough.resize((320, 256), Image.Resampling.BICUBIC))
        assert (found.verdict, found.warnings, finder.searches) == ("no face", (), 4)


def test_boxes_turn_back() -> None:
    box, turned = Box(10, 20, 30, 40), np.zeros((200, 100, 3), np.uint8)
    assert box_as_given(box, turned, 0) == box
    assert box_as_given(box, turned, 1) == Box(20, 60, 40, 30)
    assert box_as_given(box_as_given(box, turned, 1), turned.transpose(1, 0, 2), 3) == box
    assert box_as_given(box, turned, 2) == replace(box, x=60, y=140)
