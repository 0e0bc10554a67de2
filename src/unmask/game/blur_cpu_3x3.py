"""The kernels of the fused CPU blur for a 3 x 3 window, the usual one, straight from the images' own memory.

Rows that lie end to end are one long vector loop: each neighbour is a constant shift away, and nothing is copied
first. Columns at the borders get wrong neighbours that way and are computed once more. `unit` is the distance between
neighbours in a row: 1, or C where the channels of a pixel lie side by side (channels last). The weights are::

    side = t / (1 + 2 t)^2,    corner = t side,    t = exp(-1 / (2 sigma^2))

With the slopes, their derivatives towards sigma, one pass gives the output and its derivative, and the backward pass is
a product summed over the channels.
"""

from __future__ import annotations

import numpy as np

from unmask.game.blur_cpu_kernels import compiled
from unmask.game.blur_cpu_loops import Array, Strides, lay_sigma, write
from unmask.game.blur_cpu_numbers import exponential, load, store
from unmask.game.compiling import inner

#: Numbers of one tile: its weights stay in the first-level cache.
TILE = 2_048


@compiled
def blur_rows_3x3(
    x: Array,
    x_strides: Strides,
    sigma: Array,
    sigma_strides: Strides,
    out: Array,
    out_strides: Strides,
    slope: Array,
    slope_strides: Strides,
    shape: tuple[int, int, int],
    rows: Array,
    columns: Array,
    unit: int,
    image: int,
    first: int,
    last: int,
) -> bool:
    """out = blur of x, slope = d out / d sigma unless it is empty; True if a sigma is negative."""
    channels, height, width = shape
    pitch = width * unit
    dense = x_strides[2] == pitch and out_strides[2] == pitch
    step = max(1, TILE // pitch) if dense else 1
    spread = np.empty(step * width, sigma.dtype)
    weights = np.empty((4, step * width), sigma.dtype)
    wide = np.empty((4, step * pitch), sigma.dtype) if unit > 1 else weights
    negative = False
    i = first
    while i < last:
        count = rows_from(i, last, height, step)
        n = count * width
        start = image * sigma_strides[0] + i * sigma_strides[2]
        negative |= lay_sigma(sigma, start, sigma_strides, width, spread[:n], width)
        if slope.size == 0:
            weigh_pixels(spread[:n], weights[0], weights[1])
            widen(weights[:2], wide[:2], n, unit)
        else:
            weigh_and_derive(spread[:n], weights)
            widen(weights, wide, n, unit)
        for plane in range(channels // unit):
            here = image * x_strides[0] + plane * x_strides[1] + i * x_strides[2]
            above, below = here + (rows[i] - i) * x_strides[2], here + (rows[i + 2] - i) * x_strides[2]
            target = image * out_strides[0] + plane * out_strides[1] + i * out_strides[2]
            line = out[target : target + n * unit]
            steep = slope[target : target + n * unit]  # empty where slope is
            if n * unit > 2 * unit:
                blur_inner(x, above, here, below, unit, wide, line, steep)
            for r in range(count):
                for side in range(2):
                    j = side * (width - 1)
                    for start in range(r * pitch, r * pitch + unit):
                        place, left, right = start + j * unit, start + columns[j] * unit, start + columns[j + 2] * unit
                        centre, sides, corners = differences(x, above, here, below, place, left, right)
                        change = wide[0, place] * sides + wide[1, place] * corners
                        store(line, place, centre + change)
                        if steep.size:
                            store(steep, place, wide[2, place] * sides + wide[3, place] * corners)
        i += count
    return negative


@compiled
def sigma_gradient_rows_3x3(
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
    unit: int,
    image: int,
    first: int,
    last: int,
) -> None:
    """grad_sigma = sum over channels of grad * d out / d sigma, from x anew."""
    channels, height, width = shape
    pitch = width * unit
    dense = x_strides[2] == pitch and grad_strides[2] == pitch
    step = max(1, TILE // pitch) if dense else 1
    spread = np.empty(step * width, sigma.dtype)
    weights = np.empty((4, step * width), sigma.dtype)
    wide = np.empty((4, step * pitch), sigma.dtype) if unit > 1 else weights
    total = np.empty(step * pitch, sigma.dtype)
    borders = np.empty((step, 2, unit), sigma.dtype)
    i = first
    while i < last:
        count = rows_from(i, last, height, step)
        n = count * width
        start = image * sigma_strides[0] + i * sigma_strides[2]
        lay_sigma(sigma, start, sigma_strides, width, spread[:n], width)
        weigh_and_derive(spread[:n], weights)
        widen(weights[2:], wide[2:], n, unit)
        total[:] = total.dtype.type(0)
        borders[:] = total.dtype.type(0)
        for plane in range(channels // unit):
            here = image * x_strides[0] + plane * x_strides[1] + i * x_strides[2]
            above, below = here + (rows[i] - i) * x_strides[2], here + (rows[i + 2] - i) * x_strides[2]
            source = image * grad_strides[0] + plane * grad_strides[1] + i * grad_strides[2]
            upstream = grad[source : source + n * unit]
            if n * unit > 2 * unit:
                derive_inner(x, above, here, below, unit, wide, upstream, total)
            for r in range(count):
                for side in range(2):
                    j = side * (width - 1)
                    for u in range(unit):
                        start = r * pitch + u
                        place, left, right = start + j * unit, start + columns[j] * unit, start + columns[j + 2] * unit
                        _, sides, corners = differences(x, above, here, below, place, left, right)
                        steep = wide[2, place] * sides + wide[3, place] * corners
                        borders[r, side, u] += steep * load(upstream, place)
        for r in range(count):
            for u in range(unit):
                total[r * pitch + u] = borders[r, 0, u]
                total[(r + 1) * pitch - unit + u] = borders[r, 1, u]
            target = image * grad_sigma_strides[0] + (i + r) * grad_sigma_strides[2]
            narrow(total[r * pitch : (r + 1) * pitch], spread[:width], unit)
            write(spread[:width], grad_sigma[target:], grad_sigma_strides[3])
        i += count


@inner
def rows_from(i: int, last: int, height: int, step: int) -> int:
    """How many rows to take together from row i on: the first and the last of an image stand alone."""
    if i == 0 or i == height - 1:
        return 1
    return min(step, min(last, height - 1) - i)


@inner
def weigh_pixels(sigma: Array, side: Array, corner: Array) -> None:
    """The weights at each number of sigma (n)."""
    one, minus_half = sigma.dtype.type(1), sigma.dtype.type(-0.5)
    for j in range(sigma.size):
        t = exponential(minus_half / (sigma[j] * sigma[j]))
        inverse = one / (one + (t + t))
        weight = t * (inverse * inverse)
        side[j] = weight
        corner[j] = t * weight


@inner
def weigh_and_derive(sigma: Array, weights: Array) -> None:
    """Side, corner and their derivatives towards sigma, as rows of weights (4, n)."""
    zero, one, minus_half = sigma.dtype.type(0), sigma.dtype.type(1), sigma.dtype.type(-0.5)
    side, corner, side_slope, corner_slope = weights[0], weights[1], weights[2], weights[3]
    for j in range(sigma.size):
        reciprocal = one / sigma[j]
        precision = reciprocal * reciprocal
        t = exponential(minus_half * precision)
        inverse = one / (one + (t + t))
        a = t * inverse
        mean = (a + a) + (a + a)  # of u^2 + v^2 over the window
        weight = a * inverse
        scale = zero if t == zero else precision * reciprocal  # t underflows long before the scale overflows
        side[j] = weight
        corner[j] = t * weight
        side_slope[j] = weight * scale * (one - mean)
        corner_slope[j] = t * weight * scale * ((one + one) - mean)


@inner
def widen(weights: Array, wide: Array, n: int, unit: int) -> None:
    """Give every channel of a pixel the weights of the pixel, where the channels lie side by side."""
    for k in range(weights.shape[0]):
        row, target = weights[k], wide[k]
        if unit == 3:
            for j in range(n):
                target[3 * j] = row[j]
                target[3 * j + 1] = row[j]
                target[3 * j + 2] = row[j]
        elif unit > 1:
            for j in range(n):
                target[unit * j : unit * (j + 1)] = row[j]


@inner
def narrow(wide: Array, row: Array, unit: int) -> None:
    """Sum the numbers of each pixel."""
    if unit == 1:
        row[:] = wide
    elif unit == 3:
        for j in range(row.size):
            row[j] = (wide[3 * j] + wide[3 * j + 1]) + wide[3 * j + 2]
    else:
        for j in range(row.size):
            total = row.dtype.type(0)
            for u in range(unit):
                total += wide[unit * j + u]
            row[j] = total


@inner
def differences(
    x: Array, above: int, here: int, below: int, place: int, left: int, right: int
) -> tuple[float, float, float]:
    """The pixel at `place` of a row, and the sums of its four sides and four corners, less the pixel."""
    centre = load(x, here + place)
    sides = (load(x, here + left) + load(x, here + right)) + (load(x, above + place) + load(x, below + place))
    above_corners = load(x, above + left) + load(x, above + right)
    corners = above_corners + (load(x, below + left) + load(x, below + right))
    twice = centre + centre
    return centre, sides - (twice + twice), corners - (twice + twice)


@inner
def blur_inner(
    x: Array, above: int, here: int, below: int, unit: int, weights: Array, out: Array, slope: Array
) -> None:
    """out, and slope unless it is empty, of all pixels but the first and the last, as if rows had no ends."""
    n = out.size - 2 * unit
    a, b, c = x[above:], x[above + unit :], x[above + 2 * unit :]
    d, e, f = x[here:], x[here + unit :], x[here + 2 * unit :]
    g, h, i = x[below:], x[below + unit :], x[below + 2 * unit :]
    side, corner, side_slope, corner_slope = weights[0], weights[1], weights[2], weights[3]
    side, corner, side_slope, corner_slope = side[unit:], corner[unit:], side_slope[unit:], corner_slope[unit:]
    target = out[unit:]
    if slope.size == 0:
        for j in range(n):
            centre = load(e, j)
            twice = centre + centre
            sides = (load(d, j) + load(f, j)) + (load(b, j) + load(h, j)) - (twice + twice)
            corners = (load(a, j) + load(c, j)) + (load(g, j) + load(i, j)) - (twice + twice)
            store(target, j, centre + (side[j] * sides + corner[j] * corners))
    else:
        steep = slope[unit:]
        for j in range(n):
            centre = load(e, j)
            twice = centre + centre
            sides = (load(d, j) + load(f, j)) + (load(b, j) + load(h, j)) - (twice + twice)
            corners = (load(a, j) + load(c, j)) + (load(g, j) + load(i, j)) - (twice + twice)
            store(target, j, centre + (side[j] * sides + corner[j] * corners))
            store(steep, j, side_slope[j] * sides + corner_slope[j] * corners)


@inner
def derive_inner(
    x: Array, above: int, here: int, below: int, unit: int, weights: Array, grad: Array, total: Array
) -> None:
    """Add grad * slope of all pixels but the first and the last to total, as if rows had no ends."""
    n = grad.size - 2 * unit
    a, b, c = x[above:], x[above + unit :], x[above + 2 * unit :]
    d, e, f = x[here:], x[here + unit :], x[here + 2 * unit :]
    g, h, i = x[below:], x[below + unit :], x[below + 2 * unit :]
    side_slope, corner_slope = weights[2], weights[3]
    side_slope, corner_slope = side_slope[unit:], corner_slope[unit:]
    upstream, target = grad[unit:], total[unit:]
    for j in range(n):
        centre = load(e, j)
        twice = centre + centre
        sides = (load(d, j) + load(f, j)) + (load(b, j) + load(h, j)) - (twice + twice)
        corners = (load(a, j) + load(c, j)) + (load(g, j) + load(i, j)) - (twice + twice)
        target[j] += load(upstream, j) * (side_slope[j] * sides + corner_slope[j] * corners)
