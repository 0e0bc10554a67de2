"""Pictures and clips the wrong way up: where no face is sure, they are looked at turned by quarters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unmask.detection.verdict import MIN_SIDE
from unmask.faces.align import tilt
from unmask.faces.face import Box

if TYPE_CHECKING:
    from unmask.faces import Face, FaceDetector, Media

#: From this confidence of the face finder on nobody looks further. One in four upside-down faces is found as if it were
#: upright, its mouth for eyes, but hardly one as surely.
SURE = 0.998
#: A face that is seen in a turned picture only must be as sure as this, in this many of the frames looked at.
MIN_FOUND, MIN_FRAMES = 0.98, 2
#: So many frames of a clip are looked at, spread over it.
_LOOKED = 8


def find_quarters(finder: FaceDetector, images: Sequence[np.ndarray], found: Sequence[Sequence[Face]]) -> int:
    """By how many quarters clockwise a picture or clip is to be turned for its faces to be surest.

    Args:
        finder: finds the faces.
        images: the frames, uint8 (H, W, 3).
        found: the faces of each as it is.

    Returns:
        0 to 3; 0 without a further look if the faces are sure as they are, and if turning shows none that is surer.
    """
    step = -(-len(images) // _LOOKED)
    looked = images[::step]
    here = [_surest(faces, 0.0) for faces in found[::step]]
    doubt = _doubt(here)
    if doubt <= 1 - SURE:
        return 0
    best, most = 0, sum(here)
    for quarters in (1, 2, 3):
        there = [_surest(finder([np.ascontiguousarray(_turned(image, quarters))])[0], MIN_FOUND) for image in looked]
        # Of a face that fills the picture the finder is never sure: a little surer is not enough.
        clear = sum(map(bool, there)) >= min(MIN_FRAMES, len(looked)) and _doubt(there) <= doubt / 2
        if clear and sum(there) > most:
            best, most = quarters, sum(there)
    return best


def turn_media(media: Media, quarters: int) -> Media:
    """The media turned clockwise; no pixel is copied, and sizes are still those of the media as given."""
    return replace(media, frames=[replace(each, image=_turned(each.image, quarters)) for each in media.frames])


def box_as_given(box: Box, image: np.ndarray, quarters: int) -> Box:
    """Where a box of a picture that was turned clockwise lies in it as it was before.

    Args:
        box: in pixels of the turned picture.
        image: the turned picture, (H, W, 3).
        quarters: by how many it was turned.
    """
    height, width = image.shape[:2]
    for _ in range(quarters):
        box = Box(box.y, width - box.x - box.width, box.height, box.width)
        height, width = width, height
    return box


def _turned(image: np.ndarray, quarters: int) -> np.ndarray:
    return np.rot90(image, -quarters)


def _doubt(scores: Sequence[float]) -> float:
    """How far the finder is from certain, over the frames in which it sees a face; 1 if it sees none."""
    seen = [score for score in scores if score]
    return 1 - float(np.mean(seen)) if seen else 1.0


def _surest(faces: Sequence[Face], least: float) -> float:
    """The best score, if it is ``least`` or more, of faces that are large enough and nearer to upright than to lying;
    0 if there is none."""
    scores = [
        face.score
        for face in faces
        if max(face.box.width, face.box.height) >= MIN_SIDE
        and (face.landmarks is None or tilt(face.landmarks) <= 45)
        and face.score >= least
    ]
    return max(scores, default=0.0)
