"""What the crops that a detector is validated on look like, so that it can tell when a face is worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unmask.data.readable import readable
from unmask.faces.quality import blockiness, sharpness

if TYPE_CHECKING:
    from unmask.data.table import FaceTable
    from unmask.detector import QualityLimits

#: Share of the validation crops beyond each limit: a face at least as poor as the poorest hundredth is unknown ground.
QUANTILE = 0.01
#: Crops that are measured at most, evenly spread over the table.
_CROPS = 2000
#: Fewest values that a quantile of one in a hundred can be taken of.
_FEWEST = 100


def measure_tested(table: FaceTable) -> QualityLimits | None:
    """The limits of what a detector was tested on, from its validation table.

    Sharpness is measured on the crops as they are stored. A row with a ``box``, the face in pixels of its frame, was
    cut out of that frame and scaled: only there the size of the face is known, and only elsewhere may the crop still
    show the blocks of a codec.

    Args:
        table: validation rows; those that cannot be decoded are left out.

    Returns:
        The limits, or None for a table of fewer than a hundred readable crops.
    """
    from unmask.detector import QualityLimits

    rows = np.unique(np.linspace(0, len(table) - 1, min(_CROPS, len(table))).astype(int))
    sharp: list[float] = []
    blocks: list[float] = []
    sides: list[float] = []
    for row, image in readable(rows, table.image, []):
        sharp.append(sharpness(image))
        if (box := table.row(row).get("box")) is not None:
            sides.append(max(box[2], box[3]))
        elif (found := blockiness(image)) is not None:
            blocks.append(found)
    if len(sharp) < _FEWEST:
        return None

    def limit(values: list[float], level: float) -> float | None:
        return round(float(np.quantile(values, level)), 4) if len(values) >= _FEWEST else None

    return QualityLimits(
        crops=len(sharp),
        quantile=QUANTILE,
        face_side=limit(sides, QUANTILE),
        sharpness=limit(sharp, QUANTILE),
        blockiness=limit(blocks, 1 - QUANTILE),
    )
