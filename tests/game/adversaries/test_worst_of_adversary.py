from __future__ import annotations

import pytest
import torch
from torch import nn

from unmask.errors import UnmaskError
from unmask.game.adversaries import build_adversary
from unmask.game.adversaries.base import Adversary, Attack
from unmask.game.adversaries.blur_generator import GeneratorBlur
from unmask.game.adversaries.random_controls import RandomBlur, RandomNoise, RandomRestore
from unmask.game.adversaries.worst_of import WorstOf


class Dimmed(Adversary):
    """Images of a brightness drawn at random; the map is that brightness."""

    def perturb(self, images, labels, classifier):
        level = torch.rand(len(images), 1, 1, 1)
        return Attack(level.expand_as(images).clone(), level, restored=level.flatten())


class Brightness(nn.Module):
    def forward(self, images):
        seen = images.mean(dim=(1, 2, 3))
        return torch.stack([-seen, seen], dim=1)


def test_of_every_image_the_draw_with_the_greatest_loss():
    images, labels = torch.zeros(40, 3, 4, 4), torch.arange(40) % 2
    torch.manual_seed(4)
    draws = torch.stack([torch.rand(40, 1, 1, 1).flatten() for _ in range(5)])
    torch.manual_seed(4)
    attack = WorstOf(Dimmed(), 5)(images, labels, Brightness())
    # The brighter, the more fake: the worst for a fake is the darkest.
    worst = torch.where(labels == 1, draws.min(dim=0).values, draws.max(dim=0).values)
    assert torch.equal(attack.map.flatten(), worst)
    assert torch.equal(attack.images[:, 0, 0, 0], worst)
    assert torch.equal(attack.restored, worst)


def test_more_draws_hurt_more(world):
    control = RandomBlur(field="image")
    losses = []
    for adversary in (control, WorstOf(control, 2), WorstOf(control, 8)):
        torch.manual_seed(0)
        losses.append(adversary(world.images, world.labels, world.classifier, measure=True).loss_after.mean())
    assert losses[0] + 0.05 < losses[1] < losses[2] - 0.05


def test_draws_nothing_that_the_control_could_not(world):
    attack = WorstOf(RandomNoise(2 / 255), 4)(world.images, world.labels, world.classifier)
    assert (attack.images - world.images).abs().max() <= 2 / 255 + 1e-6


def test_a_gradient_attack_starts_again(world):
    attack = build_adversary("blur-gradient", {"steps": 2, "random_start": True})
    losses = []
    for adversary in (attack, WorstOf(attack, 3)):
        torch.manual_seed(0)  # the first start is the same
        losses.append(adversary(world.images, world.labels, world.classifier, measure=True).loss_after)
    assert (losses[1] >= losses[0] - 1e-6).all()
    assert (losses[1] > losses[0] + 1e-6).any()


def test_needs_the_originals_that_its_change_needs():
    assert WorstOf(RandomRestore()).needs_originals
    assert not WorstOf(RandomBlur()).needs_originals


def test_built_by_the_name_of_a_control():
    built = build_adversary("worst-of", {"random": "random-blur", "draws": 3, "sigma_max": 2.0, "field": "smooth"})
    assert isinstance(built, WorstOf)
    assert isinstance(built.random, RandomBlur)
    assert (built.draws, built.random.sigma_max, built.random.field) == (3, 2.0, "smooth")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"draws": 1}, "draws must be a whole number of at least 2, got 1"),
        ({"random": "blur-generator"}, "an adversary that learns is not drawn"),
        ({"random": "plain"}, "plain training draws nothing"),
        ({"random": "blurs"}, "adversary 'blurs'"),
        ({"random": "random-blur", "sigma_max": -1}, "sigma_max must be a positive number"),
        ({"random": "random-blur", "colour": "red"}, "colour"),
    ],
)
def test_what_it_cannot_draw(options, reason):
    with pytest.raises(UnmaskError, match=reason):
        build_adversary("worst-of", options)


def test_a_learning_adversary_is_refused():
    with pytest.raises(ValueError, match="an adversary that learns is not drawn"):
        WorstOf(GeneratorBlur())
