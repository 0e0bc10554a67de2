"""Faces as five points: alignment to a template, masks in the template's frame, warps and colour transfer.

Points are (x, y) in pixels: left eye, right eye, nose tip, left and right mouth corner, left as seen in the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from unmask.faces.align import SIDE, TEMPLATE

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

#: Inner face (brows to chin) and mouth region as ellipses in the template's frame: centre and half axes.
FACE = ((56.0, 72.0), (31.0, 35.0))
MOUTH = ((56.1, 92.5), (23.0, 14.0))


@dataclass(frozen=True)
class AlignedFace:
    """A crop, uint8 (H, W, 3) RGB, with its five points (5, 2)."""

    image: Image
    points: Points

    def __post_init__(self) -> None:
        if self.points.shape != (5, 2) or not np.isfinite(self.points).all():
            raise ValueError("needs five points (x, y)")
        eyes = float(np.linalg.norm(self.points[1] - self.points[0]))
        drop = float(np.linalg.norm(self.points[3:].mean(axis=0) - self.points[:2].mean(axis=0)))
        if min(eyes, drop) < 0.05 * max(self.image.shape[:2]) or abs(np.linalg.det(self.to_template[:, :2])) < 1e-6:
            raise ValueError("the five points lie too close together")

    @property
    def to_template(self) -> Points:
        """(2, 3) affine map from the crop to the template, least squares over the five points."""
        return affine(self.points, TEMPLATE)

    @property
    def scale(self) -> float:
        """Crop pixels a template pixel."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.to_template[:, :2]))))

    def template_image(self, side: int = SIDE, region: tuple[float, float, float] | None = None) -> Image:
        """The face in the template's frame, (side, side, 3); ``region`` is a square of it: x, y, width."""
        return warp(self.image, zoomed(self.to_template, side, region), (side, side))

    def from_template(self, image: npt.NDArray, region: tuple[float, float, float] | None = None) -> npt.NDArray:
        """An image of the template's frame, or of a square of it, where it lies in the crop."""
        matrix = zoomed(self.to_template, image.shape[0], region)
        return warp(image, cv2.invertAffineTransform(matrix), self.image.shape[:2])


def affine(start: Points, end: Points) -> Points:
    """The (2, 3) affine map that takes points to points best, least squares."""
    ones = np.concatenate([start, np.ones((len(start), 1))], axis=1)
    return np.linalg.lstsq(ones, end, rcond=None)[0].T


def zoomed(matrix: Points, side: int, region: tuple[float, float, float] | None) -> Points:
    """A map to the template changed into one to a (side, side) picture of a square of the template."""
    x, y, width = region or (0.0, 0.0, float(SIDE))
    zoom = side / width
    return np.concatenate([matrix[:, :2] * zoom, (matrix[:, 2:] - [[x], [y]]) * zoom], axis=1)


def warp(image: npt.NDArray, matrix: npt.NDArray, shape: tuple[int, ...]) -> npt.NDArray:
    """An image through a (2, 3) map, bilinear, its border repeated; (H, W) of the result in ``shape``."""
    return cv2.warpAffine(
        image, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(image.dtype, copy=False)


@lru_cache(maxsize=64)
def _ellipse(region: tuple[tuple[float, float], tuple[float, float]], softness: float) -> npt.NDArray[np.float32]:
    (x, y), (a, b) = region
    rows, columns = np.mgrid[:SIDE, :SIDE]
    # A superellipse of degree 2.5 is nearer to a face than an ellipse.
    radius = ((np.abs(columns - x) / a) ** 2.5 + (np.abs(rows - y) / b) ** 2.5) ** (1 / 2.5)
    return np.clip((1 - radius) / softness, 0, 1).astype(np.float32)


def soft_mask(face: AlignedFace, region: tuple[tuple[float, float], tuple[float, float]], softness: float) -> Points:
    """(H, W) in [0, 1]: 1 inside a region of the template, falling to exactly 0 at its rim; no crop border inside."""
    inside = _ellipse(region, softness).copy()
    inside[[0, -1]] = 0  # so that a repeated border repeats nothing
    inside[:, [0, -1]] = 0
    return face.from_template(inside).astype(np.float64)


def blend(target: Image, source: npt.NDArray, mask: Points) -> Image:
    """``source`` over ``target`` by a mask (H, W) in [0, 1]; where the mask is 0 the target stays to the bit."""
    blended = target.copy()
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows):
        inside = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        under = target[inside]
        mixed = under + mask[inside][..., None] * (source[inside].astype(np.float64) - under)
        blended[inside] = np.rint(mixed).clip(0, 255)
    return blended


def transfer_colour(source: Image, target: Image, mask: Points) -> Image:
    """``source`` with mean and spread of ``target`` under the mask, in CIELAB (Reinhard et al., 2001)."""
    inside = mask > 0.5
    if inside.sum() < 16:
        return source
    ours = cv2.cvtColor(source, cv2.COLOR_RGB2LAB).astype(np.float64)
    theirs = cv2.cvtColor(target, cv2.COLOR_RGB2LAB).astype(np.float64)
    for channel in range(3):
        a, b = ours[..., channel][inside], theirs[..., channel][inside]
        gain = np.clip(b.std() / max(a.std(), 1e-3), 0.5, 2.0)
        ours[..., channel] = (ours[..., channel] - a.mean()) * gain + b.mean()
    return cv2.cvtColor(np.rint(ours.clip(0, 255)).astype(np.uint8), cv2.COLOR_LAB2RGB).astype(np.uint8, copy=False)


def displace(image: Image, anchors: Points, shifts: Points, reach: float) -> Image:
    """Move the surroundings of anchors: a pixel at distance d goes along by exp(-d^2 / 2 reach^2) of the shift.

    Args:
        anchors: (K, 2) pixels, where the shift is full.
        shifts: (K, 2) pixels, by how much the content there moves.
        reach: pixels.
    """
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float64)
    where_x, where_y = columns.copy(), rows.copy()
    for (x, y), (dx, dy) in zip(anchors, shifts, strict=True):
        near = np.exp(-((columns - x - dx) ** 2 + (rows - y - dy) ** 2) / (2 * reach**2))
        where_x -= near * dx
        where_y -= near * dy
    return cv2.remap(
        image,
        where_x.astype(np.float32),
        where_y.astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.uint8, copy=False)
