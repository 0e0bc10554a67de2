"""Sharpness falls with blur and with size, blockiness rises with compression, and neither cares about the light."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.clips import portrait
from unmask.faces.quality import blockiness, sharpness


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return portrait(512)[60:260, 130:330]


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def test_the_more_blur_the_less_sharpness(face: np.ndarray) -> None:
    found = [sharpness(face)] + [sharpness(cv2.GaussianBlur(face, (0, 0), sigma)) for sigma in (1, 2, 4)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[2]


def test_an_enlarged_face_is_a_blurred_one(face: np.ndarray) -> None:
    small = [cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for side in (128, 64, 32)]
    found = [sharpness(cv2.resize(each, (200, 200))) for each in small]
    assert found == sorted(found, reverse=True)
    assert found[2] < found[0] / 2
    assert sharpness(small[1]) == pytest.approx(sharpness(cv2.resize(small[1], (128, 128))), rel=0.01)


def test_the_light_does_not_count(face: np.ndarray) -> None:
    darker = (face * 0.4 + 20).round().astype(np.uint8)
    assert sharpness(darker) == pytest.approx(sharpness(face), rel=0.1)


def test_known_values() -> None:
    assert sharpness(np.full((50, 70, 3), 90, np.uint8)) == 0
    grey = np.random.default_rng(0).integers(0, 256, (128, 128, 1), np.uint8).repeat(3, axis=2)
    # White noise through the stencil 1, 1, -4, 1, 1: the square root of 20.
    assert sharpness(grey) == pytest.approx(20**0.5, rel=0.03)
    assert blockiness(np.full((64, 64, 3), 90, np.uint8)) == 1
    # Flat blocks with steps of 16 levels between them: (16 + 1/4) / (1/4).
    blocks = np.arange(64) // 8 % 2 * 16
    image = np.add.outer(blocks, blocks).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert blockiness(image) == pytest.approx(65)


@pytest.mark.parametrize("shift", [0, 3])
def test_blocks_stand_out_more_the_stronger_the_compression(face: np.ndarray, shift: int) -> None:
    found = [blockiness(jpeg(face, quality)[shift:, shift:]) for quality in (90, 30, 10)]
    assert blockiness(face) < 1.5
    assert found == sorted(found)
    assert found[2] > 2


def test_a_picture_too_small_for_a_grid(face: np.ndarray) -> None:
    assert blockiness(face[:47]) is None
    assert blockiness(face[:48, :48]) is not None
