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
    # The square is one of 4 x 4 parts, and holds two fifths of the forgery.
    options = {"cells": 4, "share": 0.4, "strength": 1.0, **SHARP}
    game = GradientRestore(**options)(images, labels, Residue(), measure=True)
    control = RandomRestore(**options)(images, labels, Residue(), measure=True)
    by_chance, taken_back = ((images - attack.images)[1::2, :, 10:14, 18:22].mean() for attack in (control, game))
    assert by_chance < 0.3
    assert taken_back > 0.4, "of the .55 that were added, but for the soft edge, in nearly every forgery"
    assert game.loss_after[1::2].mean() > control.loss_after[1::2].mean() + 0.5


def test_without_steps_of_the_scores_the_blur_alone_attacks(world):
    options = {"strength": 0.5, "share": 0.3}
    torch.manual_seed(0)
    game = GradientRestore(alpha=0.0, **options)(world.images, world.labels, world.classifier, measure=True)
    torch.manual_seed(0)
    control = RandomRestore(**options)(world.images, world.labels, world.classifier, measure=True)
    assert game.loss_after.mean() > control.loss_after.mean() + 0.3
    # The adversary's first draws are its scores: of two games with one seed the same parts are restored.
    torch.manual_seed(0)
    sharp = GradientRestore(alpha=0.0, **options, **SHARP)(world.images, world.labels, world.classifier)
    torch.manual_seed(0)
    again = GradientRestore(alpha=0.0, steps=5, **options, **SHARP)(world.images, world.labels, world.classifier)
    assert torch.allclose(sharp.images, again.images, atol=1e-5)


@pytest.mark.parametrize("kind", [GradientRestore, RandomRestore])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_as_much_of_every_forgery_is_restored(kind, share):
    torch.manual_seed(1)
    images, labels = pairs(20)
    attack = kind(cells=6, share=share, strength=1.0, **SHARP)(images, labels, Residue())
    assert torch.allclose(attack.restored[1::2], torch.tensor(share), atol=1e-4)
    assert (attack.restored[0::2] == 0).all()
    # That share of what forging changed is gone.
    changed, left = ((batch[1::2] - images[0::2]).abs().sum(dim=(1, 2, 3)) for batch in (images, attack.images))
    assert torch.allclose(left / changed, torch.tensor(1 - share), atol=1e-3)


def test_a_fake_like_its_original_has_nothing_to_restore():
    images, labels = pairs(2)
    images[1] = images[0]
    attack = GradientRestore(**SHARP)(images, labels, Residue())
    assert attack.restored.tolist() == pytest.approx([0, 0, 0, 0.5], abs=1e-4)
    assert torch.allclose(attack.images[1], images[0], atol=1e-5)


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
    assert torch.allclose(attack.restored[1::2], torch.tensor(share), atol=1e-4)
    low, high = torch.minimum(images[0::2], images[1::2]), torch.maximum(images[0::2], images[1::2])
    assert (attack.images[1::2] >= low - 1e-5).all()
    assert (attack.images[1::2] <= high + 1e-5).all()
    left = (attack.images[1::2] - images[0::2]).abs()
    assert (left >= (1 - strength) * (images[1::2] - images[0::2]).abs() - 1e-5).all()


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
        ({"cells": 1}, "cells must be a whole number, at least 2"),
        ({"cells": 7.5}, "cells must be a whole number, at least 2"),
        ({"share": 0.0}, "share must be in"),
        ({"share": 1.0}, "share must be in"),
        ({"strength": 1.1}, "strength must be in"),
        ({"sigma_min": 0.0}, "sigma_min must be positive"),
        ({"sigma_min": 2.0}, "below sigma_max"),
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"blur_alpha": 0.0}, "blur_alpha positive"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
    ],
)
def test_arguments_outside_their_range(options, reason):
    with pytest.raises(ValueError, match=reason):
        GradientRestore(**options)


def test_the_control_checks_its_arguments():
    with pytest.raises(ValueError, match="share must be in"):
        RandomRestore(share=2.0)
