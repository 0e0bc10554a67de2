"""The pixel-wise Gaussian blur on the CPU: tensors in, fused kernels over all threads, tensors out.

The kernels are Numba's, because a wheel of pure Python then runs at the speed of C on every machine without a
compiler. One of them serves every kernel size and memory layout, so that it is compiled once a dtype.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.game.blur_cpu_kernels import blur_rows, image_gradient_rows, sigma_gradient_rows

#: Numbers of one block of rows, a thread's unit of work: small enough to share evenly, large enough to call.
BLOCK = 98_304


def blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The blur of x (B, C, H, W) by sigma (B, 1, H, W), of shapes already checked.

    Raises:
        ValueError: sigma has negative values.
    """
    out = torch.empty_like(x)
    if any(over_rows(blur_rows, (x, in_precision_of(x, sigma), out), kernel_size)):
        raise ValueError("sigma has negative values: it is a standard deviation in pixels, >= 0")
    return out


def blur_gradient_to_sigma(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The gradient (B, 1, H, W) towards sigma, from that towards the blurred image (B, C, H, W)."""
    result = torch.empty_like(sigma, dtype=computed_in(x))
    over_rows(sigma_gradient_rows, (grad, x, in_precision_of(x, sigma), result), kernel_size)
    return result.to(sigma.dtype)


def blur_gradient_to_image(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The gradient (B, C, H, W) towards x, from that towards the blurred image."""
    result = torch.empty_like(x)
    over_rows(image_gradient_rows, (grad, in_precision_of(x, sigma), result), kernel_size)
    return result


def computed_in(x: Tensor) -> torch.dtype:
    """float64 for float64 images, float32 for all others."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def in_precision_of(x: Tensor, sigma: Tensor) -> Tensor:
    return sigma.to(computed_in(x))


def over_rows(kernel: Callable, tensors: tuple[Tensor, ...], kernel_size: int) -> list[Any]:
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
    return in_parallel(lambda block: kernel(*memory, (channels, height, width), rows, columns, *block), blocks)


def flat_memory(x: Tensor) -> np.ndarray:
    """The memory from the first number of x to its last, as one flat array that shares it."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    flat = x.detach().as_strided((extent,), (1,))
    if x.dtype in (torch.bfloat16, torch.float16):
        flat = flat.view(torch.int16 if x.dtype == torch.bfloat16 else torch.uint16)
    return flat.numpy()


@lru_cache(maxsize=256)
def reflected(size: int, kernel_size: int) -> np.ndarray:
    """Where each index from -h to size + h - 1 lies after reflection at the borders, as often as it takes."""
    return np.pad(np.arange(size), kernel_size // 2, mode="reflect")


def in_parallel(work: Callable, items: list) -> list[Any]:
    """[work(item) for item in items] on torch.get_num_threads() threads, the calling one among them.

    Threads take the next item as they become free, and nobody waits for one that has not started: callers on
    several threads share the pool without harm.
    """
    threads = min(torch.get_num_threads(), len(items))
    turns = itertools.count()  # next() is atomic

    def take_turns() -> list[Any]:
        results = []
        while (turn := next(turns)) < len(items):
            results.append(work(items[turn]))
        return results

    if threads == 1:
        return take_turns()
    helpers = [pool(threads - 1, os.getpid()).submit(take_turns) for _ in range(threads - 1)]
    results = take_turns()
    for helper in helpers:
        if not helper.cancel():
            results += helper.result()
    return results


@cache
def pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The helper threads of this process: a forked child has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="unmask-blur")
