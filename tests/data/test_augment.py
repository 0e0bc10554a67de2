"""Each augmentation beside torchvision's: the same picture to a grey level."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from tests.data.test_duplicates import picture
from unmask.data import augment
from unmask.data.augment import Augment, Augmentation


def with_torchvision(change: Callable[[torch.Tensor], torch.Tensor], image: np.ndarray) -> np.ndarray:
    return change(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()


def colours() -> np.ndarray:
    """Every colour in steps of 5, black, white and grey among them."""
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1)
    return cube.reshape(-1, 52 * 13, 3)


@pytest.mark.parametrize("factor", [0.75, 0.9, 1.0, 1.1, 1.25])
def test_brightness_contrast_and_saturation_are_those_of_torchvision(factor: float) -> None:
    for ours, theirs in (
        (augment._brightness, F.adjust_brightness),
        (augment._contrast, F.adjust_contrast),
        (augment._saturation, F.adjust_saturation),
    ):
        for image in (colours(), picture(3)):
            expected = with_torchvision(lambda x, theirs=theirs: theirs(x, factor), image)  # type: ignore[misc]
            off = ours(image, factor).astype(int) - expected
            assert np.abs(off).max() <= 1, ours


@pytest.mark.parametrize("turn", [-0.04, -0.01, 0.0, 0.02, 0.04])
def test_hue_is_that_of_torchvision_for_every_colour(turn: float) -> None:
    expected = with_torchvision(lambda x: F.adjust_hue(x, turn), colours())
    assert np.abs(augment._hue(colours(), turn).astype(int) - expected).max() <= 1


def test_no_saturation_is_grey() -> None:
    grey = augment._saturation(picture(1), 0.0)
    assert (grey == grey[..., :1]).all()
    expected = with_torchvision(lambda x: F.rgb_to_grayscale(x, 3), picture(1))
    assert np.abs(grey.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("degrees", [-10.0, -0.5, 7.3])
def test_rotation_is_that_of_torchvision(degrees: float) -> None:
    expected = with_torchvision(lambda x: F.rotate(x, degrees, InterpolationMode.BILINEAR), picture(2))
    off = np.abs(augment.rotate(picture(2), degrees).astype(int) - expected)
    # At the border one fades to black and the other is cut; between, fixed and floating point differ by a level.
    inside = off[30:-30, 30:-30]
    assert inside.max() <= 1
    assert (off > 1).mean() < 0.01


def test_resizing_is_that_of_finished_detectors() -> None:
    image = picture(4, 200)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None], (128, 128), mode="bilinear", antialias=True
    )
    assert np.array_equal(augment.resize(image, 128), expected[0].permute(1, 2, 0).numpy())
    assert augment.resize(image, 200) is image


def test_jpeg_leaves_what_opencv_reads() -> None:
    image = picture(5)
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    expected = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert expected is not None
    assert np.array_equal(augment.jpeg(image, 70), expected[..., ::-1])


@pytest.mark.parametrize("shape", [(64, 64), (30, 90), (90, 30), (1, 1), (2, 200)])
def test_any_shape_becomes_the_size_that_is_asked_for(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    always = Augmentation(flip=1, geometry=1, colour=1, grey=1, noise=1, jpeg=1, rescale=1)
    for seed in range(10):
        out = Augment(32, always)(image, torch.Generator().manual_seed(seed))
        assert out.shape == (32, 32, 3)
        assert out.dtype == np.uint8


def test_the_same_numbers_give_the_same_image() -> None:
    change = Augment(64, Augmentation())
    images = [change(picture(6), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_an_image_scaled_down_to_nothing_keeps_a_pixel() -> None:
    always = Augmentation(geometry=0, flip=0, colour=0, grey=0, noise=0, jpeg=0, rescale=1, min_scale=0.001)
    for seed in range(200):
        assert Augment(8, always)(picture(1), torch.Generator().manual_seed(seed)).shape == (8, 8, 3)
