"""The crop: where it lies, what is at the border, and the recipe as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.faces import Box, CropRecipe


def _ramp(height: int = 60, width: int = 80) -> np.ndarray:
    """Red is the column, green the row."""
    row, column = np.mgrid[:height, :width]
    return np.dstack([column, row, np.zeros_like(row)]).astype(np.uint8)


def test_known_pixels() -> None:
    crop = CropRecipe(margin=1.0, size=16).crop(_ramp(), Box(20, 10, 12, 16))
    np.testing.assert_array_equal(crop, _ramp()[10:26, 18:34])


def test_margin_and_shift() -> None:
    assert CropRecipe(margin=1.5, size=30).square(Box(20, 20, 20, 10)) == (15, 10, 30)
    assert CropRecipe(margin=1.5, shift_y=0.1, size=30).square(Box(20, 20, 20, 10)) == (15, 13, 30)


def test_the_border_is_repeated() -> None:
    crop = CropRecipe(margin=1.0, size=20).crop(_ramp(), Box(-10, -10, 20, 20))
    np.testing.assert_array_equal(crop[10:, 10:], _ramp()[:10, :10])
    assert (crop[:10, :10] == 0).all()
    np.testing.assert_array_equal(crop[15, :10], np.repeat(crop[15:16, 10], 10, axis=0))


@given(st.floats(-70, 70), st.floats(-50, 50), st.floats(1, 100), st.floats(1, 100), st.sampled_from([8, 33, 64]))
def test_every_box_that_touches_the_frame_gives_a_crop(
    x: float, y: float, width: float, height: float, size: int
) -> None:
    recipe = CropRecipe(size=size)
    box = Box(x, y, width, height)
    left, top, side = recipe.square(box)
    if left >= 80 or top >= 60 or left + side <= 0 or top + side <= 0:
        with pytest.raises(ValueError, match="touch"):
            recipe.crop(_ramp(), box)
        return
    crop = recipe.crop(_ramp(), box)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert crop[..., 2].max() == 0


def test_shrinking_lets_no_alias_through() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = CropRecipe(margin=1.0, size=64).crop(stripes, Box(0, 0, 256, 256))
    np.testing.assert_allclose(crop, 127.5, atol=1)


def test_the_crop_is_a_copy() -> None:
    frame = _ramp()
    CropRecipe(margin=1.0, size=16).crop(frame, Box(0, 0, 16, 16))[:] = 9
    np.testing.assert_array_equal(frame, _ramp())


def test_round_trip_through_json() -> None:
    recipe = CropRecipe(1.5, -0.05, 128)
    assert CropRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert CropRecipe.from_dict({}) == CropRecipe()


@pytest.mark.parametrize(
    "values",
    [
        {"margin": 0.1},
        {"margin": float("nan")},
        {"shift_y": 2},
        {"size": 7},
        {"size": 22.5},
        {"size": True},
        {"margin": "wide"},
        {"colour": 1},
    ],
)
def test_bad_recipes(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        CropRecipe.from_dict(values)


def test_bad_boxes_and_frames() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Box(0, 0, 0, 5)
    with pytest.raises(ValueError, match="finite"):
        Box(0, float("inf"), 5, 5)
    with pytest.raises(ValueError, match="far larger"):
        CropRecipe().crop(_ramp(), Box(-40_000, -40_000, 80_000, 80_000))
    with pytest.raises(ValueError, match="uint8"):
        CropRecipe().crop(_ramp().astype(np.float32), Box(0, 0, 9, 9))
