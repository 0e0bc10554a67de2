"""The kernels of the fused CPU blur: the output, its gradient towards sigma, its gradient towards the image.

All share one form. With t = exp(-1 / (2 sigma^2)) and a_u = t^(u^2) / sum_w t^(w^2), the weight of the
neighbour at (u, v) is the product a_u a_v. The neighbours at (+-u, +-v) and (+-v, +-u) share it, so that they are
summed first, as differences from the centre x0 (nothing is lost to rounding where an image is smooth)::

    out             = x0 + sum_{u <= v} a_u a_v (sum of the n neighbours - n x0)
    d out / d sigma =      sum_{u <= v} (d a_u a_v / d sigma) (the same)

The forward pass may keep d out / d sigma, of which the gradient towards sigma is a product summed over the channels.
Where it keeps nothing but the inputs, backward computes the differences anew. Scratch is a dozen tiles a call, and the
block itself towards the image.

Every kernel works on the rows first .. last of one image. Tensors come as flat memory and four strides, so that
no memory format needs a copy. shape is (C, H, W); rows and columns are the reflected indices of -h .. H + h - 1 and
-h .. W + h - 1.
"""

from __future__ import annotations

import numpy as np

from unmask.game import blur_cpu_loops, blur_cpu_numbers
from unmask.game.blur_cpu_loops import (
    Array,
    Strides,
    add_shifted,
    axis_powers,
    axis_scratch,
    fold,
    lay_image,
    lay_sigma,
    pair_slopes,
    pair_weights,
    read,
    weigh,
    weigh_twice,
    write,
)
from unmask.game.compiling import kernel

#: Numbers of one tile: a dozen of them stay in the second-level cache, and few rows are read twice.
TILE = 3_072


#: For kernels that call those loops.
compiled = kernel(blur_cpu_loops, blur_cpu_numbers)


