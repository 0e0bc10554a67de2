"""Forgeries of a face table: for every real a fake, with its mask and its donor, coded as the reals are."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.encode import encode_image
from unmask.data.table import FaceTable
from unmask.data.writer import write_faces
from unmask.errors import UnmaskError
from unmask.forge.classical import Forged, face_swap, reenact, self_blend
from unmask.forge.faces import Faces, find_landmarks, row_key
from unmask.forge.geometry import AlignedFace
from unmask.writing import make_folder

Forge = Callable[[AlignedFace, AlignedFace, np.random.Generator], Forged]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Method:
    """A forgery: what it does, and how to get the function that does it.

    Attributes:
        make: from faces, a folder for models, a seed and who is told the progress to the function; the learned ones fit
            their network here, or read it.
        alone: it takes nothing from a donor.
        learned: it has a network, in the folder for models under the name of the forgery.
    """

    name: str
    description: str
    make: Callable[[Faces, Path, int, Progress | None], Forge]
    alone: bool = False
    learned: bool = False


def _network(module: str) -> Callable[[Faces, Path, int, Progress | None], Forge]:
    """What fits or reads the network of a module of this package; imported when called: it needs torch."""
    return lambda *given: importlib.import_module(f"unmask.forge.{module}").fitted(*given)


#: Every forgery by name.
FORGERIES: dict[str, Method] = {
    method.name: method
    for method in (
        Method("face-swap", "another face, aligned, recoloured and blended in", lambda *_: face_swap),
        Method("reenact", "mouth, jaw and lids pulled to another face's expression", lambda *_: reenact),
        Method(
            "self-blend",
            "the face over itself, changed in colour, sharpness and place (SBI)",
            lambda *_: self_blend,
            alone=True,
        ),
        Method(
            "autoencoder",
            "rendered by a shared-encoder auto-encoder and blended in",
            _network("autoencoder"),
            learned=True,
        ),
        Method("mouth-render", "the mouth painted anew by a network", _network("mouth_render"), learned=True),
        Method(
            "resynthesis",
            "the whole crop rendered by a generator's decoder, nothing blended in",
            _network("resynthesis"),
            alone=True,
            learned=True,
        ),
    )
}


@dataclass(frozen=True)
class Summary:
    """What became of a table: rows written, and why others were left out."""

    rows: int
    left_out: tuple[str, ...]


class Forger:
    """The reals of a table, ready to be forged.

    Args:
        table: face crops; only its reals are used.
        out: folder where tables, the cache of landmarks and fitted models go.
        limit: use that many reals at most, drawn by the seed.
        models: folder of models fitted before, on training data; None fits them here and keeps them in ``out``.

    Raises:
        UnmaskError: no real, or none in which a face is found, or the folder cannot be made.
    """

    def __init__(
        self,
        table: FaceTable,
        out: Path,
        *,
        seed: int = 0,
        limit: int | None = None,
        models: Path | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        rows = np.flatnonzero(~table.fake)
        if limit is not None and limit < len(rows):
            rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
        if not len(rows):
            raise UnmaskError(table.name, "no real to forge")
        self.table, self.out, self.seed, self._progress = table, out, seed, progress
        make_folder(out)
        self.models = models or out
        found = find_landmarks(table, rows, out / "landmarks.json", progress=progress)
        self.faces = Faces(table, rows, found)
        if not len(self.faces):
            raise UnmaskError(table.name, f"no face found in {len(rows)} reals")

    def forge(self, name: str) -> Summary:
        """Write ``out/NAME.parquet``.

        Two names are no forgeries: ``real`` writes the very reals that are forged, coded as the fakes are, and
        ``given`` the fakes that the table already has of them, one per source, re-encoded alike.

        Raises:
            UnmaskError: no such forgery, no network of it in the folder of models given, or the file cannot be written.
        """
        if name == "real":
            return self._write(name, self._reals())
        if name != "given" and name not in FORGERIES:
            raise UnmaskError(f"forgery {name!r}", f"expected real, given, {', '.join(FORGERIES)}")
        left_out: list[str] = []
        summary = self._write(name, self._given(left_out) if name == "given" else self._fakes(name, left_out))
        return Summary(summary.rows, (*summary.left_out, *left_out))

    def _write(self, name: str, rows: Iterator[dict[str, Any]]) -> Summary:
        return Summary(write_faces(self.out / f"{name}.parquet", rows), tuple(self.faces.left_out))

    def _reals(self) -> Iterator[dict[str, Any]]:
        for place, row in enumerate(map(int, self.faces.rows)):
            self._say("real", place)
            face = self.faces.face(place)
            yield {
                **self.table.row(row),
                "image": encode_image(face.image, "jpeg"),
                "landmarks": face.points.ravel().tolist(),
            }

    def _given(self, left_out: list[str]) -> Iterator[dict[str, Any]]:
        """One fake video of every source, drawn by the seed, at the frame of each real or the nearest, each crop once.

        Faces are not looked for: somebody else's forger chose them.
        """
        table, videos, family = self.table, self.table.video_key(), self.table.family
        rows = np.random.default_rng(self.seed).permutation(np.flatnonzero(table.fake))
        one = {(family[row], table.source[row]): videos[row] for row in rows}
        crops: dict[str, list[int]] = {}
        for row in np.flatnonzero(table.fake).tolist():
            crops.setdefault(videos[row], []).append(row)
        used = set()
        for place, real in enumerate(map(int, self.faces.rows)):
            self._say("given", place)
            frames = crops.get(one.get((family[real], table.source[real]), ""), [])
            if not frames:
                continue
            row = min(frames, key=lambda row: abs(int(table.frame[row] - table.frame[real])))
            if row in used:
                continue
            used.add(row)
            try:
                image = table.image(row)
            except UnmaskError as error:
                left_out.append(str(error))
                continue
            yield {**table.row(row), "image": encode_image(image, "jpeg")}

    def _fakes(self, name: str, left_out: list[str]) -> Iterator[dict[str, Any]]:
        method = FORGERIES[name]
        network = self.models / f"{name}.safetensors"
        if method.learned and self.models != self.out and not network.exists():
            # Fitted here it would learn from what may be test data, and stand among those of the training split.
            raise UnmaskError(network, "no such network; without models given it is fitted to this table")
        say = self._progress
        fitting = None if say is None else lambda done, steps: say(f"network of {name}", done, steps)
        forge = method.make(self.faces, self.models, self.seed, fitting)
        for place, row in enumerate(map(int, self.faces.rows)):
            self._say(name, place)
            digest = hashlib.sha256(f"{self.seed}/{name}/{row_key(self.table, row)}".encode()).digest()
            rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            other = place if method.alone else self.faces.donor(place, rng)
            if other is None:
                left_out.append(f"{self.table.where(row)}: nobody of the same split may lend a face")
                continue
            target = self.faces.face(place)
            image, mask = forge(target, self.faces.face(other), rng)
            known = self.table.row(row)
            yield {
                **known,
                "image": encode_image(image, "jpeg"),
                "label": "fake",
                "method": name,
                "video": f"{name}/{known['video']}",
                "donor": str(self.table.source[self.faces.rows[other]]),
                "landmarks": target.points.ravel().tolist(),
                "mask": encode_image(mask, "png"),
            }

    def _say(self, name: str, place: int) -> None:
        if self._progress is not None:
            self._progress(name, place + 1, len(self.faces))
