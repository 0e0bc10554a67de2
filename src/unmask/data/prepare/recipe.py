"""What is done to each clip. One recipe makes one table: a run that goes on must have the recipe it began with."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from unmask.faces.crop import CropRecipe


@dataclass(frozen=True)
class PrepareRecipe:
    """How clips become face crops.

    Attributes:
        frames: taken of each clip, spread evenly; at least 1.
        rate: frames a second, above 0, in the place of ``frames``. Frames that were extracted before have no time:
            all of them are taken then.
        people: ``main``: one person a clip, the one whom the masks show as manipulated, else the one with the largest
            face among those seen long enough. ``all``: everybody seen long enough, but nobody of a fake whom its
            masks leave as they were.
        crop: margin, shift and size; the margin of 1.3 is that of FaceForensics++.
        align: turn each face upright, by its landmarks.
        like_original: cut a fake as its original is cut: the same frames, each face where it is found in the original,
            so that the two crops lie pixel for pixel. A fake whose original is not there is cut by its own faces. The
            original is decoded once more for each of its fakes.
        format: of the crops: JPEG of quality 95, or PNG.
        min_face: pixels; smaller faces (longer side of the box) are left out.
        min_score: in [0, 1]; faces that the face detector is less certain of are left out.
        min_sharpness: least :func:`unmask.faces.quality.sharpness` of a crop; more blurred ones are left out.
        hwaccel: device that decodes, see :func:`unmask.faces.video.check_hwaccel`.

    Raises:
        ValueError: a value is out of range.
    """

    frames: int = 32
    rate: float | None = None
    people: Literal["main", "all"] = "main"
    crop: CropRecipe = field(default_factory=CropRecipe)
    align: bool = False
    like_original: bool = False
    format: Literal["jpeg", "png"] = "jpeg"
    min_face: int = 32
    min_score: float = 0.9
    min_sharpness: float = 0.0
    hwaccel: str | None = None

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate must be above 0, got {self.rate}")
        if self.people not in ("main", "all"):
            raise ValueError(f"people must be main or all, got {self.people!r}")
        if self.format not in ("jpeg", "png"):
            raise ValueError(f"format must be jpeg or png, got {self.format!r}")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score must be in [0, 1], got {self.min_score}")
        if self.min_face < 0 or not 0 <= self.min_sharpness <= 5:  # white noise has 4.5
            raise ValueError(
                f"min_face from 0 on and min_sharpness from 0 to 5, got {self.min_face} and {self.min_sharpness}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what a row depends on. Where frames are decoded does not matter."""
        values = asdict(self)
        del values["hwaccel"]
        if not self.like_original:  # folders begun by a version without it go on
            del values["like_original"]
        return values