@compiled
def blur_rows(
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
    image: int,
    first: int,
    last: int,
) -> bool:
    """out = blur of x, slope = d out / d sigma unless it is empty; True if a sigma is negative."""
    channels, height, width = shape
    radius = (rows.size - height) // 2
    pitch = columns.size
    step = max(1, min(last - first, TILE // pitch))
    n = step * pitch - 2 * radius
    spread, power, inverse, work, weights = axis_scratch(radius, n, sigma.dtype)
    tile = np.empty((step + 2 * radius) * pitch, sigma.dtype)
    window = np.empty((radius + 1, step * pitch), sigma.dtype)
    total = np.empty(n, sigma.dtype)
    slopes = np.empty_like(weights) if slope.size else weights
    steep = np.empty_like(total) if slope.size else total
    centre = tile[radius * pitch + radius :]
    negative = False
    for start in range(first, last, step):
        i = min(start, last - step)  # the last tile may overlap the one before it
        origin = image * sigma_strides[0] + i * sigma_strides[2]
        negative |= lay_sigma(sigma, origin, sigma_strides, pitch, spread, width)
        axis_powers(spread, power, work, inverse)
        pair_weights(power, inverse, weights)
        if slope.size:
            pair_slopes(spread, power, inverse, work, slopes)
        for channel in range(channels):
            plane = image * x_strides[0] + channel * x_strides[1]
            lay_image(x, plane, x_strides, rows[i : i + step + 2 * radius], columns, radius, tile)
            fold(tile, pitch, window)
            if slope.size:
                weigh_twice(window, weights, slopes, total, steep)
            else:
                weigh(window, weights, total)
            for j in range(n):
                total[j] += centre[j]
            for r in range(step):
                target = image * out_strides[0] + channel * out_strides[1] + (i + r) * out_strides[2]
                write(total[r * pitch : r * pitch + width], out[target:], out_strides[3])
                if slope.size:
                    target = image * slope_strides[0] + channel * slope_strides[1] + (i + r) * slope_strides[2]
                    write(steep[r * pitch : r * pitch + width], slope[target:], slope_strides[3])
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
    spread, power, inverse, work, weights = axis_scratch(radius, n, sigma.dtype)
    tile = np.empty((step + 2 * radius) * pitch, sigma.dtype)
    window = np.empty((radius + 1, step * pitch), sigma.dtype)
    upstream = np.zeros(n, sigma.dtype)
    change = np.empty(n, sigma.dtype)
    total = np.empty(n, sigma.dtype)
    for start in range(first, last, step):
        i = min(start, last - step)
        origin = image * sigma_strides[0] + i * sigma_strides[2]
        lay_sigma(sigma, origin, sigma_strides, pitch, spread, width)
        axis_powers(spread, power, work, inverse)
        pair_slopes(spread, power, inverse, work, weights)
        total[:] = total.dtype.type(0)
        for channel in range(channels):
            plane = image * x_strides[0] + channel * x_strides[1]
            lay_image(x, plane, x_strides, rows[i : i + step + 2 * radius], columns, radius, tile)
            fold(tile, pitch, window)
            weigh(window, weights, change)
            for r in range(step):
                source = image * grad_strides[0] + channel * grad_strides[1] + (i + r) * grad_strides[2]
                read(grad[source:], grad_strides[3], upstream[r * pitch : r * pitch + width])
            for j in range(n):
                total[j] += change[j] * upstream[j]
        for r in range(step):
            target = image * grad_sigma_strides[0] + (i + r) * grad_sigma_strides[2]
            write(total[r * pitch : r * pitch + width], grad_sigma[target:], grad_sigma_strides[3])


@compiled
def contract_rows(
    grad: Array,
    grad_strides: Strides,
    slope: Array,
    slope_strides: Strides,
    grad_sigma: Array,
    grad_sigma_strides: Strides,
    shape: tuple[int, int, int],
    rows: Array,
    columns: Array,
    image: int,
    first: int,
    last: int,
) -> None:
    """grad_sigma = sum over channels of grad * slope, for any window."""
    channels, _, width = shape
    total = np.empty(width, grad_sigma.dtype)
    interleaved = grad_strides[3] == 3 and grad_strides[1] == 1 and slope_strides[3] == 3 and slope_strides[1] == 1
    for i in range(first, last):
        if channels == 3 and interleaved:
            g = grad[image * grad_strides[0] + i * grad_strides[2] :]
            s = slope[image * slope_strides[0] + i * slope_strides[2] :]
            for j in range(width):
                total[j] = (g[3 * j] * s[3 * j] + g[3 * j + 1] * s[3 * j + 1]) + g[3 * j + 2] * s[3 * j + 2]
        else:
            total[:] = total.dtype.type(0)
            for channel in range(channels):
                g = grad[image * grad_strides[0] + channel * grad_strides[1] + i * grad_strides[2] :]
                s = slope[image * slope_strides[0] + channel * slope_strides[1] + i * slope_strides[2] :]
                if grad_strides[3] == 1 and slope_strides[3] == 1:
                    for j in range(width):
                        total[j] += g[j] * s[j]
                else:
                    for j in range(width):
                        total[j] += g[j * grad_strides[3]] * s[j * slope_strides[3]]
        write(total, grad_sigma[image * grad_sigma_strides[0] + i * grad_sigma_strides[2] :], grad_sigma_strides[3])


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
    spread, power, inverse, work, weights = axis_scratch(radius, step * pitch - 2 * radius, sigma.dtype)
    upstream = np.zeros(spread.size, sigma.dtype)  # zero between the rows: nothing comes from outside
    product = np.zeros(spread.size + 4 * radius, sigma.dtype)
    received = np.empty((radius + 1, step * pitch), sigma.dtype)  # by the rows at distances 0 .. h
    total = np.zeros((channels, (bottom - top + 2 * radius) * pitch), sigma.dtype)  # borders not yet reflected
    for i in range(top, bottom, step):
        count = min(step, bottom - i)
        n = count * pitch - 2 * radius
        origin = image * sigma_strides[0] + i * sigma_strides[2]
        lay_sigma(sigma, origin, sigma_strides, pitch, spread[:n], width)
        axis_powers(spread, power, work, inverse)
        pair_weights(power, inverse, weights)
        product[2 * radius + n :] = product.dtype.type(0)
        inner = product[2 * radius : 2 * radius + n]
        for channel in range(channels):
            for r in range(count):
                source = image * grad_strides[0] + channel * grad_strides[1] + (i + r) * grad_strides[2]
                read(grad[source:], grad_strides[3], upstream[r * pitch : r * pitch + width])
            received[:] = received.dtype.type(0)
            own = received[0, radius:]
            for j in range(n):
                own[j] = upstream[j] * (inverse[j] * inverse[j])
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
        for r in range(plane.size // pitch):  # holds the row top - h + r of the image, which is reflected to row i
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
