"""A score for every row of a table that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unmask.data.readable import readable

if TYPE_CHECKING:
    from unmask.data.table import FaceTable

Crop = npt.NDArray[np.uint8]

#: Crops in memory at once.
_CHUNK = 64


def score_rows(
    table: FaceTable,
    crop: Callable[[int], Crop],
    score: Callable[[list[Crop]], npt.NDArray[np.float64]],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[npt.NDArray[np.float64], list[dict[str, str]]]:
    """Score the rows of a table, some at a time.

    Args:
        table: the rows.
        crop: the crop of a row, uint8 RGB (H, W, 3); an ``UnmaskError`` leaves the row out.
        score: N crops to N numbers.
        progress: called with rows done and rows in all.

    Returns:
        (rows,) float64, NaN for a row without a score; and of each of those ``row``, file and number, and ``reason``.
    """
    scores = np.full(len(table), np.nan)
    left_out: list[dict[str, str]] = []
    for start in range(0, len(table), _CHUNK):
        end = min(start + _CHUNK, len(table))
        crops = dict(readable(range(start, end), crop, left_out))
        if crops:
            scores[list(crops)] = score(list(crops.values()))
        if progress is not None:
            progress(end, len(table))
    return scores, left_out
