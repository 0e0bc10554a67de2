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
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor

# No reassociation: the differences from the centre must stay differences. NaN and infinity are respected.
compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


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
    if array.dtype == types.uint16:  # float16: rebias the exponent by a product, which is exact for subnormals too

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
            normal = magnitude - np.uint32(112 << 23) + np.uint32(0xFFF) + ((magnitude >> np.uint32(13)) & np.uint32(1))
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


# --- rows: every loop below runs over one row of memory and vectorises -------------------------------------------
#
# A row has W pixels of `samples` interleaved numbers: 1 in a contiguous tensor, C in a channels-last one.


@compiled
def axis_weights(sigma, samples, axis, work):
    """Fill axis (h + 1, W * samples) with a_0 .. a_h of each pixel; True if a sigma is negative.

    `work` (3, W * samples) is left holding t, the mean of u^2 under a, and nothing of use.
    """
    t, total, odd = work[0], work[1], work[2]
    n = t.size
    one = axis.dtype.type(1)
    minus_half = axis.dtype.type(-0.5)
    negative = False
    for j in range(sigma.size):
        negative |= sigma[j] < 0
        odd[j] = exponential(minus_half / (sigma[j] * sigma[j]))
    for s in range(samples):
        for j in range(sigma.size):
            t[j * samples + s] = odd[j]
    # t^(u^2) is the product of the first u odd powers of t.
    previous = axis[0]
    for j in range(n):
        previous[j] = one
        odd[j] = t[j]
        total[j] = one
    for u in range(1, axis.shape[0]):
        power = axis[u]
        for j in range(n):
            power[j] = previous[j] * odd[j]
            odd[j] *= t[j] * t[j]
            total[j] += power[j] + power[j]
        previous = power
    for u in range(axis.shape[0]):
        power = axis[u]
        for j in range(n):
            power[j] /= total[j]
    return negative


@compiled
def axis_slopes(sigma, samples, axis, work, slope):
    """Fill slope (h + 1, W * samples) with d a_u / d sigma = a_u (u^2 - mean of u^2) / sigma^3, 0 where sigma is tiny."""
    t, mean, cube = work[0], work[1], work[2]
    n = t.size
    zero = axis.dtype.type(0)
    one = axis.dtype.type(1)
    for s in range(samples):
        for j in range(sigma.size):
            cube[j * samples + s] = sigma[j] * sigma[j] * sigma[j]
    for j in range(n):
        mean[j] = zero
        cube[j] = zero if t[j] == zero else one / cube[j]  # t underflows long before 1 / sigma^3 overflows
    for u in range(1, axis.shape[0]):
        square = axis.dtype.type(u * u)
        power = axis[u]
        for j in range(n):
            mean[j] += square * (power[j] + power[j])
    for u in range(axis.shape[0]):
        square = axis.dtype.type(u * u)
        power = axis[u]
        row = slope[u]
        for j in range(n):
            row[j] = power[j] * (square - mean[j]) * cube[j]


@compiled
def pair_weights(axis, weights):
    """Fill weights with a_u a_v, one row a pair 0 <= u <= v, 1 <= v <= h, in the order of `weighted_sum`."""
    pair = 0
    for v in range(1, axis.shape[0]):
        a_v = axis[v]
        for u in range(v + 1):
            a_u = axis[u]
            row = weights[pair]
            for j in range(row.size):
                row[j] = a_u[j] * a_v[j]
            pair += 1


@compiled
def pair_slopes(axis, slope, weights):
    """Fill weights with d (a_u a_v) / d sigma, in the order of `weighted_sum`."""
    pair = 0
    for v in range(1, axis.shape[0]):
        a_v, b_v = axis[v], slope[v]
        for u in range(v + 1):
            a_u, b_u = axis[u], slope[u]
            row = weights[pair]
            for j in range(row.size):
                row[j] = b_u[j] * a_v[j] + a_u[j] * b_v[j]
            pair += 1


