"""Kernels of the fused batch normalisation: moments, output, and the two passes back.

Every kernel works on rows ``first .. last`` of a matrix (rows, width) of float32: an image batch in channels-last
memory, several pixels to a row, so that the inner loop runs over columns and vectorises whatever the number of
channels. Per-channel vectors are laid out alike, repeated along the row. ``low`` and ``high`` are the bounds of the
activation, infinite where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray

#: Rows that are summed in float32 before the sum goes on in float64.
RUN = 64


def compiled(function: Callable) -> Callable:
    """Compile at first use, without the GIL; cached on disk where a folder can be written."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)


@compiled
def moment_rows(x: Array, shift: Array, total: Array, square: Array, first: int, last: int) -> None:
    """Add the sums of (x - shift) and (x - shift)^2 to the float64 vectors ``total`` and ``square``."""
    width = x.shape[1]
    some, squares = np.empty(width, np.float32), np.empty(width, np.float32)
    for start in range(first, last, RUN):
        end = min(start + RUN, last)
        some[:] = 0
        squares[:] = 0
        i = start
        while i + 3 < end:
            for c in range(width):
                a, b = x[i, c] - shift[c], x[i + 1, c] - shift[c]
                d, e = x[i + 2, c] - shift[c], x[i + 3, c] - shift[c]
                some[c] += (a + b) + (d + e)
                squares[c] += (a * a + b * b) + (d * d + e * e)
            i += 4
        while i < end:
            for c in range(width):
                a = x[i, c] - shift[c]
                some[c] += a
                squares[c] += a * a
            i += 1
        for c in range(width):
            total[c] += some[c]
            square[c] += squares[c]


@compiled
def output_rows(
    x: Array,
    out: Array,
    mean: Array,
    scale: Array,
    bias: Array,
    low: np.float32,
    high: np.float32,
    first: int,
    last: int,
) -> None:
    """out = activation(scale (x - mean) + bias)."""
    for i in range(first, last):
        for c in range(x.shape[1]):
            value = scale[c] * (x[i, c] - mean[c]) + bias[c]
            # In this order a NaN stays one.
            value = low if value < low else value
            out[i, c] = high if value > high else value


@compiled
def gradient_sum_rows(
    grad: Array,
    x: Array,
    mean: Array,
    scale: Array,
    bias: Array,
    low: np.float32,
    high: np.float32,
    total: Array,
    product: Array,
    first: int,
    last: int,
) -> None:
    """Add the sums of g and g (x - mean) to ``total`` and ``product``; g is the gradient that passes the activation."""
    width, zero = x.shape[1], np.float32(0)
    some, products = np.empty(width, np.float32), np.empty(width, np.float32)
    for start in range(first, last, RUN):
        end = min(start + RUN, last)
        some[:] = 0
        products[:] = 0
        i = start
        while i + 1 < end:
            for c in range(width):
                a, b = x[i, c] - mean[c], x[i + 1, c] - mean[c]
                u, v = scale[c] * a + bias[c], scale[c] * b + bias[c]
                g, h = grad[i, c], grad[i + 1, c]
                g = g if (u > low) & (u < high) else zero
                h = h if (v > low) & (v < high) else zero
                some[c] += g + h
                products[c] += g * a + h * b
            i += 2
        while i < end:
            for c in range(width):
                a = x[i, c] - mean[c]
                u = scale[c] * a + bias[c]
                g = grad[i, c]
                g = g if (u > low) & (u < high) else zero
                some[c] += g
                products[c] += g * a
            i += 1
        for c in range(width):
            total[c] += some[c]
            product[c] += products[c]


@compiled
def gradient_rows(
    grad: Array,
    x: Array,
    out: Array,
    mean: Array,
    scale: Array,
    bias: Array,
    low: np.float32,
    high: np.float32,
    offset: Array,
    slope: Array,
    first: int,
    last: int,
) -> None:
    """out = scale g - offset - slope (x - mean): the gradient towards x; offset and slope are 0 in eval mode."""
    zero = np.float32(0)
    for i in range(first, last):
        for c in range(x.shape[1]):
            a = x[i, c] - mean[c]
            u = scale[c] * a + bias[c]
            g = grad[i, c]
            g = g if (u > low) & (u < high) else zero
            out[i, c] = scale[c] * g - offset[c] - slope[c] * a
