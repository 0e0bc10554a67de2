from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from unmask.game.adversaries.base import attacked
from unmask.game.adversaries.blur_gradient import GradientBlur
from unmask.game.adversaries.random_controls import RandomBlur, RandomSignBlur
from unmask.game.blur import pixelwise_gaussian_blur

ANYTHING = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
)


@settings(max_examples=40, deadline=None)
@given(
    sigma_max=st.floats(0.3, 3),
    share=st.floats(0.05, 0.95),
    steps=st.integers(1, 3),
    alpha=st.floats(0.01, 5),
    field=st.sampled_from(["image", "smooth", "pixel"]),
    random_start=st.booleans(),
    rule=st.sampled_from(["log-sign", "raw"]),
    kind=st.sampled_from([GradientBlur, RandomSignBlur]),
)
def test_sigma_stays_within_its_bounds(sigma_max, share, steps, alpha, field, random_start, rule, kind):
    options = {} if kind is RandomSignBlur else {"rule": rule}
    adversary = kind(
        sigma_max,
        share * sigma_max,
        steps=steps,
        alpha=alpha,
        field=field,
        random_start=random_start,
        **options,
    )
    attack = adversary(torch.rand(2, 3, 12, 17), torch.tensor([0, 1]), ANYTHING)
    assert attack.map.shape == (2, 1, 12, 17)
    assert attack.map.min() >= share * sigma_max * (1 - 1e-6)
    assert attack.map.max() <= sigma_max * (1 + 1e-6)


def test_images_are_blurred_by_the_map(world):
    attack = GradientBlur(1.5)(world.images[:4], world.labels[:4], world.classifier)
    assert torch.allclose(attack.images, pixelwise_gaussian_blur(world.images[:4], attack.map, 5), atol=1e-6)


def test_log_sign_steps_go_on_from_where_the_last_one_ended(world):
    start = 0.4
    one, three = (
        GradientBlur(steps=steps, alpha=0.1, random_start=False, start=start)(
            world.images[:8], world.labels[:8], world.classifier
        ).map
        for steps in (1, 3)
    )
    assert torch.allclose((one / start).log().abs(), torch.tensor(0.1), atol=1e-5)
    assert (three / start).log().abs().max().item() == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize(("field", "cell"), [("image", 16), ("smooth", 8)])
