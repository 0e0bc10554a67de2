from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unmask.game.adversaries.random_controls import RandomBlur, RandomFrequencyMask, RandomNoise, RandomRestore
from unmask.game.adversaries.sigma import quantiles
from unmask.game.blur import pixelwise_gaussian_blur


class Unasked(nn.Module):
    """A control that asks the classifier is no control."""

    def forward(self, images):
        raise AssertionError


UNASKED = Unasked()
LEVELS = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])


def labels_for(images: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(images)) % 2


@pytest.mark.parametrize("field", ["image", "smooth", "pixel"])
def test_uniform_sigma_between_the_bounds(field):
    torch.manual_seed(0)
    images = torch.rand(3000, 1, 6, 6)
    attack = RandomBlur(1.0, 0.2, field=field, cell=2)(images, labels_for(images), UNASKED)
    assert torch.allclose(attack.map[:, 0, 3, 3].quantile(LEVELS), 0.2 + 0.8 * LEVELS, atol=0.04)
    assert attack.map.min() >= 0.2
    assert attack.map.max() <= 1
    assert torch.allclose(attack.images, pixelwise_gaussian_blur(images, attack.map, 3), atol=1e-6)
    assert (attack.map.flatten(1).std(1).max() == 0) == (field == "image")


def test_log_uniform_sigma():
    torch.manual_seed(0)
    images = torch.rand(16, 1, 64, 64)
    attack = RandomBlur(2.0, 0.1, distribution="log-uniform")(images, labels_for(images), UNASKED)
    assert torch.allclose((attack.map.flatten() / 0.1).log().quantile(LEVELS) / math.log(20), LEVELS, atol=0.02)


@pytest.mark.parametrize("field", ["image", "smooth", "pixel"])
def test_a_matched_control_has_the_distribution_of_each_class(field):
    torch.manual_seed(0)
    images = torch.rand(4000, 1, 5, 5)
    labels = labels_for(images)
    attacker = torch.rand(4000, 1, 5, 5) ** 3
    attacker = torch.where(labels.view(-1, 1, 1, 1) == 1, 0.5 + attacker / 2, attacker)
    played = RandomBlur.matched(attacker, labels, field=field)(images, labels, UNASKED).map
    for label in (0, 1):
        expected = attacker[labels == label].flatten().quantile(LEVELS)
        assert torch.allclose(played[labels == label].flatten().quantile(LEVELS), expected, atol=0.06)


def test_a_control_matched_without_labels_gives_no_class_away():
    torch.manual_seed(0)
    images = torch.rand(64, 1, 16, 16)
    labels = labels_for(images)
    attacker = 0.2 + 0.8 * torch.rand(64, 1, 16, 16) * labels.view(-1, 1, 1, 1)
    played = RandomBlur.matched(attacker)(images, labels, UNASKED).map
    assert played.flatten().quantile(LEVELS).sub(attacker.flatten().quantile(LEVELS)).abs().max() < 0.02
    assert played[labels == 0].mean().item() == pytest.approx(played[labels == 1].mean().item(), abs=0.02)


def test_manipulation_classes_count_as_fake():
    distribution = torch.tensor([[0.1, 0.2], [0.6, 0.9]])
    images = torch.rand(5, 3, 8, 8)
    sigma = RandomBlur(distribution=distribution)(images, torch.tensor([0, 1, 2, 3, 4]), UNASKED).map
    assert sigma[0].max() <= 0.2
    assert sigma[1:].min() >= 0.6


def test_lists_will_do_for_quantiles():
    sigma = RandomBlur(distribution=[0.3, 0.3])(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), UNASKED).map
    assert torch.allclose(sigma, torch.tensor(0.3))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sigma_max": -1}, "sigma_max"),
        ({"sigma_min": 2.0}, "sigma_min"),
        ({"kernel_size": 6}, "kernel_size"),
        ({"field": "rows"}, "field"),
        ({"distribution": "normal"}, "distribution"),
        ({"distribution": "log-uniform"}, "sigma_min"),
        ({"distribution": [0.5, 0.1]}, "ascend"),
        ({"distribution": [0.5, 1.5]}, "within"),
        ({"distribution": [-0.5, 0.5]}, "within"),
        ({"distribution": [math.nan, 0.5]}, "quantiles"),
        ({"distribution": [0.5]}, "shape"),
        ({"distribution": torch.zeros(3, 4)}, "shape"),
    ],
)
def test_a_wrong_argument_of_blur_is_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        RandomBlur(**options)


def test_matching_needs_values_of_each_class():
    sigma = torch.rand(2, 1, 4, 4)
    with pytest.raises(ValueError, match="every class"):
        RandomBlur.matched(sigma, torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="levels"):
        RandomBlur.matched(sigma, levels=1)
    with pytest.raises(ValueError, match="sigma_max"):
        RandomBlur.matched(torch.zeros(2, 1, 4, 4))


