"""The faces of a table with their five points, found once; and who may lend a face to whom."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unmask.data.readable import readable
from unmask.data.table import FaceTable
from unmask.errors import UnmaskError
from unmask.faces import MTCNN, FaceDetector
from unmask.faces.align import TEMPLATE
from unmask.forge.geometry import AlignedFace, affine
from unmask.writing import write_text

#: A tight crop shows a face without its surroundings; the detector wants some: this share of the side, reflected.
_BORDER = 0.35
_BATCH = 16
#: How many others are looked at before the most similar is taken.
_CANDIDATES = 24
#: Numbers that say how alike two faces are, see :func:`_feature`.
_FEATURES = 23

Points = list[float] | None


def row_key(table: FaceTable, row: int) -> str:
    """What names a row of a table for good: data set, clip and frame; quality and person if not the usual ones."""
    key = f"{table.dataset[row]}/{table.method[row]}/{table.video[row]}/{table.frame[row]}"
    if table.quality[row] != "source":
        key += f"/{table.quality[row]}"
    return f"{key}/person {table.track[row]}" if table.track[row] else key


def find_landmarks(
    table: FaceTable,
    rows: npt.NDArray[np.int64],
    cache: Path,
    detector: FaceDetector | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[int, Points]:
    """The five points of each row's largest face, pixels of the crop, or None without a face (or an image).

    Args:
        cache: JSON file of what was found before, by the bytes of each image; what is new is added.

    Returns:
        By row.
    """
    known: dict[str, Points] = json.loads(cache.read_text("utf-8")) if cache.exists() else {}
    names = {int(row): hashlib.sha256(table.encoded(int(row))).hexdigest() for row in rows}
    missing = [row for row, name in names.items() if name not in known]
    detector = detector or MTCNN()
    for start in range(0, len(missing), _BATCH):
        batch, images, borders = missing[start : start + _BATCH], [], {}
        known |= dict.fromkeys(names[row] for row in batch)
        for row, image in readable(batch, table.image, []):
            borders[row] = border = round(_BORDER * max(image.shape[:2]))
            # Symmetric, which may repeat more often than the crop is wide.
            images.append(np.pad(image, ((border, border), (border, border), (0, 0)), mode="symmetric"))
        for (row, border), faces in zip(borders.items(), detector(images) if images else [], strict=True):
            points = next((face.landmarks for face in faces if face.landmarks is not None), None)
            if points is not None:
                inside = (np.asarray(points, dtype=float) - border).ravel()
                known[names[row]] = [round(float(value), 2) for value in inside]
        if progress is not None:
            progress("landmarks", start + len(batch), len(missing))
    if missing:
        write_text(cache, json.dumps(known) + "\n")
    return {row: known[name] for row, name in names.items()}


class Faces:
    """The reals of a table that have five usable points.

    Attributes:
        rows: (N,) their rows in the table.
        left_out: why each of the others is not among them.
    """

    def __init__(self, table: FaceTable, rows: npt.NDArray[np.int64], found: Mapping[int, Points]) -> None:
        self.table = table
        self.left_out: list[str] = []
        kept, features = [], []
        self._points: dict[int, npt.NDArray[np.float64]] = {}
        for row in map(int, rows):
            try:
                image, flat = table.image(row), found.get(row)
                if flat is None:
                    raise ValueError("no face found")
                face = AlignedFace(image, np.asarray(flat).reshape(5, 2))
            except (ValueError, UnmaskError) as error:
                reason = error.reason if isinstance(error, UnmaskError) else str(error)
                self.left_out.append(f"{table.where(row)}: {reason}")
                continue
            self._points[row] = face.points
            kept.append(row)
            features.append(_feature(face))
        self.rows = np.asarray(kept, dtype=np.int64)
        self._features = np.asarray(features).reshape(len(kept), _FEATURES)

    def __len__(self) -> int:
        return len(self.rows)

    def face(self, place: int) -> AlignedFace:
        """The face at a place of :attr:`rows`."""
        row = int(self.rows[place])
        return AlignedFace(self.table.image(row), self._points[row])

    def donor(self, place: int, rng: np.random.Generator) -> int | None:
        """The place of the most similar of some faces drawn from the same split, of another component; or None."""
        table, row = self.table, self.rows[place]
        may = (table.split[self.rows] == table.split[row]) & (table.component[self.rows] != table.component[row])
        others = rng.permutation(np.flatnonzero(may))[:_CANDIDATES]
        if not len(others):
            return None
        distances = np.linalg.norm(self._features[others] - self._features[place], axis=1)
        return int(others[np.argmin(distances)])


def _feature(face: AlignedFace) -> npt.NDArray[np.float64]:
    """(23,): pose and expression, as the points say them, and complexion, as the mean colour says it."""
    shape = (face.points - face.points.mean(axis=0)) / face.scale
    back = face.points @ affine(face.points, TEMPLATE)[:, :2].T
    residual = back - back.mean(axis=0) - (TEMPLATE - TEMPLATE.mean(axis=0))
    colour = face.template_image(16)[4:14, 4:12].reshape(-1, 3).mean(axis=0)
    return np.concatenate([shape.ravel() / 10, residual.ravel() / 3, colour / 25])
