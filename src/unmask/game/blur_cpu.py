"""The fused CPU kernels of the pixel-wise Gaussian blur, compiled by Numba at first use.

Numba, because a wheel of pure Python then runs at the speed of C on every machine without a compiler. The three
kernels serve every kernel size and memory layout; they are compiled once a dtype and cached on disk.

All three share one form. With t = exp(-1 / (2 sigma^2)) and a_u = t^(u^2) / sum_w t^(w^2), the weight of the neighbour
at (u, v) is the product a_u a_v, and the neighbours at (+-u, +-v) and (+-v, +-u) share it, so that they are summed
first, as differences from the centre x0 (nothing is lost to rounding where an image is smooth)::

    out         = x0 + sum_{u <= v} a_u a_v (sum of the neighbours - n x0)
    d out / d s =      sum_{u <= v} (b_u a_v + a_u b_v) (sum of the neighbours - n x0),      b_u = d a_u / d s

Backward recomputes the differences from x rather than load them: memory is dearer than arithmetic, and nothing but the
inputs is kept between the passes. Scratch is a few rows a thread.

Numba knows neither bfloat16 nor float16: they travel as int16 and uint16, and are widened to float32 row by row.
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
from numba import njit, types
from numba.extending import overload
from torch import Tensor

Array = np.ndarray
Strides = tuple[int, int, int, int]


def compiled(function: Callable) -> Callable:
    """Compile at first use and cache on disk: beside this file, or else in the user's cache, or else not at all."""
    # No reassociation: the differences from the centre must stay differences. NaN and infinity are respected.
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written to
        return njit(**options)(function)


#: Numbers of one tile: its dozen rows of scratch stay in the first-level cache.
TILE = 1_536
#: Numbers of one block of rows, the unit of work of a thread: small enough to share evenly, large enough to call.
BLOCK = 65_536


# --- numbers: load and store by storage dtype, one exponential ---------------------------------------------------


def load(array: np.ndarray, i: int) -> float:
    """array[i] as a number to compute with."""
    raise NotImplementedError("compiled code only")


def store(array: np.ndarray, i: int, value: float) -> None:
    """array[i] = value, rounded to nearest even."""
    raise NotImplementedError("compiled code only")


def exponential(x: float) -> float:
    """exp(x) for x <= 0, in a form that vectorises."""
    raise NotImplementedError("compiled code only")


@overload(load, strict=False)
def _load(array: Any, i: Any) -> Callable:
    if array.dtype == types.int16:  # bfloat16: the upper half of a float32

        def load_bfloat16(array: Any, i: int) -> Any:
            return np.uint32(np.uint32(np.uint16(array[i])) << np.uint32(16)).view(np.float32)

        return load_bfloat16
    if (
        array.dtype == types.uint16
    ):  # float16: rebias the exponent by a product, which is exact for subnormals too

        def load_float16(array: Any, i: int) -> Any:
            half = np.uint32(array[i])
            magnitude = half & np.uint32(0x7FFF)
            wide = np.uint32(magnitude << np.uint32(13)).view(np.float32) * np.float32(2.0**112)
            bits = np.float32(wide).view(np.uint32)
            if magnitude >= np.uint32(0x7C00):
                bits = bits | np.uint32(0x7F800000)
            return np.uint32(bits | ((half & np.uint32(0x8000)) << np.uint32(16))).view(np.float32)

        return load_float16
    return lambda array, i: array[i]


