from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unmask.game.adversaries.noise import Noise

BRIGHTNESS = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2))


@settings(max_examples=40, deadline=None)
@given(
    eps=st.floats(1e-3, 1),
    steps=st.integers(1, 4),
    step_size=st.none() | st.floats(1e-3, 2),
    random_start=st.booleans(),
    seed=st.integers(0, 100),
)
def test_stays_within_eps_of_the_image_itself_and_within_range(eps, steps, step_size, random_start, seed):
    torch.manual_seed(seed)
    images = torch.rand(4, 3, 4, 4).round(decimals=1)  # some pixels at both ends of the range
    attack = Noise(eps, steps, step_size, random_start)(images, torch.tensor([0, 1, 0, 1]), BRIGHTNESS)
    assert attack.map.abs().max() <= eps + 1e-6
    assert attack.images.min() >= 0
    assert attack.images.max() <= 1
    assert torch.allclose(attack.images, images + attack.map, atol=1e-6)


def test_one_step_is_fgsm():
    images = torch.full((2, 3, 4, 4), 0.5)
    labels = torch.tensor([0, 1])
    weight = BRIGHTNESS[1].weight.detach()
    # The gradient of the cross entropy of two classes is along the other class's weights less one's own.
    direction = torch.stack((weight[1] - weight[0], weight[0] - weight[1])).sign().view(2, 3, 4, 4)
    attack = Noise(0.1)(images, labels, BRIGHTNESS)
    assert torch.allclose(attack.images, images + 0.1 * direction)


def test_both_classes_lose(world):
    attack = Noise(4 / 255)(world.images, world.labels, world.classifier, measure=True)
    for label in (0, 1):
        rows = world.labels == label
        assert attack.loss_after[rows].mean() > attack.loss_before[rows].mean() + 0.3


def test_steps_go_on_from_where_the_last_one_ended():
    images = torch.full((1, 3, 4, 4), 0.5)
    label = torch.tensor([1])
    assert Noise(0.4, steps=3, step_size=0.1)(images, label, BRIGHTNESS).map.abs().max().item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"eps": 0}, "eps"),
        ({"eps": 1.5}, "eps"),
        ({"eps": math.nan}, "eps"),
        ({"steps": 0}, "steps"),
        ({"step_size": 0.0}, "step_size"),
    ],
)
def test_a_wrong_argument_is_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        Noise(**options)
