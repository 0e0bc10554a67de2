from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from unmask.game.adversaries.random_controls import RandomRestore
from unmask.game.adversaries.restore import GradientRestore
from unmask.game.blur import pixelwise_gaussian_blur

#: Below 0.1 px the blur is the identity: what is left is what was restored.
SHARP = {"sigma_max": 0.1, "sigma_min": 0.05}
SIZE = 32


class Residue(nn.Module):
    """Knows one artefact: how bright the square of 8 px is in which a fake was marked."""

    def forward(self, images: Tensor) -> Tensor:
        seen = 20 * images[:, :, 8:16, 16:24].mean(dim=(1, 2, 3))
        return torch.stack([5 - seen, seen - 5], dim=1)


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """Dark originals and their forgeries: the square made bright, and a trace of the forgery all over the image."""
    reals = 0.2 * torch.rand(count, 3, SIZE, SIZE)
    fakes = reals + 0.05
    fakes[:, :, 8:16, 16:24] += 0.5
    return torch.stack([reals, fakes], dim=1).flatten(0, 1), torch.arange(2 * count) % 2


def test_the_artefact_is_what_is_put_back():
    torch.manual_seed(0)
    images, labels = pairs(16)
    # A quarter of 4 x 4 parts: four, and the square lies within one.
    game = GradientRestore(cells=4, share=0.25, strength=1.0, **SHARP)(images, labels, Residue(), measure=True)
    control = RandomRestore(cells=4, share=0.25, strength=1.0, **SHARP)(images, labels, Residue(), measure=True)
    by_chance, taken_back = ((images - attack.images)[1::2, :, 10:14, 18:22].mean() for attack in (control, game))
    assert by_chance < 0.3
    assert taken_back > 0.4, "of the .55 that were added, but for the soft edge, in nearly every forgery"
    assert game.loss_after[1::2].mean() > control.loss_after[1::2].mean() + 1
    assert game.restored[1::2].mean() > control.restored[1::2].mean() + 0.1
    # What the classifier does not go by is left alone as often as chance has it.
    assert game.restored.max() < 0.9


def test_a_control_with_the_share_that_was_restored_restores_as_much():
    torch.manual_seed(1)
    images, labels = pairs(200)
    game = GradientRestore(cells=4, share=0.25, **SHARP)(images, labels, Residue())
    played = float(game.restored[1::2].mean())
    control = RandomRestore(cells=4, share=played, **SHARP)(images, labels, Residue())
    assert played > 0.3
    assert float(control.restored[1::2].mean()) == pytest.approx(played, abs=0.04)


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from([GradientRestore, RandomRestore]),
    cells=st.integers(2, 8),
    share=st.floats(0.05, 0.95),
    strength=st.floats(0.05, 1),
    height=st.integers(4, 20),
    width=st.integers(4, 20),
)
def test_every_pixel_lies_between_forgery_and_original(kind, cells, share, strength, height, width):
    images, labels = torch.rand(6, 3, height, width), torch.arange(6) % 2
    classifier = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    attack = kind(cells, share, strength, **SHARP)(images, labels, classifier)
    assert torch.allclose(attack.images[0::2], images[0::2], atol=1e-5), "originals are only blurred"
    assert (attack.restored[0::2] == 0).all()
    assert (attack.restored[1::2] >= 0).all()
    assert (attack.restored <= 1 + 1e-5).all()
    low, high = torch.minimum(images[0::2], images[1::2]), torch.maximum(images[0::2], images[1::2])
    assert (attack.images[1::2] >= low - 1e-5).all()
    assert (attack.images[1::2] <= high + 1e-5).all()
    left = (attack.images[1::2] - images[0::2]).abs()
    assert (left >= (1 - strength) * (images[1::2] - images[0::2]).abs() - 1e-5).all()


def test_the_share_of_parts_is_kept():
    torch.manual_seed(2)
    images = torch.stack([torch.zeros(3, SIZE, SIZE), torch.ones(3, SIZE, SIZE)]).repeat(50, 1, 1, 1)
    labels = torch.arange(100) % 2
    for share in (0.25, 0.5, 0.75):
        for kind in (GradientRestore, RandomRestore):
            attack = kind(cells=8, share=share, strength=1.0, **SHARP)(images, labels, Residue())
            # Bilinear interpolation repeats the parts of the border, so it is the mean that is kept.
            assert float(attack.restored[1::2].mean()) == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("kind", [GradientRestore, RandomRestore])
def test_originals_are_blurred_within_the_bounds_of_sigma(kind):
    images, labels = pairs(3)
    attack = kind(sigma_max=1.5, sigma_min=0.4)(images, labels, Residue())
    assert attack.map.min() >= 0.4
    assert attack.map.max() <= 1.5
    blurred = pixelwise_gaussian_blur(images, attack.map, 5).clamp(0, 1)
    assert torch.allclose(attack.images[0::2], blurred[0::2], atol=1e-6)


@pytest.mark.parametrize("kind", [GradientRestore, RandomRestore])
def test_a_forgery_without_its_original_is_refused(kind):
    images, _ = pairs(2)
    with pytest.raises(ValueError, match="an original for each fake, got 3 fakes in a batch of 4"):
        kind()(images, torch.tensor([0, 1, 1, 1]), Residue())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cells": 1}, "cells must be at least 2"),
        ({"share": 0.0}, "share must be in"),
        ({"share": 1.0}, "share must be in"),
        ({"strength": 1.1}, "strength must be in"),
        ({"sigma_min": 0.0}, "sigma_min must be positive"),
        ({"sigma_min": 2.0}, "below sigma_max"),
        ({"alpha": 0.0}, "alpha and blur_alpha must be positive"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_arguments_outside_their_range(options, reason):
    with pytest.raises(ValueError, match=reason):
        GradientRestore(**options)


def test_the_control_checks_its_arguments():
    with pytest.raises(ValueError, match="share must be in"):
        RandomRestore(share=2.0)