@overload(store, strict=False)
def _store(array: Any, i: Any, value: Any) -> Callable:
    if array.dtype == types.int16:

        def store_bfloat16(array: Any, i: int, value: Any) -> None:
            bits = np.float32(value).view(np.uint32)
            rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            if (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000):
                rounded = bits | np.uint32(0x400000)  # a NaN stays one
            array[i] = np.int16(np.uint16(rounded >> np.uint32(16)))

        return store_bfloat16
    if array.dtype == types.uint16:

        def store_float16(array: Any, i: int, value: Any) -> None:
            bits = np.float32(value).view(np.uint32)
            magnitude = bits & np.uint32(0x7FFFFFFF)
            # Normal numbers: rebias the exponent from 127 to 15, round the 13 bits that go.
            normal = (
                magnitude
                - np.uint32(112 << 23)
                + np.uint32(0xFFF)
                + ((magnitude >> np.uint32(13)) & np.uint32(1))
            )
            half = normal >> np.uint32(13)
            if magnitude < np.uint32(113 << 23):  # subnormal: the adder of 0.5 does shift and rounding
                shifted = np.uint32(magnitude).view(np.float32) + np.float32(0.5)
                half = np.float32(shifted).view(np.uint32) - np.uint32(126 << 23)
            if magnitude >= np.uint32(143 << 23):  # 2^16 and above: infinity
                half = np.uint32(0x7C00)
            if magnitude > np.uint32(0x7F800000):
                half = np.uint32(0x7E00)
            array[i] = np.uint16(half | ((bits >> np.uint32(16)) & np.uint32(0x8000)))

        return store_float16

    def store_as_is(array: Any, i: int, value: Any) -> None:
        array[i] = value

    return store_as_is


@overload(exponential, strict=False)
def _exponential(x: Any) -> Callable:
    if x == types.float64:
        return lambda x: np.exp(x)

    def exponential_float32(x: Any) -> Any:
        # exp(x) = 2^n 2^f, |f| <= 1/2: n goes into the exponent's bits, 2^f is a Taylor polynomial, exact to 2e-8.
        y = x * np.float32(1.4426950408889634)
        n = np.floor(max(y, np.float32(-126.0)) + np.float32(0.5))
        f = (y - n) * np.float32(0.6931471805599453)
        p = np.float32(1 / 5040)
        p = p * f + np.float32(1 / 720)
        p = p * f + np.float32(1 / 120)
        p = p * f + np.float32(1 / 24)
        p = p * f + np.float32(1 / 6)
        p = p * f + np.float32(0.5)
        p = p * f + np.float32(1)
        p = p * f + np.float32(1)
        result = p * np.uint32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
        return np.float32(0) if y < np.float32(-126.0) else result

    return exponential_float32


# --- tiles: a few rows laid end to end, so that every loop below is one long vector loop -------------------------
#
# In a tile, rows are `pitch` = W + 2 h numbers apart, with h of margin at both ends, so that every neighbour is a constant
# shift away. Weights and results lack the very first margin. What falls between the rows of a result is computed along
# and never read. Tensors come as flat memory with four strides: nothing is copied, whatever the memory format.


