from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unmask.game.adversaries.flow import Flow, warp
from unmask.game.adversaries.random_controls import RandomFlow

ANYTHING = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (16, 9), (33, 64)], ids=str)
def test_no_flow_is_the_identity(size):
    images = torch.rand(2, 3, *size)
    assert torch.allclose(warp(images, torch.zeros(2, 2, *size)), images, atol=2e-5)


def test_whole_pixels_are_taken_from_where_the_flow_points():
    images = torch.rand(1, 3, 8, 10)
    flow = torch.zeros(1, 2, 8, 10)
    flow[:, 0], flow[:, 1] = 2, -1  # two to the right, one up
    out = warp(images, flow)
    assert torch.allclose(out[:, :, 1:, :-2], images[:, :, :-1, 2:], atol=1e-5)
    assert torch.allclose(out[:, :, 0, :-2], images[:, :, 0, 2:], atol=1e-5), "the border is replicated"


@settings(max_examples=40, deadline=None)
@given(
    bound=st.floats(0.01, 5),
    steps=st.integers(1, 3),
    step_size=st.none() | st.floats(0.01, 10),
    cell=st.integers(1, 20),
    random_start=st.booleans(),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    kind=st.sampled_from([Flow, RandomFlow]),
)
def test_no_pixel_moves_further_than_the_bound(bound, steps, step_size, cell, random_start, height, width, kind):
    images = torch.rand(2, 3, height, width)
    adversary = kind(bound, steps, step_size, cell, random_start)
    attack = adversary(images, torch.tensor([0, 1]), ANYTHING)
    assert attack.map.shape == (2, 2, height, width)
    assert attack.map.norm(dim=1).max() <= bound * (1 + 1e-5)
    assert attack.images.min() >= images.min() - 1e-6
    assert attack.images.max() <= images.max() + 1e-6


def test_the_field_is_smooth_between_the_nodes(world):
    attack = Flow(2.0, steps=3, cell=8)(world.images[:8], world.labels[:8], world.classifier)
    # Between nodes about 8 pixels apart a displacement of at most 2 px changes by at most 4 / 8 px a pixel.
    assert attack.map.diff(dim=-1).abs().max() < 0.6
    assert attack.map.diff(dim=-2).abs().max() < 0.6


def test_a_vanishing_gradient_still_shows_the_way():
    class Confident(nn.Module):
        def forward(self, images):
            return torch.stack((images.diff(dim=-1).square().sum((1, 2, 3)) * 1e-30, images.sum((1, 2, 3)) * 0), 1)

    images = torch.rand(2, 3, 8, 8)
    attack = Flow(1.0, step_size=0.5, cell=2, random_start=False)(images, torch.tensor([0, 1]), Confident())
    assert attack.map.norm(dim=1).amax(dim=(1, 2)).tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_displacement": 0}, "max_displacement"),
        ({"max_displacement": float("inf")}, "max_displacement"),
        ({"steps": 0}, "steps"),
        ({"step_size": -1.0}, "step_size"),
        ({"cell": 0}, "cell"),
    ],
)
def test_a_wrong_argument_is_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        Flow(**options)
