"""Crops turned and scaled so that eyes, nose and mouth always come to the same places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmask.faces.crop import CropRecipe, cut

#: Where recognition networks since SphereFace (Liu et al., arXiv 1704.08063) and ArcFace (arXiv 1801.07698) expect left
#: eye, right eye, nose, left and right mouth corner: pixels of a 112 x 112 crop.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
SIDE = 112


def canonical_points(recipe: CropRecipe) -> np.ndarray:
    """Where the five landmarks come to lie in a crop, (5, 2) in pixels: the template at margin 1, smaller at others."""
    points = (TEMPLATE / SIDE - 0.5) / recipe.margin + 0.5 - np.array([0.0, recipe.shift_y])
    return np.asarray(points * recipe.size)


def align_matrix(landmarks: Sequence[tuple[float, float]], recipe: CropRecipe) -> np.ndarray:
    """The turn, scale and shift (2, 3) that brings five landmarks closest to their canonical points.

    Closest in squared distance (Umeyama, IEEE TPAMI 13(4), 1991); in the plane that is the least-squares fit of one
    complex factor, which cannot mirror.

    Raises:
        ValueError: not five points, or all in one place.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (5, 2):
        raise ValueError(f"five landmarks (x, y) are needed, got {points.shape}")
    here, there = points @ (1, 1j), canonical_points(recipe) @ (1, 1j)
    centred = here - here.mean()
    spread = float(np.abs(centred @ centred.conj()))
    if not spread > 1e-6:
        raise ValueError("the landmarks are all in one place")
    factor = (centred.conj() @ (there - there.mean())) / spread
    shift = there.mean() - factor * here.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def tilt(landmarks: Sequence[tuple[float, float]]) -> float:
    """By how much a face is turned in the picture, degrees in [0, 180]: 0 is upright, 90 lying on its side.

    Raises:
        ValueError: as :func:`align_matrix`.
    """
    matrix = align_matrix(landmarks, CropRecipe())
    return float(abs(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))))


def aligned_crop(frame: np.ndarray, landmarks: Sequence[tuple[float, float]], recipe: CropRecipe) -> np.ndarray:
    """Cut a face out of a frame, upright and at its canonical place.

    Args:
        frame: uint8 (H, W, 3).
        landmarks: left eye, right eye, nose, left and right mouth corner in pixels of the frame.
        recipe: margin 1 is the crop of face recognition; what is more shows more around it.

    Returns:
        uint8 (size, size, 3). Outside of the frame its border pixels are repeated.

    Raises:
        ValueError: as :func:`align_matrix`, or the crop does not touch the frame or is far larger.
    """
    import cv2

    matrix, size = align_matrix(landmarks, recipe), recipe.size
    corners = np.array([(0, 0), (size, 0), (0, size), (size, size)])
    corners = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    left, top = np.floor(corners.min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
    region = cut(frame, left, top, right - left, bottom - top)
    matrix = matrix @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 1:
        # Turning interpolates between four pixels; the averaging that shrinking needs comes first.
        height, width = region.shape[:2]
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        region = cv2.resize(region, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1])
    # The first pixel spans 0 to 1 here; to OpenCV its centre is 0.
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    turned = cv2.warpAffine(region, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned)
