"""Aligned crops: the landmarks come where they belong, whatever way the face was turned."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from unmask.demo import portraits
from unmask.faces import MTCNN, CropRecipe, align_matrix, aligned_crop
from unmask.faces.align import canonical_points, tilt


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("degrees", [0, 30, -75, 180])
def test_canonical_points_are_found_again(degrees: float) -> None:
    recipe = CropRecipe(margin=1.3, size=224)
    turn = cv2.getRotationMatrix2D((100, 80), degrees, 0.7)
    landmarks = _moved(turn, canonical_points(recipe))
    matrix = align_matrix(landmarks.tolist(), recipe)
    np.testing.assert_allclose(_moved(matrix, landmarks), canonical_points(recipe), atol=1e-6)
    assert tilt(landmarks.tolist()) == pytest.approx(abs(degrees))


def test_the_template_is_that_of_face_recognition_at_margin_one() -> None:
    np.testing.assert_allclose(canonical_points(CropRecipe(margin=1.0, size=112))[2], (56.0252, 71.7366))
    lower = canonical_points(CropRecipe(margin=1.0, size=112, shift_y=0.25))
    np.testing.assert_allclose(lower[2], (56.0252, 71.7366 - 28))


def test_a_turned_portrait_gives_the_crop_of_the_upright_one() -> None:
    collins, _ = portraits()
    landmarks = np.array(MTCNN()([collins])[0][0].landmarks)
    recipe = CropRecipe(size=160)
    upright = aligned_crop(collins, landmarks.tolist(), recipe)
    (face,) = MTCNN()([upright])[0]
    np.testing.assert_allclose(face.landmarks, canonical_points(recipe), atol=8)

    turn = cv2.getRotationMatrix2D((255.5, 150), 25, 1.0)  # about the centres of pixels
    turned = cv2.warpAffine(collins, turn, (512, 512), flags=cv2.INTER_CUBIC)
    moved = _moved(turn, landmarks - 0.5) + 0.5
    again = aligned_crop(turned, moved.tolist(), recipe)
    inner = slice(30, 130)
    assert np.abs(again[inner, inner].astype(int) - upright[inner, inner]).mean() < 4


def test_shrinking_averages() -> None:
    fine = np.zeros((800, 800, 3), np.uint8)
    fine[::2] = 255  # lines of one pixel become grey, not a pattern
    recipe = CropRecipe(margin=1.0, size=112)
    landmarks = canonical_points(CropRecipe(margin=1.0, size=800))
    crop = aligned_crop(fine, landmarks.tolist(), recipe)
    assert abs(crop.mean() - 127) < 3
    assert crop.std() < 12


def test_over_the_border_the_border_is_repeated() -> None:
    frame = np.full((100, 100, 3), 200, np.uint8)
    landmarks = canonical_points(CropRecipe(margin=1.0, size=100)) - 40
    assert (aligned_crop(frame, landmarks.tolist(), CropRecipe(size=64)) == 200).all()


def test_no_face_is_made_of_wrong_points() -> None:
    with pytest.raises(ValueError, match="one place"):
        align_matrix([(5, 5)] * 5, CropRecipe())
    with pytest.raises(ValueError, match="five landmarks"):
        align_matrix([(5, 5)] * 4, CropRecipe())
    with pytest.raises(ValueError, match="far larger"):
        aligned_crop(np.zeros((50, 50, 3), np.uint8), [(i * 500, i * 900) for i in range(5)], CropRecipe())
