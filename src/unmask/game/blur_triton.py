"""The pixel-wise Gaussian blur on a GPU: the output and both gradients, each one fused Triton kernel.

With a_u = exp(-u^2 / (2 sigma^2)) and z the sum of a_u over u = -h .. h, as in the other implementations::

    out             = x0 + sum_uv a_u a_v (x_uv - x0) / z^2
    d out / d sigma =      sum_uv a_u a_v (u^2 + v^2 - mean) (x_uv - x0) / (z^2 sigma^3)

A program takes a block of pixels of one image, all channels: the weights are computed once a pixel, in registers, and
nothing but inputs and results is in memory. The gradient towards x is gathered: every pixel collects from the pixels
around it whose windows reach it, directly or reflected at a border, so that there are no atomics and the result is the
same each time. Tensors may have any strides. Numbers are computed in float32, in float64 for float64.

A border reflects once: the window's radius must be smaller than height and width. The operator leaves the
rest to plain torch.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from triton import language as tl

#: Channels of a block; more are taken in turn.
CHANNELS = 4
CONFIGS = [
    triton.Config({"BLOCK": block}, num_warps=warps)
    for block, warps in [(64, 2), (128, 2), (128, 4), (256, 4), (256, 8), (512, 8)]
]


def tuned(kernel: Any) -> Any:
    """Choose the block size by measurement, once a width, number of channels and radius; the interpreter takes one."""
    compiled = isinstance(kernel, triton.runtime.JITFunction)
    configs = CONFIGS if compiled else [triton.Config({"BLOCK": 128})]
    return triton.autotune(configs, key=["width", "channels", "RADIUS"])(kernel)


@triton.jit
def reflected(i, size):
    """Where i from 1 - size to 2 size - 2 lies after reflection without repeating the edge."""
    i = tl.abs(i)
    return tl.minimum(i, 2 * (size - 1) - i)


@triton.jit
def precision_of(sigma):
    """q such that exp2(-u^2 q) is a_u, and where there is no blur at all; a NaN blurs, to NaN."""
    variance = sigma * sigma
    still = variance <= 1e-4  # squared pixels: up to here a_1 is 0 even in float64
    return 0.7213475204444817 / tl.where(still, 1.0, variance), still  # log2(e) / 2


@triton.jit
def axis_weight(distance, q, still):
    """a_u at a distance u that is a number of the program; 0 where there is no blur and u is not 0."""
    squared = distance * distance
    weight = tl.exp2(-squared * q)
    return tl.where(still, tl.where(squared == 0.0, 1.0, 0.0), weight)


@triton.jit
def axis_sums(q, still, RADIUS: tl.constexpr):
    """The sum of a_u over -h .. h, and that of u^2 a_u."""
    total = tl.zeros_like(q) + 1.0
    moment = tl.zeros_like(q)
    for u in tl.static_range(1, RADIUS + 1):
        weight = tl.where(still, 0.0, tl.exp2(-(u * u) * q))
        total += 2.0 * weight
        moment += 2.0 * (u * u) * weight
    return total, moment


@triton.jit
def place(height, width, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """Image, rows, columns and mask of this program's pixels."""
    tiles = tl.cdiv(height * width, BLOCK)
    image = (tl.program_id(0) // tiles).to(INDEX)
    pixel = (tl.program_id(0) % tiles) * BLOCK + tl.arange(0, BLOCK)
    return image, pixel // width, pixel % width, pixel < height * width


@tuned
@triton.jit
def blur_kernel(
    x, x_b, x_c, x_i, x_j, sigma, sigma_b, sigma_i, sigma_j, out, out_b, out_c, out_i, out_j,
    channels, height, width,
    RADIUS: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = blur of x."""
    image, i, j, inside = place(height, width, BLOCK, INDEX)
    where = image * sigma_b + i.to(INDEX) * sigma_i + j.to(INDEX) * sigma_j
    q, still = precision_of(tl.load(sigma + where, mask=inside, other=1.0).to(COMPUTE))
    total, _ = axis_sums(q, still, RADIUS)
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)
        mask = inside[:, None] & (channel < channels)[None, :]
        planes = image * x_b + channel.to(INDEX)[None, :] * x_c
        centre = tl.load(x + planes + (i.to(INDEX) * x_i + j.to(INDEX) * x_j)[:, None], mask=mask, other=0.0)
        centre = centre.to(COMPUTE)
        change = tl.zeros_like(centre)
        for v in range(-RADIUS, RADIUS + 1):
            row = reflected(i + v, height).to(INDEX) * x_i
            line = tl.zeros_like(centre)
            for side in tl.static_range(0, 2 * RADIUS + 1):
                column = reflected(j + (side - RADIUS), width).to(INDEX) * x_j
                neighbour = tl.load(x + planes + (row + column)[:, None], mask=mask, other=0.0).to(COMPUTE)
                distance = (side - RADIUS) * 1.0
                line += axis_weight(distance, q, still)[:, None] * (neighbour - centre)
            change += axis_weight(v * 1.0, q, still)[:, None] * line
        result = centre + change / (total * total)[:, None]
        target = image * out_b + channel.to(INDEX)[None, :] * out_c
        target += (i.to(INDEX) * out_i + j.to(INDEX) * out_j)[:, None]
        tl.store(out + target, result.to(out.dtype.element_ty), mask=mask)


@tuned
@triton.jit
def sigma_gradient_kernel(
    grad, grad_b, grad_c, grad_i, grad_j, x, x_b, x_c, x_i, x_j,
    sigma, sigma_b, sigma_i, sigma_j, out, out_b, out_i, out_j,
    channels, height, width,
    RADIUS: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = sum over channels of grad * d blur / d sigma."""
    image, i, j, inside = place(height, width, BLOCK, INDEX)
    where = image * sigma_b + i.to(INDEX) * sigma_i + j.to(INDEX) * sigma_j
    spread = tl.load(sigma + where, mask=inside, other=1.0).to(COMPUTE)
    q, still = precision_of(spread)
    total, moment = axis_sums(q, still, RADIUS)
    mean = 2.0 * moment / total  # of u^2 + v^2 over the window
    cubed = tl.where(still, 1.0, spread * spread * spread)
    scale = tl.where(still, 0.0, 1.0 / cubed) / (total * total)
    result = tl.zeros_like(q)
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)
        mask = inside[:, None] & (channel < channels)[None, :]
        planes = image * x_b + channel.to(INDEX)[None, :] * x_c
        centre = tl.load(x + planes + (i.to(INDEX) * x_i + j.to(INDEX) * x_j)[:, None], mask=mask, other=0.0)
        centre = centre.to(COMPUTE)
        source = image * grad_b + channel.to(INDEX)[None, :] * grad_c
        source += (i.to(INDEX) * grad_i + j.to(INDEX) * grad_j)[:, None]
        upstream = tl.load(grad + source, mask=mask, other=0.0).to(COMPUTE)
        slope = tl.zeros_like(centre)
        for v in range(-RADIUS, RADIUS + 1):
            row = reflected(i + v, height).to(INDEX) * x_i
            line = tl.zeros_like(centre)
            for side in tl.static_range(0, 2 * RADIUS + 1):
                column = reflected(j + (side - RADIUS), width).to(INDEX) * x_j
                neighbour = tl.load(x + planes + (row + column)[:, None], mask=mask, other=0.0).to(COMPUTE)
                distance = (side - RADIUS) * 1.0
                weight = axis_weight(distance, q, still) * (distance * distance + v * v - mean)
                line += weight[:, None] * (neighbour - centre)
            slope += axis_weight(v * 1.0, q, still)[:, None] * line
        result += tl.sum(upstream * slope, axis=1)
    target = image * out_b + i.to(INDEX) * out_i + j.to(INDEX) * out_j
    tl.store(out + target, (result * scale).to(out.dtype.element_ty), mask=inside)


@triton.jit
def arriving(source, target, size, q, still, RADIUS: tl.constexpr):
    """What the window along one axis at `source` takes from `target`: directly, and reflected at either border."""
    direct = axis_weight((target - source).to(q.dtype), q, still)
    low = target + source  # the distance to the mirror image before the first pixel
    mirrored = axis_weight(low.to(q.dtype), q, still)
    direct += tl.where((target > 0) & (low <= RADIUS), mirrored, 0.0)
    high = 2 * (size - 1) - target - source  # and behind the last
    mirrored = axis_weight(high.to(q.dtype), q, still)
    return direct + tl.where((target < size - 1) & (high <= RADIUS), mirrored, 0.0)


@tuned
@triton.jit
def image_gradient_kernel(
    grad, grad_b, grad_c, grad_i, grad_j, sigma, sigma_b, sigma_i, sigma_j, out, out_b, out_c, out_i, out_j,
    channels, height, width,
    RADIUS: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = the transposed blur of grad, gathered."""
    image, i, j, inside = place(height, width, BLOCK, INDEX)
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)
        planes = image * grad_b + channel.to(INDEX)[None, :] * grad_c
        result = tl.zeros([BLOCK, CHANNELS], COMPUTE)
        for v in range(-RADIUS, RADIUS + 1):
            row = i + v
            for side in tl.static_range(0, 2 * RADIUS + 1):
                column = j + (side - RADIUS)
                there = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
                where = image * sigma_b + row.to(INDEX) * sigma_i + column.to(INDEX) * sigma_j
                q, still = precision_of(tl.load(sigma + where, mask=there, other=1.0).to(COMPUTE))
                total, _ = axis_sums(q, still, RADIUS)
                weight = arriving(row, i, height, q, still, RADIUS) * arriving(column, j, width, q, still, RADIUS)
                source = planes + (row.to(INDEX) * grad_i + column.to(INDEX) * grad_j)[:, None]
                mask = there[:, None] & (channel < channels)[None, :]
                upstream = tl.load(grad + source, mask=mask, other=0.0).to(COMPUTE)
                result += (weight / (total * total))[:, None] * upstream
        target = image * out_b + channel.to(INDEX)[None, :] * out_c
        target += (i.to(INDEX) * out_i + j.to(INDEX) * out_j)[:, None]
        mask = inside[:, None] & (channel < channels)[None, :]
        tl.store(out + target, result.to(out.dtype.element_ty), mask=mask)


# --- tensors in, tensors out --------------------------------------------------------------------------------


def blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The blur of x (B, C, H, W) by sigma (B, 1, H, W), of shapes already checked."""
    out = torch.empty_like(x)
    launch(blur_kernel, x, kernel_size, (x, sigma[:, 0], out))
    return out


def blur_gradient_to_sigma(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The gradient (B, 1, H, W) towards sigma, from that towards the blurred image (B, C, H, W)."""
    out = torch.empty_like(sigma)
    launch(sigma_gradient_kernel, x, kernel_size, (grad, x, sigma[:, 0], out[:, 0]))
    return out


def blur_gradient_to_image(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The gradient (B, C, H, W) towards x, from that towards the blurred image."""
    out = torch.empty_like(x)
    launch(image_gradient_kernel, x, kernel_size, (grad, sigma[:, 0], out))
    return out


def launch(kernel: Any, x: Tensor, kernel_size: int, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel over all pixels of all images x (B, C, H, W); each tensor goes with its strides."""
    batch, channels, height, width = x.shape
    if x.numel() == 0:
        return
    reach = max(sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)) for t in tensors)
    arguments = [part for tensor in tensors for part in (tensor, *tensor.stride())]
    # One dimension of programs: the others end at 65,535.
    with torch.cuda.device_of(x):
        kernel[lambda options: (batch * triton.cdiv(height * width, options["BLOCK"]),)](
            *arguments,
            channels,
            height,
            width,
            RADIUS=kernel_size // 2,
            CHANNELS=min(CHANNELS, triton.next_power_of_2(channels)),
            COMPUTE=tl.float64 if x.dtype == torch.float64 else tl.float32,
            INDEX=tl.int64 if reach >= 2**31 else tl.int32,
        )
