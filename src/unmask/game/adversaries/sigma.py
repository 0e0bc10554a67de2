"""What every blur shares: the kernel size that follows from a bound on sigma, and random fields of sigma."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

#: How a random field varies: one value an image, smoothly over the image, or independently at each pixel.
Field = Literal["image", "smooth", "pixel"]


def kernel_size_for(sigma_max: float) -> int:
    """The odd kernel size in pixels that goes with sigma up to ``sigma_max`` pixels.

    The rule: the smallest odd number that is at least ``3 * sigma_max``, and at least 3. So 3 up to 1 px (the
    published window), 5 up to 1.67 px, 7 up to 2.33 px. The window is cut at 1.5 sigma for the strongest blur
    allowed, where the weight along an axis has fallen to a third, and is generous for every milder one.

    Raises:
        ValueError: ``sigma_max`` is not positive and finite.
    """
    if not 0 < sigma_max < math.inf:
        raise ValueError(f"sigma_max must be a positive number of pixels, got {sigma_max}")
    width = max(3, math.ceil(3 * sigma_max - 1e-9))
    return width + 1 - width % 2


def checked_kernel_size(kernel_size: int | None, sigma_max: float) -> int:
    """``kernel_size`` if it is given and odd and at least 3, else what follows from ``sigma_max``."""
    if kernel_size is None:
        return kernel_size_for(sigma_max)
    if not isinstance(kernel_size, int) or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be an odd whole number of at least 3, got {kernel_size}")
    return kernel_size


def check_field(field: str, cell: int) -> None:
    """Refuse an unknown kind of field, or a cell below one pixel."""
    if field not in get_args(Field):
        raise ValueError(f"field must be one of {', '.join(get_args(Field))}, got {field!r}")
    if not isinstance(cell, int) or cell < 1:
        raise ValueError(f"cell must be a whole number of at least 1 pixel, got {cell}")


def quantiles(values: Tensor, levels: int) -> Tensor:
    """(levels,) values at evenly spaced shares of all, from the least to the largest, float32.

    Not torch.quantile, which refuses more than 16 million values; and all of them, since every n-th pixel of an
    upsampled map may lie at the same place of its grid.
    """
    ordered = values.detach().flatten().float().sort().values
    # In float32 the last place of many values would be rounded to one behind it.
    places = torch.linspace(0, len(ordered) - 1, levels, dtype=torch.float64).round().long()
    return ordered[places.to(ordered.device)]


def uniform_field(images: Tensor, field: Field, cell: int = 16) -> Tensor:
    """A random map (B, 1, H, W) whose every pixel is uniform on [0, 1], whatever the field.

    The smooth one interpolates normal values ``cell`` pixels apart, divides by the standard deviation that
    the interpolation leaves at each pixel, and takes the normal distribution function: neighbours are
    alike, and yet the distribution at each pixel is exactly uniform.
    """
    batch, _, height, width = images.shape
    if field == "image":
        return torch.rand_like(images[:, :1, :1, :1]).expand(-1, -1, height, width).contiguous()
    if field == "pixel":
        return torch.rand_like(images[:, :1])
    rows, columns = _hats(height, cell, images), _hats(width, cell, images)
    nodes = torch.randn_like(images.new_empty(batch, 1, rows.shape[1], columns.shape[1]))
    with torch.autocast(images.device.type, enabled=False):  # which would multiply in half precision
        return torch.special.ndtr(rows @ nodes @ columns.T)


def _hats(length: int, cell: int, like: Tensor) -> Tensor:
    """Linear interpolation from nodes ``cell`` pixels apart to ``length`` pixels, rows of unit L2 norm."""
    pixels = torch.arange(length, device=like.device, dtype=like.dtype) / cell
    nodes = torch.arange((length - 1) // cell + 2, device=like.device, dtype=like.dtype)
    weights = (1 - (pixels[:, None] - nodes).abs()).clamp(min=0)
    return weights / weights.norm(dim=1, keepdim=True)