@compiled
def lay_sigma(sigma: Array, start: int, strides: Strides, pitch: int, tile: Array, width: int) -> bool:
    """Lay rows of sigma into a tile without the first margin; True if one is negative."""
    negative = False
    for r in range((tile.size + pitch - 1) // pitch):
        row, line = sigma[start + r * strides[2] :], tile[r * pitch : r * pitch + width]
        read(row, strides[3], line)
        for j in range(width):
            negative |= line[j] < 0
    return negative


@compiled
def read(source: Array, stride: int, row: Array) -> None:
    """Fill row with every stride-th number of source."""
    if stride == 1:
        for j in range(row.size):
            row[j] = load(source, j)
    else:
        for j in range(row.size):
            row[j] = load(source, j * stride)


@compiled
def write(row: Array, target: Array, stride: int) -> None:
    """Put row into every stride-th number of target."""
    if stride == 1:
        for j in range(row.size):
            store(target, j, row[j])
    else:
        for j in range(row.size):
            store(target, j * stride, row[j])


@compiled
def lay_image(
    x: Array, start: int, strides: Strides, rows: Array, columns: Array, radius: int, tile: Array
) -> None:
    """Lay the named rows of a plane into a tile, one after the other; the margins take the columns named first and last."""
    pitch = columns.size
    for r in range(rows.size):
        line = tile[r * pitch : (r + 1) * pitch]
        inner = line[radius : pitch - radius]
        read(x[start + rows[r] * strides[2] :], strides[3], inner)
        for c in range(radius):
            line[c] = inner[columns[c]]
            line[pitch - 1 - c] = inner[columns[pitch - 1 - c]]


@compiled
def axis_weights(sigma: Array, axis: Array, work: Array) -> None:
    """Fill axis (h + 1, n) with a_0 .. a_h at each number of sigma (n). Leaves t in work[0]."""
    t, total, odd = work[0], work[1], work[2]
    one = sigma.dtype.type(1)
    minus_half = sigma.dtype.type(-0.5)
    centre, power = axis[0], axis[1]
    for j in range(t.size):
        t[j] = exponential(minus_half / (sigma[j] * sigma[j]))
    for j in range(t.size):
        power[j] = t[j]
        odd[j] = t[j] * t[j] * t[j]
        total[j] = one + t[j] + t[j]
    for u in range(2, axis.shape[0]):  # t^(u^2) is the product of the first u odd powers of t
        previous, power = axis[u - 1], axis[u]
        for j in range(t.size):
            power[j] = previous[j] * odd[j]
            odd[j] *= t[j] * t[j]
            total[j] += power[j] + power[j]
    for j in range(t.size):
        centre[j] = one / total[j]
    for u in range(1, axis.shape[0]):
        power = axis[u]
        for j in range(t.size):
            power[j] *= centre[j]


@compiled
def axis_slopes(sigma: Array, axis: Array, work: Array, slope: Array) -> None:
    """Fill slope (h + 1, n) with d a_u / d sigma = a_u (u^2 - mean of u^2 under a) / sigma^3; t is in work[0]."""
    t, mean, scale = work[0], work[1], work[2]
    zero = sigma.dtype.type(0)
    one = sigma.dtype.type(1)
    for j in range(t.size):  # t underflows to 0 long before 1 / sigma^3 overflows
        scale[j] = zero if t[j] == zero else one / (sigma[j] * sigma[j] * sigma[j])
        mean[j] = zero
    for u in range(1, axis.shape[0]):
        twice_square = sigma.dtype.type(2 * u * u)
        power = axis[u]
        for j in range(t.size):
            mean[j] += twice_square * power[j]
    for u in range(axis.shape[0]):
        square = sigma.dtype.type(u * u)
        power, row = axis[u], slope[u]
        for j in range(t.size):
            row[j] = power[j] * (square - mean[j]) * scale[j]


@compiled
def pair_weights(axis: Array, weights: Array) -> None:
    """Fill weights (pairs, n) with a_u a_v for the pairs (u, v) = (0, 1), (1, 1), (0, 2), (1, 2), (2, 2) ..."""
    pair = 0
    for v in range(1, axis.shape[0]):
        a_v = axis[v]
        for u in range(v + 1):
            a_u, row = axis[u], weights[pair]
            pair += 1
            for j in range(row.size):
                row[j] = a_u[j] * a_v[j]


@compiled
def pair_slopes(axis: Array, slope: Array, weights: Array) -> None:
    """Fill weights (pairs, n) with d (a_u a_v) / d sigma for the same pairs."""
    pair = 0
    for v in range(1, axis.shape[0]):
        a_v, b_v = axis[v], slope[v]
        for u in range(v + 1):
            a_u, b_u, row = axis[u], slope[u], weights[pair]
            pair += 1
            for j in range(row.size):
                row[j] = b_u[j] * a_v[j] + a_u[j] * b_v[j]


@compiled
def weigh_3x3(tile: Array, weights: Array, pitch: int, total: Array) -> None:
    """`weigh` for kernel_size 3, in one pass that keeps the sums in registers."""
    above, row, below = tile, tile[pitch:], tile[2 * pitch :]
    side, corner = weights[0], weights[1]
    for j in range(total.size):
        centre = row[j + 1]
        sides = ((row[j] - centre) + (row[j + 2] - centre)) + (
            (above[j + 1] - centre) + (below[j + 1] - centre)
        )
        above_corners = (above[j] - centre) + (above[j + 2] - centre)
        below_corners = (below[j] - centre) + (below[j + 2] - centre)
        total[j] = side[j] * sides + corner[j] * (above_corners + below_corners)


@compiled
def weigh(tile: Array, weights: Array, pitch: int, window: Array, total: Array) -> None:
    """Fill total (n) with the weighted sum, over all pairs u <= v, of the neighbours less the centre.

    `tile` holds the h rows above and below too; `window` (h + 1, R * pitch) is scratch for the sums of the rows at
    distances 0 .. h.
    """
    radius = window.shape[0] - 1
    n = total.size
    for v in range(radius + 1):
        above, below, folded = tile[(radius - v) * pitch :], tile[(radius + v) * pitch :], window[v]
        if v == 0:
            for j in range(folded.size):
                folded[j] = above[j]
        else:
            for j in range(folded.size):
                folded[j] = above[j] + below[j]
    total[:] = total.dtype.type(0)
    centre = window[0, radius:]
    pair = 0
    for v in range(1, radius + 1):
        for u in range(v + 1):
            weight = weights[pair]
            pair += 1
            left, right = window[v, radius - u :], window[v, radius + u :]
            above, below = window[u, radius - v :], window[u, radius + v :]
            if u == 0:
                for j in range(n):
                    twice = centre[j] + centre[j]
                    total[j] += weight[j] * ((left[j] - twice) + (above[j] + below[j] - twice))
            elif u == v:
                for j in range(n):
                    twice = centre[j] + centre[j]
                    total[j] += weight[j] * ((left[j] - twice) + (right[j] - twice))
            else:
                for j in range(n):
                    twice = centre[j] + centre[j]
                    sides = (left[j] - twice) + (right[j] - twice)
                    total[j] += weight[j] * (sides + ((above[j] - twice) + (below[j] - twice)))


@compiled
def add_shifted(product: Array, shift: int, padding: int, row: Array) -> None:
    """row[c] += product[c - shift] + product[c + shift], where product has `padding` zeros before its first number."""
    left, right = product[padding - shift :], product[padding + shift :]
    for c in range(row.size):
        row[c] += left[c] + right[c]


# --- the three kernels, each over the rows first .. last of one image --------------------------------------------
#
# shape is (C, H, W); rows and columns are the reflected indices of -h .. H + h - 1 and -h .. W + h - 1.


@compiled
def blur_rows(
    x: Array,
    x_strides: Strides,
    sigma: Array,
    sigma_strides: Strides,
    out: Array,
    out_strides: Strides,
    shape: tuple[int, int, int],
    rows: Array,
    columns: Array,
    image: int,
    first: int,
    last: int,
) -> bool:
    """out = blur of x; True if a sigma is negative."""
    channels, height, width = shape
    radius = (rows.size - height) // 2
    pitch = columns.size
    step = max(1, min(last - first, TILE // pitch))
    n = step * pitch - 2 * radius
    spread = np.zeros(n, sigma.dtype)
    axis = np.empty((radius + 1, n), sigma.dtype)
    work = np.empty((3, n), sigma.dtype)
    weights = np.empty((radius * (radius + 3) // 2, n), sigma.dtype)
    tile = np.empty((step + 2 * radius) * pitch, sigma.dtype)
    window = np.empty((radius + 1, step * pitch), sigma.dtype)
    total = np.empty(n, sigma.dtype)
    centre = tile[radius * pitch + radius :]
    negative = False
    for start in range(first, last, step):
        i = min(start, last - step)  # the last tile may overlap the one before it
        origin = image * sigma_strides[0] + i * sigma_strides[2]
        negative |= lay_sigma(sigma, origin, sigma_strides, pitch, spread, width)
        axis_weights(spread, axis, work)
        pair_weights(axis, weights)
        for channel in range(channels):
            plane = image * x_strides[0] + channel * x_strides[1]
            lay_image(x, plane, x_strides, rows[i : i + step + 2 * radius], columns, radius, tile)
            if radius == 1:
                weigh_3x3(tile, weights, pitch, total)
            else:
                weigh(tile, weights, pitch, window, total)
            for j in range(n):
                total[j] += centre[j]
            for r in range(step):
                target = image * out_strides[0] + channel * out_strides[1] + (i + r) * out_strides[2]
                write(total[r * pitch : r * pitch + width], out[target:], out_strides[3])
    return negative


@compiled
def sigma_gradient_rows(
    grad: Array,
    grad_strides: Strides,
    x: Array,
    x_strides: Strides,
    sigma: Array,
    sigma_strides: Strides,
    grad_sigma: Array,
    grad_sigma_strides: Strides,
    shape: tuple[int, int, int],
    rows: Array,
    columns: Array,
    image: int,
    first: int,
    last: int,
) -> None:
    """grad_sigma = sum over channels of grad * d out / d sigma."""
    channels, height, width = shape
    radius = (rows.size - height) // 2
    pitch = columns.size
    step = max(1, min(last - first, TILE // pitch))
    n = step * pitch - 2 * radius
    spread = np.zeros(n, sigma.dtype)
    axis = np.empty((radius + 1, n), sigma.dtype)
    slope = np.empty((radius + 1, n), sigma.dtype)
    work = np.empty((3, n), sigma.dtype)
    weights = np.empty((radius * (radius + 3) // 2, n), sigma.dtype)
    tile = np.empty((step + 2 * radius) * pitch, sigma.dtype)
    window = np.empty((radius + 1, step * pitch), sigma.dtype)
    upstream = np.zeros(n, sigma.dtype)
    change = np.empty(n, sigma.dtype)
    total = np.empty(n, sigma.dtype)
    for start in range(first, last, step):
        i = min(start, last - step)
        origin = image * sigma_strides[0] + i * sigma_strides[2]
        lay_sigma(sigma, origin, sigma_strides, pitch, spread, width)
        axis_weights(spread, axis, work)
        axis_slopes(spread, axis, work, slope)
        pair_slopes(axis, slope, weights)
        total[:] = total.dtype.type(0)
        for channel in range(channels):
            plane = image * x_strides[0] + channel * x_strides[1]
            lay_image(x, plane, x_strides, rows[i : i + step + 2 * radius], columns, radius, tile)
            if radius == 1:
                weigh_3x3(tile, weights, pitch, change)
            else:
                weigh(tile, weights, pitch, window, change)
            for r in range(step):
                source = image * grad_strides[0] + channel * grad_strides[1] + (i + r) * grad_strides[2]
                read(grad[source:], grad_strides[3], upstream[r * pitch : r * pitch + width])
            for j in range(n):
                total[j] += change[j] * upstream[j]
        for r in range(step):
            target = image * grad_sigma_strides[0] + (i + r) * grad_sigma_strides[2]
            write(total[r * pitch : r * pitch + width], grad_sigma[target:], grad_sigma_strides[3])


@compiled
def image_gradient_rows(
    grad: Array,
    grad_strides: Strides,
    sigma: Array,
    sigma_strides: Strides,
    grad_x: Array,
    grad_x_strides: Strides,
    shape: tuple[int, int, int],
    rows: Array,
    columns: Array,
    image: int,
    first: int,
    last: int,
) -> None:
    """grad_x = the transposed blur of grad: every pixel sends its gradient to those it was blurred from."""
    channels, height, width = shape
    radius = (rows.size - height) // 2
    pitch = columns.size
    # Reflection brings rows closer together, so that only sources within the radius reach these rows.
    top, bottom = max(0, first - radius), min(height, last + radius)
    step = max(1, min(bottom - top, TILE // pitch))
    spread = np.zeros(step * pitch - 2 * radius, sigma.dtype)
    axis = np.empty((radius + 1, spread.size), sigma.dtype)
    work = np.empty((3, spread.size), sigma.dtype)
    weights = np.empty((radius * (radius + 3) // 2, spread.size), sigma.dtype)
    upstream = np.zeros(spread.size, sigma.dtype)  # zero between the rows: nothing comes from outside
    product = np.zeros(spread.size + 4 * radius, sigma.dtype)
    received = np.empty((radius + 1, step * pitch), sigma.dtype)  # by the rows at distances 0 .. h
    total = np.zeros(
        (channels, (bottom - top + 2 * radius) * pitch), sigma.dtype
    )  # borders not yet reflected
    for i in range(top, bottom, step):
        count = min(step, bottom - i)
        n = count * pitch - 2 * radius
        origin = image * sigma_strides[0] + i * sigma_strides[2]
        lay_sigma(sigma, origin, sigma_strides, pitch, spread[:n], width)
        axis_weights(spread, axis, work)
        pair_weights(axis, weights)
        product[2 * radius + n :] = product.dtype.type(0)
        inner = product[2 * radius : 2 * radius + n]
        for channel in range(channels):
            for r in range(count):
                source = image * grad_strides[0] + channel * grad_strides[1] + (i + r) * grad_strides[2]
                read(grad[source:], grad_strides[3], upstream[r * pitch : r * pitch + width])
            received[:] = received.dtype.type(0)
            own, centre = received[0, radius:], axis[0]
            for j in range(n):
                own[j] = upstream[j] * (centre[j] * centre[j])
            pair = 0
            for v in range(1, radius + 1):
                for u in range(v + 1):
                    weight = weights[pair]
                    pair += 1
                    for j in range(n):
                        inner[j] = upstream[j] * weight[j]
                    if u == 0:
                        column, same = received[v], product[radius:]
                        for c in range(column.size):
                            column[c] += same[c]
                    else:
                        add_shifted(product, u, radius, received[v])
                    if u != v:
                        add_shifted(product, v, radius, received[u])
            for v in range(-radius, radius + 1):
                line, part = total[channel, (i - top + radius + v) * pitch :], received[abs(v)]
                for c in range(count * pitch):
                    line[c] += part[c]
    for channel in range(channels):
        plane = total[channel]
        for r in range(
            plane.size // pitch
        ):  # holds the row top - h + r of the image, which is reflected to row i
            i = rows[top + r]
            home = i - top + radius
            if r != home and first <= i < last:
                outside, line = plane[r * pitch : (r + 1) * pitch], plane[home * pitch : (home + 1) * pitch]
                for c in range(pitch):
                    line[c] += outside[c]
        for i in range(first, last):
            home = (i - top + radius) * pitch
            line, inner = plane[home : home + pitch], plane[home + radius : home + radius + width]
            for c in range(radius):
                inner[columns[c]] += line[c]
                inner[columns[pitch - 1 - c]] += line[pitch - 1 - c]
            target = image * grad_x_strides[0] + channel * grad_x_strides[1] + i * grad_x_strides[2]
            write(inner, grad_x[target:], grad_x_strides[3])


# --- tensors to kernels ------------------------------------------------------------------------------------------


def blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The blur of x; arguments as in :func:`unmask.game.blur.pixelwise_gaussian_blur`, which checks their shapes.

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
    step = max(kernel_size, BLOCK // (channels * width))
    blocks = [(image, i, min(i + step, height)) for image in range(batch) for i in range(0, height, step)]
    return in_parallel(
        lambda block: kernel(*memory, (channels, height, width), rows, columns, *block), blocks
    )


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

    Threads take the next item as they become free, and nobody waits for a thread that has not started: callers on
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