@compiled
def fold(x, start, stride, i, rows, columns, samples, window):
    """Fill window (h + 1, (W + 2 h) * samples) with the sums of the rows i - v and i + v of a plane, reflected borders."""
    radius = window.shape[0] - 1
    margin = radius * samples
    n = window.shape[1] - 2 * margin
    for v in range(radius + 1):
        up = start + rows[radius + i - v] * stride
        down = start + rows[radius + i + v] * stride
        above, below = x[up : up + n], x[down : down + n]
        inner = window[v, margin : margin + n]
        if v == 0:
            for j in range(n):
                inner[j] = load(above, j)
        else:
            for j in range(n):
                inner[j] = load(above, j) + load(below, j)
        for c in range(radius):
            for s in range(samples):
                window[v, c * samples + s] = inner[columns[c] * samples + s]
                window[v, margin + n + c * samples + s] = inner[columns[columns.size - radius + c] * samples + s]


@compiled
def weighted_sum(window, weights, samples, total):
    """Add to total (W * samples) the weighted sum, over all pairs u <= v, of the neighbours less the centre."""
    radius = window.shape[0] - 1
    margin = radius * samples
    n = total.size
    centre = window[0, margin : margin + n]
    pair = 0
    for v in range(1, radius + 1):
        reach = margin - v * samples
        for u in range(v + 1):
            weight = weights[pair]
            pair += 1
            if u == 0:
                left, right = window[0, reach : reach + n], window[0, margin + v * samples :]
                column = window[v, margin : margin + n]
                for j in range(n):
                    twice = centre[j] + centre[j]
                    total[j] += weight[j] * ((left[j] + right[j] - twice) + (column[j] - twice))
            elif u == v:
                left, right = window[v, reach : reach + n], window[v, margin + v * samples :]
                for j in range(n):
                    twice = centre[j] + centre[j]
                    total[j] += weight[j] * ((left[j] - twice) + (right[j] - twice))
            else:
                near = margin - u * samples
                left, right = window[v, near : near + n], window[v, margin + u * samples :]
                above, below = window[u, reach : reach + n], window[u, margin + v * samples :]
                for j in range(n):
                    twice = centre[j] + centre[j]
                    total[j] += weight[j] * (
                        ((left[j] - twice) + (right[j] - twice)) + ((above[j] - twice) + (below[j] - twice))
                    )


@compiled
def spread(product, start, shift, n, row):
    """row[c] += product[start + c - shift] + product[start + c + shift]: one weighted row goes to both its neighbours."""
    left, right = product[start - shift : start - shift + n], product[start + shift : start + shift + n]
    for c in range(n):
        row[c] += left[c] + right[c]


# --- the three kernels, each over the rows first .. last of one image --------------------------------------------


