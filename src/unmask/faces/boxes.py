"""Many boxes at once, given as edges (N, 4): left, top, right, bottom in pixels, half open."""

from __future__ import annotations

import numpy as np


def suppress(edges: np.ndarray, scores: np.ndarray, threshold: float, of_smaller: bool = False) -> np.ndarray:
    """Greedy non-maximum suppression: of boxes that overlap, the one with the best score stays.

    Instead of one box after the other, the rule "a box stays unless a better one that stays covers it" is
    applied to all at once until nothing changes. The boxes are ordered by score, so the result is that of the
    loop.

    Args:
        edges: (N, 4).
        scores: (N,); ties go to the earlier box.
        threshold: overlap in [0, 1] above which the worse box goes.
        of_smaller: overlap as a part of the smaller box instead of the union.

    Returns:
        Indices of the boxes that stay, best first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = edges[order]
    corner = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    shared = np.clip(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - corner, 0, None).prod(axis=2)
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    whole = np.minimum(area[:, None], area) if of_smaller else area[:, None] + area - shared
    # [i, j]: box i would put an end to box j.
    covers = np.triu(shared > threshold * whole, k=1)
    stays = np.ones(len(boxes), dtype=bool)
    while True:
        after = ~covers[stays].any(axis=0)
        if np.array_equal(after, stays):
            return order[stays]
        stays = after


def move_edges(edges: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Move each edge (N, 4) by its part (N, 4) of the width or height of its box."""
    size = edges[:, 2:] - edges[:, :2]
    return edges + moves * np.tile(size, 2)


def to_squares(edges: np.ndarray) -> np.ndarray:
    """The square round the same centre with the longer side of each box, (N, 4)."""
    centre = (edges[:, :2] + edges[:, 2:]) / 2
    half = (edges[:, 2:] - edges[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def windows(image: np.ndarray, squares: np.ndarray, side: int) -> np.ndarray:
    """Each square (N, 4) of the image, scaled to (N, side, side, 3); black outside of the image."""
    import cv2

    return np.stack(
        [
            cv2.resize(_half_open_crop(image, square), (side, side), interpolation=cv2.INTER_AREA)
            for square in np.rint(squares).astype(int)
        ]
    )


def _half_open_crop(image: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Rows top to bottom, columns left to right of an image (H, W, 3), whole numbers; black outside of it."""
    height, width = image.shape[:2]
    left, top, right, bottom = edges.tolist()
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return image[top:bottom, left:right]
    crop = np.zeros((bottom - top, right - left, 3), image.dtype)
    inner = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    y, x = max(-top, 0), max(-left, 0)
    crop[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return crop
