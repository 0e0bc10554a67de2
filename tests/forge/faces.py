"""Faces for the forgers: one portrait, varied, with its five points known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.clips import portrait
from tests.tables import encode
from unmask.data import FaceTable
from unmask.data.writer import write_faces
from unmask.forge.geometry import AlignedFace

#: Left eye, right eye, nose, mouth corners of the portrait at 256 px.
POINTS = np.array([[103.0, 52.0], [124.0, 53.0], [113.5, 65.5], [101.5, 71.0], [123.0, 71.5]])


def face(seed: int = 0, side: int = 112) -> AlignedFace:
    """The portrait's face cut out at a place, size, angle and colour that follow from the seed."""
    rng = np.random.default_rng(seed)
    middle, zoom, angle = POINTS.mean(axis=0), side / 76 * rng.uniform(0.9, 1.1), rng.uniform(-0.2, 0.2)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = np.array([side / 2, side / 2]) + rng.uniform(-4, 4, 2) - turn @ middle
    image = cv2.warpAffine(portrait(), np.c_[turn, offset], (side, side), borderMode=cv2.BORDER_REPLICATE)
    image = np.rint(image * rng.uniform(0.8, 1.0, 3)).clip(0, 255).astype(np.uint8)
    return AlignedFace(image, POINTS @ turn.T + offset)


def table(path: Path, count: int = 8, split: str = "train", landmarks: bool = False) -> FaceTable:
    """A table of that many reals, each a person of its own, and one fake that the table came with."""
    rows = [
        {
            "image": encode(face(number).image),
            "label": "real",
            "method": "real",
            "dataset": "made",
            "split": split,
            "video": f"clip{number}",
            "source": f"clip{number}",
            "component": f"person{number}",
            "frame": 0,
            **({"landmarks": face(number).points.ravel().tolist()} if landmarks else {}),
        }
        for number in range(count)
    ]
    rows.append({**rows[0], "label": "fake", "method": "theirs", "video": "fake0", "image": encode(face(99).image)})
    write_faces(path, rows)
    return FaceTable.read(path)
