"""A face in a frame, and what every face detector is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the full frame; it may reach over the border.

    Attributes:
        x, y: left and top edge; the first pixel of the frame spans 0 to 1.
        width, height: greater than 0.
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.x, self.y, self.width, self.height)):
            raise ValueError(f"a box needs finite numbers, got {self}")
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a box needs a width and a height above 0, got {self}")

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return self.x + self.width / 2, self.y + self.height / 2

    def iou(self, other: Box) -> float:
        """Intersection over union with another box, in [0, 1]."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        shared = max(across, 0.0) * max(down, 0.0)
        return min(1.0, shared / (self.area + other.area - shared))


@dataclass(frozen=True)
class Face:
    """A face found in a frame.

    Attributes:
        box: where it is.
        score: confidence of the face detector in [0, 1]; says nothing about real or fake.
        landmarks: (x, y) in pixels of left eye, right eye, nose, left and right mouth corner, left and right
            as seen in the picture; None where the detector gives none.
    """

    box: Box
    score: float
    landmarks: tuple[tuple[float, float], ...] | None = None


class FaceDetector(Protocol):
    """Anything that finds faces: frames (uint8, H x W x 3, RGB) in, one list of faces a frame out.

    The faces of a frame are sorted by area, largest first; a frame without a face gives an empty list.
    """

    def __call__(self, frames: Sequence[np.ndarray]) -> list[list[Face]]: ...
