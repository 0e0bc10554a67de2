"""Crops to the size that the classifier takes: one way for every runtime, so that they see the same pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: N crops, uint8 RGB (H, W, 3) each and of any size, or an array (N, H, W, 3).
Crops = Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8]


def resize_crops(crops: Crops, size: int) -> npt.NDArray[np.uint8]:
    """Crops as squares, uint8 (N, size, size, 3): bilinear with antialiasing, by Pillow.

    Training resizes by torch, whose result differs from Pillow's by at most one level of 255.

    Raises:
        ValueError: a crop is not uint8 (H, W, 3), or is empty.
    """
    from PIL import Image

    batch = np.empty((len(crops), size, size, 3), np.uint8)
    for row, crop in enumerate(crops):
        if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3 or 0 in crop.shape:
            raise ValueError(f"crop {row} is {crop.dtype} {crop.shape}, expected uint8 (H, W, 3)")
        if crop.shape[:2] == (size, size):
            batch[row] = crop
        else:
            image = Image.fromarray(np.ascontiguousarray(crop))
            batch[row] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return batch
