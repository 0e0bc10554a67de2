"""Which frames of a video are looked at, by their time stamps, and where seeking to them pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Seeking empties the decoder's pipeline; below so many frames it is dearer than decoding through.
_FRAMES_WORTH_A_SEEK = 12
# A single pause or a wrong time stamp must not swallow the share of all other frames.
_LONGEST_PAUSE = 2.0  # seconds


@dataclass(frozen=True)
class Choice:
    """Which frames are wanted.

    Attributes:
        count: how many, at least 1, spread evenly in time; all if there are fewer.
        rate: frames a second, above 0, in the place of ``count``; at least one frame.
        places: from 0 and rising, in the place of ``count``; those that are not there are left out.
    """

    count: int
    rate: float | None = None
    places: Sequence[int] | None = None

    def among(self, stamps: list[int], tick: float) -> list[int]:
        """The time stamps of the wanted frames, of all of them, sorted, in units of ``tick`` seconds."""
        if self.places is None:
            return spread(stamps, self.count, tick, self.rate)
        return [stamps[place] for place in self.places if place < len(stamps)]


def spread(stamps: list[int], count: int, tick: float, rate: float | None = None) -> list[int]:
    """``count`` of the sorted time stamps, or ``rate`` a second, spread evenly in time, each one once; all if there
    are fewer."""
    total = len(stamps)
    if total < 2 or (rate is None and count >= total):
        return stamps
    gaps = np.minimum(np.diff(np.array(stamps, dtype=np.float64)) * tick, _LONGEST_PAUSE)
    starts = np.concatenate([[0.0], np.cumsum(gaps)])
    end = starts[-1] + np.median(gaps)
    if rate is not None:
        count = max(1, round(min(float(total), end * rate)))
        if count >= total:
            return stamps
    shares = np.arange(count)
    ranks = np.searchsorted(starts, (shares + 0.5) * end / count + 1e-9, side="right") - 1
    # Where frames are sparse two shares may meet in one frame: move on to the next free one.
    ranks = np.maximum.accumulate(ranks - shares) + shares
    ranks = np.minimum(ranks, total - count + shares)
    return [stamps[rank] for rank in ranks]


def worthwhile_seeks(stamps: list[int], keyframes: list[int], wanted: list[int]) -> dict[int, int]:
    """For each wanted frame before which seeking pays: the keyframe to go to."""
    ranks, keys = np.searchsorted(stamps, wanted), np.array(keyframes, dtype=np.int64)
    if not len(keys):
        return {}
    jumps, position = {}, 0
    for stamp, rank in zip(wanted, ranks.tolist(), strict=True):
        key = int(np.searchsorted(keys, stamp, side="right")) - 1
        if key >= 0 and int(np.searchsorted(stamps, keys[key])) - position > _FRAMES_WORTH_A_SEEK:
            jumps[stamp] = int(keys[key])
        position = rank
    return jumps
