"""Following finds what searching every frame finds, with a part of the searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.clips import portrait, write_video
from unmask.demo import portraits
from unmask.faces import MTCNN, Face, FaceFollower, read_media


class Counting(MTCNN):
    """MTCNN that counts the frames it searches as a whole."""

    searched = 0

    def __call__(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        self.searched += len(frames)
        return super().__call__(frames)


def _same(found: Sequence[Sequence[Face]], expected: Sequence[Sequence[Face]], overlap: float = 0.75) -> None:
    assert [len(faces) for faces in found] == [len(faces) for faces in expected]
    for faces, others in zip(found, expected, strict=True):
        for face in faces:
            best = max(others, key=lambda other: face.box.iou(other.box))
            assert face.box.iou(best.box) > overlap
            assert best.landmarks is not None
            np.testing.assert_allclose(face.landmarks, best.landmarks, atol=0.08 * best.box.width)


def _canvas(*placed: tuple[np.ndarray, int, int]) -> np.ndarray:
    frame = np.full((400, 700, 3), 90, np.uint8)
    for image, x, y in placed:
        frame[y : y + image.shape[0], x : x + image.shape[1]] = image
    return frame


def test_a_moving_face_through_the_codec(tmp_path: Path) -> None:
    face = portrait(220)
    frames = [_canvas((face, 20 + 12 * i, 20 + 4 * i)) for i in range(20)]
    images = [frame.image for frame in read_media(write_video(tmp_path / "clip.mp4", frames)).frames]
    detector = Counting()
    _same(FaceFollower(detector)(images), MTCNN()(images))
    assert detector.searched == 4  # 0, 8, 16, and the last


def test_every_frame_searched_is_the_detector_itself() -> None:
    images = [np.roll(portrait(), 3 * i, axis=1) for i in range(4)]
    assert FaceFollower(every=1)(images) == MTCNN()(images)


def test_a_face_that_comes_between_two_searches_is_followed_back() -> None:
    collins, hopper = (image[:512, :512] for image in portraits())
    first, second = (np.ascontiguousarray(image[::2, ::2]) for image in (collins, hopper))
    images = [_canvas((first, 0, 60), *([(second, 400 + 2 * i, 60)] if i >= 3 else [])) for i in range(9)]
    detector = Counting()
    found = FaceFollower(detector)(images)
    assert [len(faces) for faces in found] == [1] * 3 + [2] * 6
    _same(found, MTCNN()(images))
    assert detector.searched == 2
    assert all(faces[0].box.area >= faces[-1].box.area for faces in found)


def test_a_face_that_leaves_is_not_made_up() -> None:
    images = [_canvas((portrait(), 100, 100))] * 3 + [_canvas()] * 2 + [_canvas((portrait(), 400, 100))] * 3
    found = FaceFollower()(images)
    assert [len(faces) for faces in found] == [1, 1, 1, 0, 0, 1, 1, 1]
    assert found[-1][0].box.x - found[0][0].box.x == pytest.approx(300, abs=12)


def test_two_faces_that_become_one_place_stay_apart() -> None:
    face = portrait(200)
    (left,), (right,) = MTCNN()([_canvas((face, 0, 100)), _canvas((face, 30, 100))])
    now = _canvas((face, 15, 100))
    assert sum(each is not None for each in MTCNN().follow(now, [left, right])) == 1


def test_frames_are_taken_one_by_one_and_few_are_held() -> None:
    taken = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(12):
            taken.append(number)
            yield portrait(128)

    ahead = []
    for number, (scene, faces) in enumerate(FaceFollower(every=4).follow(frames())):
        assert (scene, len(faces)) == (0, 1)
        ahead.append(len(taken) - number)
    assert max(ahead) <= 5
    assert len(ahead) == 12


def test_nothing_and_a_change_of_size() -> None:
    follower = FaceFollower()
    assert follower([]) == []
    assert [len(faces) for faces in follower([portrait(256), portrait(128), portrait(300)])] == [1, 1, 1]
    assert follower([np.zeros((60, 80, 3), np.uint8)] * 3) == [[], [], []]
    with pytest.raises(ValueError, match="every"):
        FaceFollower(every=0)