@given(eps=st.floats(1e-3, 1), distribution=st.sampled_from(["sign", "uniform"]))
def test_noise_stays_within_eps(eps, distribution):
    images = torch.rand(2, 3, 8, 8).round(decimals=1)
    attack = RandomNoise(eps, distribution)(images, labels_for(images), UNASKED)
    assert attack.map.abs().max() <= eps + 1e-6
    assert attack.images.min() >= 0
    assert attack.images.max() <= 1


def test_noise_has_the_distribution_it_is_named_for():
    torch.manual_seed(0)
    images = torch.full((8, 3, 64, 64), 0.5)
    sign = RandomNoise(0.1)(images, labels_for(images), UNASKED).map
    uniform = RandomNoise(0.1, "uniform")(images, labels_for(images), UNASKED).map
    assert torch.allclose(sign.abs(), torch.tensor(0.1), atol=1e-6)
    assert sign.mean().abs() < 1e-3
    assert torch.allclose(uniform.flatten()[::3].quantile(LEVELS), 0.2 * LEVELS - 0.1, atol=3e-3)


@pytest.mark.parametrize(("options", "reason"), [({"eps": 0}, "eps"), ({"distribution": "cauchy"}, "distribution")])
def test_a_wrong_argument_of_noise_is_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        RandomNoise(**options)


def faint(count: int, height: int, width: int) -> torch.Tensor:
    """Images round grey: too faint for the clamp to [0, 1] to disturb the spectrum."""
    return 0.5 + 0.05 * torch.randn(count, 3, height, width).clamp(-3, 3)


@settings(max_examples=30, deadline=None)
@given(
    ratio=st.floats(0, 1),
    band=st.sampled_from(["low", "mid", "high", "all"]),
    height=st.integers(1, 17),
    width=st.integers(1, 17),
)
def test_each_frequency_is_kept_or_gone_and_the_mean_stays(ratio, band, height, width):
    images = 0.5 + 0.02 * (2 * torch.rand(2, 3, height, width) - 1)
    attack = RandomFrequencyMask(ratio, band)(images, labels_for(images), UNASKED)
    before, after = torch.fft.fft2(images.double()), torch.fft.fft2(attack.images.double())
    scale = before.abs().amax(dim=(-2, -1), keepdim=True) * 1e-5
    kept, gone = (after - before).abs() < scale, after.abs() < scale
    assert (kept | gone).all()
    assert kept[..., 0, 0].all()


@pytest.mark.parametrize(("band", "low", "high"), [("low", 0, 0.125), ("mid", 0.125, 0.375), ("high", 0.375, 9)])
def test_only_the_band_is_masked_and_by_the_ratio(band, low, high):
    torch.manual_seed(0)
    images = faint(64, 48, 48)
    attack = RandomFrequencyMask(0.3, band)(images, labels_for(images), UNASKED)
    spectrum = torch.fft.fft2(attack.images.double()).abs()
    radius = torch.hypot(torch.fft.fftfreq(48)[:, None], torch.fft.fftfreq(48))
    inside = (radius >= low) & (radius < high) & (radius > 0)
    gone = spectrum < 1e-3
    assert not gone[..., ~inside].any()
    assert gone[..., inside].float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert (gone == gone[:, :1]).all(), "the colours share one mask"


def test_everything_masked_leaves_the_mean():
    images = torch.rand(2, 3, 9, 8)
    attack = RandomFrequencyMask(1.0)(images, labels_for(images), UNASKED)
    assert torch.allclose(attack.images, images.mean(dim=(-2, -1), keepdim=True).expand_as(images), atol=1e-6)


@pytest.mark.parametrize(("options", "reason"), [({"ratio": 1.1}, "ratio"), ({"band": "treble"}, "band")])
def test_a_wrong_argument_of_masking_is_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        RandomFrequencyMask(**options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("control", [RandomNoise(), RandomFrequencyMask(), RandomBlur(), RandomRestore()])
def test_half_precision_stays_half(control, dtype):
    attack = control(torch.rand(2, 3, 16, 16).to(dtype), torch.tensor([0, 1]), UNASKED)
    assert attack.images.dtype == dtype
    assert attack.images.isfinite().all()


def test_quantiles_are_of_all_values():
    assert quantiles(torch.arange(101.0).flip(0).view(1, 1, 101, 1), 5).tolist() == [0, 25, 50, 75, 100]
    # Of a grid no phase is passed over, however many there are; and the last place is the last value's.
    grid = torch.arange(4.0).repeat(100_000)
    assert quantiles(grid, 5).tolist() == [0, 1, 2, 2, 3]
    assert quantiles(torch.ones(1).expand(2**25), 3).tolist() == [1, 1, 1]