def test_what_varies_together_moves_together(world, field, cell):
    classifier, images, labels = world
    options = {"steps": 1, "alpha": 0.3, "random_start": False, "start": 0.5, "sigma_min": 0.05, "sigma_max": 5.0}
    fine = GradientBlur(**options)(images, labels, classifier).map
    coarse = GradientBlur(**options, field=field, cell=cell)(images, labels, classifier).map
    moved = (coarse / 0.5).log() / 0.3
    assert moved.abs().max() <= 1 + 1e-5
    assert roughness(coarse) < 0.5 * roughness(fine)
    if field == "image":
        assert torch.equal(coarse, coarse[:, :, :1, :1].expand_as(coarse))
    else:  # the middle of a cell moves as far as a step goes
        torch.testing.assert_close(
            moved[..., cell // 2 - 1 : cell // 2 + 1, :].abs().amax(dim=-1).mean(), torch.tensor(1.0), rtol=0.15, atol=0
        )


def roughness(sigma):
    """Mean difference of neighbours, px."""
    return (sigma.diff(dim=2).abs().mean() + sigma.diff(dim=3).abs().mean()).item()


def test_friends_do_not_attack_what_is_lost_already(world):
    classifier, images, _ = world
    start = pixelwise_gaussian_blur(images, torch.full_like(images[:, :1], 0.5), 3)
    with attacked(classifier), torch.no_grad():
        said = classifier(start).argmax(dim=1)
    some = torch.where(torch.arange(len(said)) % 3 > 0, said, 1 - said)  # as if it were wrong about every third
    attack = GradientBlur(random_start=False, start=0.5, steps=3, friendly=True)(images, some, classifier)
    moved = (attack.map - 0.5).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert torch.equal(moved, some == said)


def test_the_random_start_is_log_uniform():
    torch.manual_seed(0)
    adversary = RandomSignBlur(1.0, 0.2, alpha=1e-6)
    sigma = adversary(torch.rand(16, 3, 32, 32), torch.zeros(16, dtype=torch.long), ANYTHING).map
    position = (sigma / 0.2).log() / math.log(5)
    for level in (0.1, 0.5, 0.9):
        assert position.quantile(level).item() == pytest.approx(level, abs=0.02)


def test_hurts_more_than_the_same_sigmas_in_other_places(world):
    torch.manual_seed(0)
    attack = GradientBlur(steps=3)(world.images, world.labels, world.classifier, measure=True)
    control = RandomBlur.matched(attack.map, world.labels, kernel_size=3)
    random = control(world.images, world.labels, world.classifier, measure=True)
    assert attack.loss_after.mean() > random.loss_after.mean() + 0.3


def test_random_signs_are_as_strong_as_the_attack(world):
    torch.manual_seed(0)
    arguments = (world.images, world.labels, world.classifier)
    attack, random = GradientBlur()(*arguments).map, RandomSignBlur()(*arguments).map
    assert random.mean().item() == pytest.approx(attack.mean().item(), rel=0.15)
    assert random.std().item() == pytest.approx(attack.std().item(), rel=0.15)


def test_paper_is_sigma_plus_eps_times_the_gradient(world):
    images, labels, classifier = world.images[:5], world.labels[:5], world.classifier
    attack = GradientBlur.paper(eps=0.5, start=0.6)(images, labels, classifier)
    sigma = torch.full((5, 1, 32, 32), 0.6, requires_grad=True)
    classifier.eval()
    loss = F.cross_entropy(classifier(pixelwise_gaussian_blur(images, sigma, 3)), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, sigma)
    classifier.train()
    assert gradient.abs().max() > 1e-4
    assert torch.allclose(attack.map, (sigma + 0.5 * gradient).detach().clamp(0, 1), atol=1e-7)


@pytest.mark.parametrize("alpha", [10.0, 1e4])
@pytest.mark.parametrize("size", [(32, 32), (20, 45)], ids=str)
def test_published_keeps_the_norm_of_the_precision(world, alpha, size):
    images = torch.rand(4, 3, *size)
    attack = GradientBlur.published(steps=2, alpha=alpha)(images, world.labels[:4], world.classifier)
    precision = attack.map.double() ** -2
    norm = precision.expand(-1, 3, -1, -1).flatten(1).norm(dim=1)
    assert torch.allclose(norm, torch.full_like(norm, 100 * math.sqrt(size[0] * size[1]) / 256), rtol=1e-5)
    assert attack.images.isfinite().all()


def test_published_starts_at_two_pixels_and_hardly_moves():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 256, 256)
    sigma = GradientBlur.published()(images, torch.tensor([1]), ANYTHING).map
    assert sigma.mean().item() == pytest.approx(math.sqrt(256 * math.sqrt(3) / 100), rel=1e-3)
    assert sigma.std() < 0.01 * sigma.mean()


def test_published_steps_along_the_raw_gradient_of_the_precision(world):
    images, labels, classifier = world.images[:3], world.labels[:3], world.classifier
    attack = GradientBlur.published()(images, labels, classifier)
    start = 100 / (256 * math.sqrt(3))
    precision = torch.full((3, 1, 32, 32), start, requires_grad=True)
    classifier.eval()
    blurred = pixelwise_gaussian_blur(images, precision.rsqrt(), 3)
    (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(blurred), labels, reduction="sum"), precision)
    classifier.train()
    moved = (precision + 10 * gradient).detach().clamp(min=1e-6)
    moved = moved * (start * 32 / moved.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
    assert torch.allclose(attack.map**-2, moved, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sigma_max": 0}, "sigma_max"),
        ({"sigma_max": 1.0, "sigma_min": 1.0}, "sigma_min"),
        ({"sigma_min": -0.1}, "sigma_min"),
        ({"sigma_min": 0.0}, "sigma_min"),
        ({"kernel_size": 4}, "kernel_size"),
        ({"kernel_size": 1}, "kernel_size"),
        ({"steps": 0}, "steps"),
        ({"alpha": 0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"rule": "adam"}, "rule"),
        ({"rule": "precision"}, "random_start"),
        ({"field": "stripes"}, "field"),
        ({"field": "smooth", "cell": 0}, "cell"),
        ({"start": 2.0, "random_start": False}, "start"),
        ({"norm": 0.0}, "norm"),
    ],
)
def test_a_wrong_argument_is_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        GradientBlur(**options)


def test_random_signs_have_no_raw_rule():
    with pytest.raises(ValueError, match="rule must be one of log-sign"):
        RandomSignBlur(rule="raw")
    with pytest.raises(ValueError, match="rule must be one of log-sign"):
        RandomSignBlur.paper()
