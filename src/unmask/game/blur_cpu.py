"""The pixel-wise Gaussian blur on the CPU: tensors in, fused kernels over all threads, tensors out.

The kernels are Numba's, because a wheel of pure Python then runs at the speed of C on every machine without a
compiler. One set serves every kernel size and memory layout, another the 3 x 3 window on rows without gaps: each is
compiled once a dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.game.blur_cpu_3x3 import blur_rows_3x3, sigma_gradient_rows_3x3
from unmask.game.blur_cpu_kernels import blur_rows, contract_rows, image_gradient_rows, sigma_gradient_rows
from unmask.game.threads import in_parallel

#: Numbers of one block of rows, a thread's unit of work: small enough to share evenly, large enough to call.
BLOCK = 98_304


def blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The blur of x (B, C, H, W) by sigma (B, 1, H, W), of shapes already checked.

    Raises:
        ValueError: sigma has negative values.
    """
    return _blur(x, sigma, kernel_size, slope=x.new_empty((0, 0, 0, 0)))


def blur_with_slope(x: Tensor, sigma: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    """The same, and its derivative towards sigma, (B, C, H, W)."""
    slope = torch.empty_like(x)
    return _blur(x, sigma, kernel_size, slope), slope


def _blur(x: Tensor, sigma: Tensor, kernel_size: int, slope: Tensor) -> Tensor:
    """The blur; a slope that is not empty is filled on the way."""
    out = torch.empty_like(x)
    tensors = (x, in_precision_of(x, sigma), out, slope)
    unit = row_unit(x, out) if kernel_size == 3 else 0
    if unit:
        negative = over_rows(blur_rows_3x3, tensors, kernel_size, unit)
    else:
        negative = over_rows(blur_rows, tensors, kernel_size)
    if any(negative):
        raise ValueError("sigma has negative values: it is a standard deviation in pixels, >= 0")
    return out


def blur_gradient_to_sigma(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The gradient (B, 1, H, W) towards sigma, from that towards the blurred image (B, C, H, W)."""
    spread = in_precision_of(x, sigma)
    result = torch.empty_like(spread)
    tensors = (grad, x, spread, result)
    unit = row_unit(grad, x) if kernel_size == 3 else 0
    if unit:
        over_rows(sigma_gradient_rows_3x3, tensors, kernel_size, unit)
    else:
        over_rows(sigma_gradient_rows, tensors, kernel_size)
    return result.to(sigma.dtype)


def contract(grad: Tensor, slope: Tensor) -> Tensor:
    """The gradient (B, 1, H, W) towards sigma, from that towards the blurred image and the derivative kept."""
    result = torch.empty_like(grad[:, :1], memory_format=torch.contiguous_format)
    over_rows(contract_rows, (grad, slope, result), 3)
    return result


def row_unit(*tensors: Tensor) -> int:
    """Distance in memory between neighbours in a row: 1, or C where channels lie side by side; 0 if it is neither.

    The same for all of the tensors (B, C, H, W), in whose rows nothing else lies.
    """
    if all(tensor.stride(3) == 1 for tensor in tensors):
        return 1
    channels = tensors[0].shape[1]
    if all(tensor.stride(3) == channels and tensor.stride(1) == 1 for tensor in tensors):
        return channels
    return 0


def blur_gradient_to_image(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The gradient (B, C, H, W) towards x, from that towards the blurred image."""
    result = torch.empty_like(x)
    over_rows(image_gradient_rows, (grad, in_precision_of(x, sigma), result), kernel_size)
    return result


def in_precision_of(x: Tensor, sigma: Tensor) -> Tensor:
    """Sigma as the kernels compute: in the precision of x, at least float32."""
    return sigma.to(torch.promote_types(x.dtype, torch.float32))


def over_rows(kernel: Callable, tensors: tuple[Tensor, ...], kernel_size: int, *options: int) -> list[Any]:
    """Call a kernel for every block of rows of the images, on as many threads as torch uses.

    The first of the tensors has the shape of the images; the kernel takes the memory and strides of each.
    """
    batch, channels, height, width = tensors[0].shape
    if tensors[0].numel() == 0:
        return []
    memory = [part for tensor in tensors for part in (flat_memory(tensor), tensor.stride())]
    rows, columns = reflected(height, kernel_size), reflected(width, kernel_size)
    count = max(1, channels * height * width // BLOCK)
    step = max(kernel_size, -(-height // count))
    blocks = [(image, i, min(i + step, height)) for image in range(batch) for i in range(0, height, step)]
    return in_parallel(
        lambda block: kernel(*memory, (channels, height, width), rows, columns, *options, *block), blocks
    )


def flat_memory(x: Tensor) -> np.ndarray:
    """The memory from the first number of x to its last, as one flat array that shares it."""
    reach = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    extent = reach + 1 if x.numel() else 0
    flat = x.detach().as_strided((extent,), (1,))
    if x.dtype in (torch.bfloat16, torch.float16):
        flat = flat.view(torch.int16 if x.dtype == torch.bfloat16 else torch.uint16)
    return flat.numpy()


@lru_cache(maxsize=256)
def reflected(size: int, kernel_size: int) -> np.ndarray:
    """Where each index from -h to size + h - 1 lies after reflection at the borders, as often as it takes."""
    return np.pad(np.arange(size), kernel_size // 2, mode="reflect")
