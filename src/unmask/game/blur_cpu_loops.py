"""The loops of the fused CPU blur: reading, weighing and writing numbers, each loop one that vectorises."""

from __future__ import annotations

from typing import Any

import numpy as np

from unmask.game.blur_cpu_numbers import exponential, load, store
from unmask.game.compiling import inner

Array = np.ndarray
Strides = tuple[int, int, int, int]


# --- tiles: a few rows laid end to end, so that every loop over them is one long vector loop --------------
#
# In a tile, rows are `pitch` = W + 2 h numbers apart, with h of margin at both ends, so that every neighbour is a
# constant shift away. Weights and results lack the very first margin. What falls between the rows of a result
# is computed along and never read.


@inner
def lay_sigma(sigma: Array, start: int, strides: Strides, pitch: int, tile: Array, width: int) -> bool:
    """Lay rows of sigma into a tile without the first margin; True if one is negative."""
    negative = False
    for r in range((tile.size + pitch - 1) // pitch):
        row, line = sigma[start + r * strides[2] :], tile[r * pitch : r * pitch + width]
        read(row, strides[3], line)
        for j in range(width):
            negative |= line[j] < 0
    return negative


@inner
def read(source: Array, stride: int, row: Array) -> None:
    """Fill row with every stride-th number of source."""
    if stride == 1:
        for j in range(row.size):
            row[j] = load(source, j)
    else:
        for j in range(row.size):
            row[j] = load(source, j * stride)


@inner
def write(row: Array, target: Array, stride: int) -> None:
    """Put row into every stride-th number of target."""
    if stride == 1:
        for j in range(row.size):
            store(target, j, row[j])
    else:
        for j in range(row.size):
            store(target, j * stride, row[j])


@inner
def lay_image(x: Array, start: int, strides: Strides, rows: Array, columns: Array, radius: int, tile: Array) -> None:
    """Lay the named rows of a plane into a tile, their margins filled from the columns named there."""
    pitch = columns.size
    for r in range(rows.size):
        line = tile[r * pitch : (r + 1) * pitch]
        inner = line[radius : pitch - radius]
        read(x[start + rows[r] * strides[2] :], strides[3], inner)
        for c in range(radius):
            line[c] = inner[columns[c]]
            line[pitch - 1 - c] = inner[columns[pitch - 1 - c]]


@inner
def axis_scratch(radius: int, n: int, dtype: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Scratch for n pixels: their sigma (0 to begin with), the powers, 1 / their sum, work, weights of all pairs."""
    pairs = radius * (radius + 3) // 2
    work = np.empty((2, n), dtype)
    return np.zeros(n, dtype), np.empty((radius + 1, n), dtype), np.empty(n, dtype), work, np.empty((pairs, n), dtype)


@inner
def axis_powers(sigma: Array, power: Array, work: Array, inverse: Array) -> None:
    """Fill power (h + 1, n) with t^(u^2), u = 0 .. h, at each number of sigma (n), and inverse with 1 / their sum.

    The sum is over -h .. h; power[0] is never read, and not filled.
    """
    odd, total, t = work[0], work[1], power[1]
    one = sigma.dtype.type(1)
    minus_half = sigma.dtype.type(-0.5)
    for j in range(t.size):
        t[j] = exponential(minus_half / (sigma[j] * sigma[j]))
    for j in range(t.size):
        total[j] = one + (t[j] + t[j])
    for u in range(2, power.shape[0]):  # t^(u^2) is the product of the first u odd powers of t
        previous, row = power[u - 1], power[u]
        if u == 2:
            for j in range(t.size):
                odd[j] = t[j]
        for j in range(t.size):
            odd[j] *= t[j] * t[j]
            row[j] = previous[j] * odd[j]
            total[j] += row[j] + row[j]
    for j in range(t.size):
        inverse[j] = one / total[j]


@inner
def pair_weights(power: Array, inverse: Array, weights: Array) -> None:
    """Fill weights (pairs, n) with a_u a_v for the pairs (u, v) = (0, 1), (1, 1), (0, 2), (1, 2) ..."""
    pair = 0
    for v in range(1, power.shape[0]):
        for u in range(v + 1):
            p_u, p_v, row = power[u], power[v], weights[pair]
            pair += 1
            if u == 0:
                for j in range(row.size):
                    row[j] = p_v[j] * (inverse[j] * inverse[j])
            else:
                for j in range(row.size):
                    row[j] = (p_u[j] * p_v[j]) * (inverse[j] * inverse[j])


@inner
def pair_slopes(sigma: Array, power: Array, inverse: Array, work: Array, weights: Array) -> None:
    """Fill weights (pairs, n) with d (a_u a_v) / d sigma = a_u a_v (u^2 + v^2 - mean) / sigma^3, for the same pairs.

    The mean is that of u^2 + v^2 over the window.
    """
    scale, mean, t = work[0], work[1], power[1]
    zero = sigma.dtype.type(0)
    for j in range(t.size):  # t underflows to 0 long before 1 / sigma^3 overflows
        cubed = sigma[j] * sigma[j] * sigma[j]
        scale[j] = zero if t[j] == zero else (inverse[j] * inverse[j]) / cubed
    for v in range(1, power.shape[0]):
        four_squares = sigma.dtype.type(4 * v * v)
        row = power[v]
        if v == 1:
            for j in range(t.size):
                mean[j] = four_squares * row[j] * inverse[j]
        else:
            for j in range(t.size):
                mean[j] += four_squares * row[j] * inverse[j]
    pair = 0
    for v in range(1, power.shape[0]):
        for u in range(v + 1):
            squares = sigma.dtype.type(u * u + v * v)
            p_u, p_v, row = power[u], power[v], weights[pair]
            pair += 1
            if u == 0:
                for j in range(row.size):
                    row[j] = p_v[j] * scale[j] * (squares - mean[j])
            else:
                for j in range(row.size):
                    row[j] = (p_u[j] * p_v[j]) * scale[j] * (squares - mean[j])


@inner
def fold(tile: Array, pitch: int, window: Array) -> None:
    """Fill window (h + 1, R * pitch) with the sums of the rows at distances 0 .. h: above and below."""
    radius = window.shape[0] - 1
    for v in range(radius + 1):
        above, below, folded = tile[(radius - v) * pitch :], tile[(radius + v) * pitch :], window[v]
        if v == 0:
            for j in range(folded.size):
                folded[j] = above[j]
        else:
            for j in range(folded.size):
                folded[j] = above[j] + below[j]


@inner
def weigh(window: Array, weights: Array, total: Array) -> None:
    """Fill total (n) with the weighted sum, over all pairs u <= v, of the neighbours less the centre."""
    radius = window.shape[0] - 1
    n = total.size
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


@inner
def weigh_twice(window: Array, weights: Array, slopes: Array, total: Array, steep: Array) -> None:
    """`weigh` with two sets of weights at once: total by `weights`, steep by `slopes`."""
    radius = window.shape[0] - 1
    n = total.size
    total[:] = total.dtype.type(0)
    steep[:] = total.dtype.type(0)
    centre = window[0, radius:]
    pair = 0
    for v in range(1, radius + 1):
        for u in range(v + 1):
            weight, slope = weights[pair], slopes[pair]
            pair += 1
            left, right = window[v, radius - u :], window[v, radius + u :]
            above, below = window[u, radius - v :], window[u, radius + v :]
            if u == 0:
                for j in range(n):
                    twice = centre[j] + centre[j]
                    change = (left[j] - twice) + (above[j] + below[j] - twice)
                    total[j] += weight[j] * change
                    steep[j] += slope[j] * change
            elif u == v:
                for j in range(n):
                    twice = centre[j] + centre[j]
                    change = (left[j] - twice) + (right[j] - twice)
                    total[j] += weight[j] * change
                    steep[j] += slope[j] * change
            else:
                for j in range(n):
                    twice = centre[j] + centre[j]
                    sides = (left[j] - twice) + (right[j] - twice)
                    change = sides + ((above[j] - twice) + (below[j] - twice))
                    total[j] += weight[j] * change
                    steep[j] += slope[j] * change


@inner
def add_shifted(product: Array, shift: int, padding: int, row: Array) -> None:
    """row[c] += product[c - shift] + product[c + shift], where product begins with `padding` zeros."""
    left, right = product[padding - shift :], product[padding + shift :]
    for c in range(row.size):
        row[c] += left[c] + right[c]