@compiled
def blur_rows(x, x_strides, sigma, out, out_strides, shape, rows, columns, image, first, last):
    """out = blur(x, sigma); True if a sigma is negative."""
    planes, height, width, samples = shape
    radius = (rows.size - height) // 2
    n = width * samples
    axis = np.empty((radius + 1, n), sigma.dtype)
    work = np.empty((3, n), sigma.dtype)
    weights = np.empty((radius * (radius + 3) // 2, n), sigma.dtype)
    window = np.empty((radius + 1, n + 2 * radius * samples), sigma.dtype)
    total = np.empty(n, sigma.dtype)
    centre = window[0, radius * samples :]
    negative = False
    for i in range(first, last):
        pixel = (image * height + i) * width
        negative |= axis_weights(sigma[pixel : pixel + width], samples, axis, work)
        pair_weights(axis, weights)
        for plane in range(planes):
            fold(x, image * x_strides[0] + plane * x_strides[1], x_strides[2], i, rows, columns, samples, window)
            for j in range(n):
                total[j] = centre[j]
            weighted_sum(window, weights, samples, total)
            target = image * out_strides[0] + plane * out_strides[1] + i * out_strides[2]
            row = out[target : target + n]
            for j in range(n):
                store(row, j, total[j])
    return negative


@compiled
def sigma_gradient_rows(
    grad, grad_strides, x, x_strides, sigma, grad_sigma, shape, rows, columns, image, first, last
):
    """grad_sigma = sum over channels of grad * d out / d sigma."""
    planes, height, width, samples = shape
    radius = (rows.size - height) // 2
    n = width * samples
    axis = np.empty((radius + 1, n), sigma.dtype)
    slope = np.empty((radius + 1, n), sigma.dtype)
    work = np.empty((3, n), sigma.dtype)
    weights = np.empty((radius * (radius + 3) // 2, n), sigma.dtype)
    window = np.empty((radius + 1, n + 2 * radius * samples), sigma.dtype)
    change = np.empty(n, sigma.dtype)
    total = np.empty(n, sigma.dtype)
    zero = sigma.dtype.type(0)
    for i in range(first, last):
        pixel = (image * height + i) * width
        axis_weights(sigma[pixel : pixel + width], samples, axis, work)
        axis_slopes(sigma[pixel : pixel + width], samples, axis, work, slope)
        pair_slopes(axis, slope, weights)
        total[:] = zero
        for plane in range(planes):
            fold(x, image * x_strides[0] + plane * x_strides[1], x_strides[2], i, rows, columns, samples, window)
            change[:] = zero
            weighted_sum(window, weights, samples, change)
            source = image * grad_strides[0] + plane * grad_strides[1] + i * grad_strides[2]
            row = grad[source : source + n]
            for j in range(n):
                total[j] += change[j] * load(row, j)
        result = grad_sigma[pixel : pixel + width]
        result[:] = zero
        for s in range(samples):
            for j in range(width):
                result[j] += total[j * samples + s]


@compiled
def image_gradient_rows(
    grad, grad_strides, sigma, grad_x, grad_x_strides, shape, rows, columns, image, first, last
):
    """grad_x = the transposed blur of grad: each pixel gives its gradient to the neighbours it was blurred from."""
    planes, height, width, samples = shape
    radius = (rows.size - height) // 2
    margin = radius * samples
    n = width * samples
    padded = n + 2 * margin
    axis = np.empty((radius + 1, n), sigma.dtype)
    work = np.empty((3, n), sigma.dtype)
    weights = np.empty((radius * (radius + 3) // 2, n), sigma.dtype)
    product = np.zeros(n + 4 * margin, sigma.dtype)  # zeros beyond the row: nothing comes from outside
    inner = product[2 * margin : 2 * margin + n]
    spreads = np.empty((radius + 1, padded), sigma.dtype)  # what the rows at distance 0 .. h receive
    total = np.zeros((planes, last - first, n), sigma.dtype)
    zero = sigma.dtype.type(0)
    # Reflection brings rows closer together, so that only sources within the radius reach these rows.
    for i in range(max(0, first - radius), min(height, last + radius)):
        pixel = (image * height + i) * width
        axis_weights(sigma[pixel : pixel + width], samples, axis, work)
        pair_weights(axis, weights)
        for plane in range(planes):
            source = image * grad_strides[0] + plane * grad_strides[1] + i * grad_strides[2]
            row = grad[source : source + n]
            spreads[:] = zero
            for j in range(n):
                spreads[0, margin + j] = load(row, j) * axis[0, j] * axis[0, j]
            pair = 0
            for v in range(1, radius + 1):
                for u in range(v + 1):
                    weight = weights[pair]
                    pair += 1
                    for j in range(n):
                        inner[j] = load(row, j) * weight[j]
                    if u == 0:
                        target = spreads[v]
                        moved = product[margin : margin + padded]
                        for c in range(padded):
                            target[c] += moved[c]
                    else:
                        spread(product, margin, u * samples, padded, spreads[v])
                    if u != v:
                        spread(product, margin, v * samples, padded, spreads[u])
            for v in range(radius + 1):
                for c in range(radius):
                    for s in range(samples):
                        left, right = columns[c], columns[columns.size - radius + c]
                        spreads[v, margin + left * samples + s] += spreads[v, c * samples + s]
                        spreads[v, margin + right * samples + s] += spreads[v, margin + n + c * samples + s]
                arrived = spreads[v, margin : margin + n]
                for side in range(2 if v else 1):
                    above = rows[radius + (i + v if side else i - v)]
                    if first <= above < last:
                        target = total[plane, above - first]
                        for j in range(n):
                            target[j] += arrived[j]
    for plane in range(planes):
        for i in range(first, last):
            target_start = image * grad_x_strides[0] + plane * grad_x_strides[1] + i * grad_x_strides[2]
            row = grad_x[target_start : target_start + n]
            for j in range(n):
                store(row, j, total[plane, i - first, j])


# --- tensors to kernels ------------------------------------------------------------------------------------------

#: Numbers of one block of rows: small enough to share the work evenly, large enough to make the calls cheap.
BLOCK = 65_536


class Rows(NamedTuple):
    """A tensor (B, C, H, W) as rows of memory: B images of `planes` planes of H rows of W * `samples` numbers."""

    memory: np.ndarray
    strides: tuple[int, int, int]
    planes: int
    samples: int


def is_channels_last(x: Tensor) -> bool:
    """Whether the rows of x are best read with their channels interleaved."""
    return x.shape[1] > 1 and x.stride(1) == 1 and x.stride(3) == x.shape[1]


def as_rows(x: Tensor, channels_last: bool) -> Rows:
    """Rows of x without a copy, unless its pixels are not neighbours in memory in the order asked for."""
    x = x.detach()
    batch, channels, height, width = x.shape
    if channels_last and not is_channels_last(x):
        x = x.contiguous(memory_format=torch.channels_last)
    elif not channels_last and x.stride(3) != 1:
        x = x.contiguous()
    extent = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    flat = x.as_strided((extent,), (1,))
    if x.dtype in (torch.bfloat16, torch.float16):
        flat = flat.view(torch.int16 if x.dtype == torch.bfloat16 else torch.uint16)
    planes, samples = (1, channels) if channels_last else (channels, 1)
    strides = (x.stride(0), 0 if channels_last else x.stride(1), x.stride(2))
    return Rows(flat.numpy(), strides, planes, samples)


def blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The blur of a non-empty x by sigma; arguments as in :func:`unmask.game.blur.pixelwise_gaussian_blur`, checked there."""
    channels_last = is_channels_last(x)
    out = torch.empty_like(x, memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    source, target = as_rows(x, channels_last), as_rows(out, channels_last)
    arguments = (source.memory, source.strides, as_sigma(sigma, x), target.memory, target.strides)
    if any(over_rows(blur_rows, arguments, x, source, kernel_size)):
        raise ValueError("sigma has negative values: it is a standard deviation in pixels, >= 0")
    return out


def blur_gradient_to_sigma(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The gradient (B, 1, H, W) of the blur towards sigma, from that towards its output."""
    channels_last = is_channels_last(x)
    source, upstream = as_rows(x, channels_last), as_rows(grad, channels_last)
    spread_sigma = as_sigma(sigma, x)
    result = np.empty_like(spread_sigma)
    arguments = (upstream.memory, upstream.strides, source.memory, source.strides, spread_sigma, result)
    over_rows(sigma_gradient_rows, arguments, x, source, kernel_size)
    return torch.from_numpy(result).view(sigma.shape).to(sigma.dtype)


def blur_gradient_to_image(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The gradient (B, C, H, W) of the blur towards x, from that towards its output."""
    channels_last = is_channels_last(x)
    result = torch.empty_like(x, memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    upstream, target = as_rows(grad, channels_last), as_rows(result, channels_last)
    arguments = (upstream.memory, upstream.strides, as_sigma(sigma, x), target.memory, target.strides)
    over_rows(image_gradient_rows, arguments, x, target, kernel_size)
    return result


def as_sigma(sigma: Tensor, x: Tensor) -> np.ndarray:
    """Sigma (B * H * W) in the precision that is computed in: float64 for float64 images, else float32."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return sigma.detach().to(dtype).contiguous().view(-1).numpy()


def over_rows(kernel: Callable, arguments: tuple, x: Tensor, layout: Rows, kernel_size: int) -> list[Any]:
    """Call a kernel for every block of rows of x, on as many threads as torch uses."""
    batch, _, height, width = x.shape
    shape = (layout.planes, height, width, layout.samples)
    rows, columns = reflected(height, kernel_size), reflected(width, kernel_size)
    step = max(kernel_size, BLOCK // (layout.planes * width * layout.samples))
    blocks = [(b, i, min(i + step, height)) for b in range(batch) for i in range(0, height, step)]
    return in_parallel(lambda block: kernel(*arguments, shape, rows, columns, *block), blocks)


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


@lru_cache(maxsize=None)
def pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The helper threads of this process: a forked child has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="unmask-blur")
