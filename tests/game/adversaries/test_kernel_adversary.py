from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from unmask.game.adversaries.kernel import GradientKernel, pixelwise_filter
from unmask.game.adversaries.random_controls import RandomKernel

ANYTHING = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2))


@pytest.mark.parametrize("size", [3, 5, 7])
def test_one_kernel_everywhere_is_a_convolution(size):
    images = torch.rand(2, 3, 9, 12, dtype=torch.float64)
    kernel = torch.rand(size * size, dtype=torch.float64).softmax(0)
    out = pixelwise_filter(images, kernel.view(1, -1, 1, 1).expand(2, -1, 9, 12))
    padded = F.pad(images, (size // 2,) * 4, mode="reflect")
    expected = F.conv2d(padded, kernel.view(1, 1, size, size).expand(3, 1, -1, -1), groups=3)
    assert torch.allclose(out, expected)


def test_each_pixel_has_its_own_kernel():
    torch.manual_seed(0)
    images, kernels = torch.rand(1, 2, 4, 5), torch.rand(1, 9, 4, 5)
    out = pixelwise_filter(images, kernels)
    padded = F.pad(images, (1,) * 4, mode="reflect")
    for i in range(4):
        for j in range(5):
            window = padded[0, :, i : i + 3, j : j + 3].flatten(1)
            assert torch.allclose(out[0, :, i, j], window @ kernels[0, :, i, j])


@settings(max_examples=40, deadline=None)
@given(
    kernel_size=st.sampled_from([3, 5]),
    keep=st.floats(0, 0.9),
    share=st.floats(0.05, 0.95),
    steps=st.integers(1, 3),
    alpha=st.floats(0.01, 20),
    random_start=st.booleans(),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    kind=st.sampled_from([GradientKernel, RandomKernel]),
)
def test_kernels_are_positive_sum_to_one_and_keep_their_centre(
    kernel_size, keep, share, steps, alpha, random_start, height, width, kind
):
    images = torch.rand(2, 3, height, width)
    adversary = kind(kernel_size, keep, keep + share * (1 - keep), steps, alpha, random_start)
    attack = adversary(images, torch.tensor([0, 1]), ANYTHING)
    assert attack.map.shape == (2, kernel_size**2, height, width)
    assert attack.map.min() >= 0
    assert torch.allclose(attack.map.sum(1), torch.ones(2, height, width), atol=1e-5)
    assert attack.map[:, kernel_size**2 // 2].min() >= keep - 1e-6
    assert (attack.images - images).abs().max() <= 1 - keep + 1e-6
    assert torch.allclose(attack.images, pixelwise_filter(images, attack.map), atol=1e-5)


def test_the_centre_starts_with_its_share():
    start = RandomKernel(start=0.8, alpha=1e-9)(torch.rand(1, 3, 6, 6), torch.tensor([0]), ANYTHING).map
    assert torch.allclose(start[:, 4], torch.tensor(0.8))
    assert torch.allclose(start[:, 0], torch.tensor(0.2 / 8))


def test_hurts_more_than_a_random_kernel_that_changes_the_image_more(world):
    torch.manual_seed(0)
    arguments = (world.images, world.labels, world.classifier)
    attack = GradientKernel()(*arguments, measure=True)
    random = RandomKernel(keep=0.2, start=0.3, steps=3)(*arguments, measure=True)
    assert (random.images - world.images).square().mean() > (attack.images - world.images).square().mean()
    assert attack.loss_after.mean() > random.loss_after.mean() + 0.3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kernel_size": 2}, "kernel_size"),
        ({"keep": 1.0}, "keep"),
        ({"keep": -0.1}, "keep"),
        ({"keep": 0.5, "start": 0.5}, "start"),
        ({"start": 1.0}, "start"),
        ({"steps": 0}, "steps"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": math.inf}, "alpha"),
    ],
)
def test_a_wrong_argument_is_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        GradientKernel(**options)
