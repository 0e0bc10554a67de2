"""The pixel-wise Gaussian blur in plain torch: any float dtype, any device, any number of derivatives.

It is what the fused kernels are checked against, and what runs where there is none. Autograd keeps an image for
every pair of distances, so that its memory grows with the kernel; theirs does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Up to this variance, in squared pixels, exp(-1 / (2 sigma^2)) is 0 even in float64.
NO_BLUR = 1e-4
# From this sigma on, in pixels, exp(-1 / (2 sigma^2)) is 1 even in float64; its square is finite in float32.
FULL_BLUR = 1e15


def blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The blur of x (B, C, H, W) by sigma (B, 1, H, W), of shapes already checked.

    Neighbours at the distances (+-u, +-v) and (+-v, +-u) share the weight a_u a_v, where a_u is proportional
    to exp(-u^2 / (2 sigma^2)), and are summed first, as differences from the pixel itself.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    image, radius = x.to(dtype), kernel_size // 2
    _, _, height, width = x.shape
    axis = axis_weights(sigma.to(dtype), radius)
    rows = image[:, :, reflected(height, radius, x.device)]
    padded = rows[:, :, :, reflected(width, radius, x.device)]

    def neighbours(u: int, v: int) -> Tensor:
        """Sum of the differences at the distances (+-u, +-v)."""
        total = torch.zeros_like(image)
        for row in {radius - v, radius + v}:
            for column in {radius - u, radius + u}:
                total = total + (padded[:, :, row : row + height, column : column + width] - image)
        return total

    change = torch.zeros_like(image)
    for v in range(1, radius + 1):
        for u in range(v + 1):
            differences = neighbours(u, v) if u == v else neighbours(u, v) + neighbours(v, u)
            change = change + axis[u] * axis[v] * differences
    return (image + change).to(x.dtype)


def axis_weights(sigma: Tensor, radius: int) -> list[Tensor]:
    """The weights a_0 .. a_h along one axis, each shaped as sigma: a_0 + 2 a_1 + ... + 2 a_h = 1."""
    variance = sigma.clamp(-FULL_BLUR, FULL_BLUR).square()
    blurs = ~(variance <= NO_BLUR)  # a NaN blurs, to NaN
    half_precision = 0.5 / torch.where(blurs, variance, 1.0)
    powers = [torch.ones_like(sigma)]
    powers += [torch.where(blurs, torch.exp(-u * u * half_precision), 0.0) for u in range(1, radius + 1)]
    total = powers[0] + 2 * sum(powers[1:])
    return [power / total for power in powers]


def reflected(size: int, radius: int, device: torch.device) -> Tensor:
    """Where each index from -h to size + h - 1 lies after reflection at the borders, as often as it takes."""
    if size == 1:
        return torch.zeros(1 + 2 * radius, dtype=torch.long, device=device)
    period = 2 * (size - 1)
    index = torch.arange(-radius, size + radius, device=device) % period
    return torch.minimum(index, period - index)
