from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.game.adversaries.sigma import kernel_size_for, uniform_field


@pytest.mark.parametrize(("sigma_max", "size"), [(0.1, 3), (1, 3), (1.01, 5), (1.5, 5), (2, 7), (5, 15)])
def test_kernel_sizes(sigma_max, size):
    assert kernel_size_for(sigma_max) == size


@given(st.floats(1e-3, 100), st.floats(1e-3, 100))
def test_kernel_size_is_odd_covers_three_sigma_and_grows(first, second):
    size = kernel_size_for(first)
    assert size % 2 == 1
    assert size >= 3 * first - 1e-6
    assert size < max(3, 3 * first + 2) + 1e-6
    assert (kernel_size_for(second) - size) * (second - first) >= 0


@pytest.mark.parametrize("sigma_max", [0, -1, float("inf"), float("nan")])
def test_a_bound_must_be_positive_and_finite(sigma_max):
    with pytest.raises(ValueError, match="sigma_max"):
        kernel_size_for(sigma_max)


@pytest.mark.parametrize("field", ["image", "smooth", "pixel"])
def test_every_pixel_of_a_field_is_uniform(field):
    torch.manual_seed(0)
    drawn = uniform_field(torch.empty(4000, 3, 9, 11), field, cell=4)
    assert drawn.shape == (4000, 1, 9, 11)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    # 4,000 draws a pixel: the largest gap to the uniform distribution stays below 3 / sqrt(4000).
    ordered = drawn[:, 0].flatten(1).sort(dim=0).values
    gap = (ordered - torch.linspace(0, 1, 4000)[:, None]).abs().max()
    assert gap < 0.048


def test_fields_differ_in_how_they_vary():
    torch.manual_seed(0)
    images = torch.empty(200, 3, 32, 32)
    step = {
        field: uniform_field(images, field, cell=8).diff(dim=-1).abs().mean().item()
        for field in ("image", "smooth", "pixel")
    }
    assert step["image"] == 0
    assert 0 < step["smooth"] < 0.1
    assert step["pixel"] == pytest.approx(1 / 3, abs=0.01)
