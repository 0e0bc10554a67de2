"""One score for many frames: the same for a person in a clip and for a video of a face table."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

#: Share of the frames that is left out at each end before the mean is taken.
TRIM = 0.2
#: Scores are given to this many digits, and frames are no surer than its last one.
DIGITS = 6


def pooled(scores: npt.ArrayLike) -> float:
    """A trimmed mean of the frames' log-odds, as P(fake).

    Single frames fail in both directions (motion blur, a hand before the face, a box beside it), and a failing
    network is often very sure, so the highest and the lowest fifth of the frames do not count. Log-odds, because
    there a frame that is certain weighs as much for real as for fake, whatever the threshold. The frames of a
    clip are alike: their mean is taken, not their sum, which would make a long clip certain of anything.

    Args:
        scores: (n,) P(fake) of each frame, n at least 1.

    Returns:
        P(fake), rounded to 6 digits; the score itself for a single frame.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if len(values) == 1:
        return float(values[0])
    limit = 10.0**-DIGITS
    inside = np.clip(values, limit, 1 - limit)
    cut = int(TRIM * len(inside))
    middle = float(np.mean(np.log(inside / (1 - inside))[cut : len(inside) - cut]))
    return round(1 / (1 + math.exp(-middle)), DIGITS)
