"""The crop round a face: the same in training and in use, because the recipe travels in the detector file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from unmask.faces.face import Box


@dataclass(frozen=True)
class CropRecipe:
    """A square round a face box, scaled to a fixed size; the face is not turned or aligned.

    Attributes:
        margin: side of the square as a multiple of the longer side of the box, in [0.5, 10].
        shift_y: how far the centre moves down, as a part of the side, in [-1, 1].
        size: side of the crop in pixels, in [8, 4096].

    Raises:
        ValueError: a value is out of range.
    """

    margin: float = 1.3
    shift_y: float = 0.0
    size: int = 224

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and 0.5 <= self.margin <= 10):
            raise ValueError(f"margin must be in [0.5, 10], got {self.margin}")
        if not (math.isfinite(self.shift_y) and -1 <= self.shift_y <= 1):
            raise ValueError(f"shift_y must be in [-1, 1], got {self.shift_y}")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 8 <= self.size <= 4096:
            raise ValueError(f"size must be a whole number in [8, 4096], got {self.size!r}")

    def square(self, box: Box) -> tuple[int, int, int]:
        """Left edge, top edge and side in whole pixels of the full frame; it may reach over the border."""
        side = max(1, round(self.margin * max(box.width, box.height)))
        x, y = box.centre
        return round(x - side / 2), round(y + self.shift_y * side - side / 2), side

    def crop(self, frame: np.ndarray, box: Box) -> np.ndarray:
        """Cut the face out of a frame.

        Args:
            frame: uint8 (H, W, 3).
            box: the face in pixels of the frame.

        Returns:
            uint8 (size, size, 3). Outside of the frame its border pixels are repeated.

        Raises:
            ValueError: the frame is not uint8 (H, W, 3), or the square does not touch it or is far
                larger.
        """
        import cv2

        left, top, side = self.square(box)
        inner = cut(frame, left, top, side, side)
        if side == self.size:
            return np.array(inner)
        # Area averaging lets no alias through when shrinking; when growing, linear does not overshoot.
        how = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(inner, (self.size, self.size), interpolation=how))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CropRecipe:
        """The recipe that :meth:`to_dict` wrote.

        Raises:
            ValueError: an entry is unknown, of the wrong kind or out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown entries in a crop recipe: {', '.join(map(str, unknown))}")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name} must be a number, got {value!r}")
        return cls(**values)


def cut(frame: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """A rectangle of a frame, which may reach over its border: the border pixels are repeated there.

    Returns:
        uint8 (height, width, 3); a view of the frame where it can be one.

    Raises:
        ValueError: the frame is not uint8 (H, W, 3), or the rectangle does not touch it or is far larger.
    """
    import cv2

    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"a frame must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
    high, wide = frame.shape[:2]
    what = f"the rectangle of {width} x {height} pixels at ({left}, {top})"
    if left >= wide or top >= high or left + width <= 0 or top + height <= 0:
        raise ValueError(f"{what} does not touch the frame of {wide} x {high} pixels")
    over = (-top, top + height - high, -left, left + width - wide)
    if max(over) > max(high, wide, 1024):
        # The repeated border would be all there is to see, and could fill the memory.
        raise ValueError(f"{what} is far larger than the frame of {wide} x {high} pixels")
    inner = frame[max(top, 0) : top + height, max(left, 0) : left + width]
    if max(over) > 0:
        above, below, before, after = (max(0, part) for part in over)
        inner = cv2.copyMakeBorder(inner, above, below, before, after, cv2.BORDER_REPLICATE)
    return np.asarray(inner)
