"""Kernels of the way back through a depthwise convolution: to the images and to the weights.

Images are float32 in channels-last memory, given flat; a kernel works on one image (and one gradient) of the batch.
``weight`` is flat as well, (k, k, C): a tap's weights lie side by side. A tap (u, v) joins output pixel (i, j) to input
pixel (i * stride + u - top, j * stride + v - left). Inner loops take one tap along the channels: with more of them at
once there are more pointers than the compiler cares to tell apart, and nothing is vectorised.
"""

from __future__ import annotations

import numpy as np

from unmask.game import blur_cpu_numbers
from unmask.game.blur_cpu_numbers import load, store
from unmask.game.compiling import kernel

Array = np.ndarray


@kernel(blur_cpu_numbers)
def image_gradient(
    grad: Array,
    weight: Array,
    result: Array,
    high: int,
    wide: int,
    channels: int,
    out_high: int,
    out_wide: int,
    size: int,
    stride: int,
    top: int,
    left: int,
) -> None:
    """The gradient (high, wide, channels) of one image, from that of its output (out_high, out_wide, channels)."""
    row = np.empty(wide * channels, np.float32)
    for above in range(high):
        row[:] = 0
        for u in range(size - 1, -1, -1):
            below = above + top - u
            i = below // stride
            if below < 0 or below != i * stride or i >= out_high:
                continue
            for j in range(out_wide):
                g = (i * out_wide + j) * channels
                arriving = grad[g : g + channels]
                for v in range(size):
                    beside = j * stride + v - left
                    if 0 <= beside < wide:
                        a, w = beside * channels, (u * size + v) * channels
                        some, taps = row[a : a + channels], weight[w : w + channels]
                        for c in range(channels):
                            some[c] += taps[c] * load(arriving, c)
        done = result[above * wide * channels : (above + 1) * wide * channels]
        for c in range(wide * channels):
            store(done, c, row[c])


@kernel(blur_cpu_numbers)
def weight_gradient(
    grad: Array,
    image: Array,
    result: Array,
    high: int,
    wide: int,
    channels: int,
    out_high: int,
    out_wide: int,
    size: int,
    stride: int,
    top: int,
    left: int,
) -> None:
    """Add one image's share to the gradient (k, k, channels) of the weights."""
    for i in range(out_high):
        for u in range(size):
            above = i * stride + u - top
            if above < 0 or above >= high:
                continue
            for j in range(out_wide):
                g = (i * out_wide + j) * channels
                arriving = grad[g : g + channels]
                for v in range(size):
                    beside = j * stride + v - left
                    if 0 <= beside < wide:
                        a, w = (above * wide + beside) * channels, (u * size + v) * channels
                        some, pixel = result[w : w + channels], image[a : a + channels]
                        for c in range(channels):
                            some[c] += load(pixel, c) * load(arriving, c)
