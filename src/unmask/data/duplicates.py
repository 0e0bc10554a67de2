"""Images that show the same picture, found among millions without comparing each with each.

The hash is the sign pattern of an image's low frequencies (Zauner, *Implementation and Benchmarking of Perceptual
Image Hash Functions*, 2010), 16 x 16 of them where 8 x 8 is usual: face crops are all alike at 8 x 8. Of 1,200 crops of
DFDC, the same crop at JPEG 20 is 48 bits away at most (95 %: 16), at half its size 10, and that of another component
never less than 50 (tests/data/test_duplicates.py).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

#: Bits of 256 by which two hashes of one picture may differ.
LIMIT = 24

_SIDE, _KEPT = 48, 16
#: From low to high frequency: what a codec changes lies in the last bands of bits.
_ORDER = np.argsort([row + column for row in range(_KEPT) for column in range(_KEPT)], kind="stable")
#: Within a bucket larger than this, rows are compared with their neighbours in the order of their hashes only.
_BUCKET, _NEIGHBOURS = 256, 32


def perceptual_hash(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Hash of an image, uint8 (H, W, 3), RGB: 256 bits as eight uint32, low frequencies first."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(grey.astype(np.float32))[:_KEPT, :_KEPT].ravel()[_ORDER]
    # The first is the mean of the image: brightness is not what it shows.
    waves[0] = 0
    return np.packbits(waves > np.median(waves[1:])).view(np.uint32)


def near_pairs(hashes: npt.NDArray[np.uint32], limit: int = LIMIT) -> npt.NDArray[np.int64]:
    """Pairs of rows whose hashes differ in at most ``limit`` bits, (P, 2) with the smaller number first, sorted.

    Rows are compared if one of the eight words of their hashes is the same: all pairs of up to 7 differing bits
    are found for certain, of more almost all, since a codec leaves low frequencies alone. A picture that occurs
    hundreds of times is compared with its nearest neighbours only, so that the work stays near N log N.

    Args:
        hashes: (N, 8) of :func:`perceptual_hash`.
    """
    found: set[tuple[int, int]] = set()
    whole = np.lexsort(hashes.T)
    for band in range(hashes.shape[1]):
        order = whole[np.argsort(hashes[whole, band], kind="stable")]
        words = hashes[order, band]
        cuts = np.flatnonzero(words[1:] != words[:-1]) + 1
        starts, ends = np.append(0, cuts), np.append(cuts, len(words))
        several = np.flatnonzero(ends - starts > 1)
        for start, end in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
            bucket = order[start:end]
            reach = len(bucket) - 1 if len(bucket) <= _BUCKET else _NEIGHBOURS
            for step in range(1, reach + 1):
                first, second = bucket[:-step], bucket[step:]
                near = np.bitwise_count(hashes[first] ^ hashes[second]).sum(1) <= limit
                low, high = np.minimum(first[near], second[near]), np.maximum(first[near], second[near])
                found.update(zip(low.tolist(), high.tolist(), strict=True))
    return np.asarray(sorted(found), np.int64).reshape(-1, 2)
