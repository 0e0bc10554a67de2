"""Crops of faces, judged and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unmask.data.decode import decode_image
from unmask.data.encode import encode_image
from unmask.data.layouts.index import Clip
from unmask.data.prepare.people import Find
from unmask.data.prepare.pictures import Masks, Pictures
from unmask.data.prepare.recipe import PrepareRecipe
from unmask.faces.align import align_matrix, aligned_crop
from unmask.faces.face import Box, Face
from unmask.faces.media import Frame
from unmask.faces.quality import sharpness


def find_of(face: Face, position: int, frame: Frame, mask: np.ndarray | None, recipe: PrepareRecipe) -> Find:
    """A face of a frame as the table keeps it, or why the table does not.

    Args:
        face: box and landmarks in pixels of the frame.
        position: of the frame among those taken.
        frame: where it was found.
        mask: uint8 (H, W) of the frame's size, or None.
        recipe: how faces are cut, judged and encoded.
    """
    box = face.box
    find = Find(position, face, manipulated=_share(mask, box) if mask is not None else 0.0)
    if max(box.width, box.height) < recipe.min_face:
        find.dropped = f"smaller than {recipe.min_face} px"
    elif face.score < recipe.min_score:
        find.dropped = f"detector score below {recipe.min_score:g}"
    elif recipe.align and face.landmarks is None:
        find.dropped = "without landmarks"
    if find.dropped:
        return find
    try:
        crop = _cut(frame.image, face, recipe)
    except ValueError:
        find.dropped = "outside of the frame"
        return find
    if recipe.min_sharpness and sharpness(crop) < recipe.min_sharpness:
        find.dropped = f"sharpness below {recipe.min_sharpness:g}"
        return find
    find.row = {
        "image": encode_image(crop, recipe.format),
        "frame": frame.index,
        "box": [box.x, box.y, box.width, box.height],
        "found": face.score,
    }
    if face.landmarks is not None:
        matrix = _matrix(box, face.landmarks, recipe)
        points = np.asarray(face.landmarks) @ matrix[:, :2].T + matrix[:, 2]
        find.row["landmarks"] = points.ravel().tolist()
    if mask is not None:
        find.row["mask"] = encode_image(_cut(cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), face, recipe)[..., 0], "png")
    return find


def _cut(image: np.ndarray, face: Face, recipe: PrepareRecipe) -> np.ndarray:
    if recipe.align and face.landmarks is not None:
        return aligned_crop(image, face.landmarks, recipe.crop)
    return recipe.crop.crop(image, face.box)


def _matrix(box: Box, landmarks: Sequence[tuple[float, float]], recipe: PrepareRecipe) -> np.ndarray:
    """From pixels of the frame to pixels of the crop, (2, 3)."""
    if recipe.align:
        return align_matrix(landmarks, recipe.crop)
    left, top, side = recipe.crop.square(box)
    scale = recipe.crop.size / side
    return np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])


def as_is(clip: Clip, recipe: PrepareRecipe, pictures: Pictures) -> tuple[list[Find], list[str]]:
    """Face crops that a data set comes with, and what was wrong with their masks. JPEG and PNG files stay as they are.

    Raises:
        UnmaskError: none can be read.
    """
    masks, finds = Masks(clip, recipe, lambda: pictures.numbers), []
    for position, frame in enumerate(pictures):
        height, width = frame.image.shape[:2]
        row: dict[str, Any] = {"image": _bytes(frame.image, pictures.path, recipe), "frame": frame.index}
        mask = masks.at(frame)
        if mask is not None:
            row["mask"] = encode_image(mask, "png")
        finds.append(Find(position, Face(Box(0, 0, width, height), 1.0), row))
    return finds, masks.broken


def _bytes(image: np.ndarray, path: Path | None, recipe: PrepareRecipe) -> bytes:
    """The file as it is where a reader of the table sees in it what we saw, else the picture encoded anew: one that is
    turned, transparent or 16 bits deep."""
    if path is not None and path.suffix.lower() in (".jpg", ".jpeg", ".png"):
        data = path.read_bytes()
        if np.array_equal(decode_image(data), image):
            return data
    return encode_image(image, recipe.format)


def _share(mask: np.ndarray, box: Box) -> float:
    """The part of what a mask covers that lies in a box, in [0, 1]."""
    left, top = max(0, round(box.x)), max(0, round(box.y))
    inside = mask[top : max(top, round(box.y + box.height)), left : max(left, round(box.x + box.width))]
    whole = float(mask.sum(dtype=np.int64))
    return float(inside.sum(dtype=np.int64)) / whole if whole else 0.0
