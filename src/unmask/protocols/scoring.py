"""The test side of a protocol: images decoded once for all runs, raw log-odds of every row of every cell."""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unmask.data.readable import readable
from unmask.data.table import FaceTable
from unmask.errors import UnmaskError
from unmask.evaluation.evaluate import cropper
from unmask.faces.crop import CropRecipe
from unmask.protocols.protocol import Protocol, TestSet
from unmask.protocols.scores import Scored
from unmask.writing import make_folder, replacing

if TYPE_CHECKING:
    from unmask.detector import Card, Scorer

log = logging.getLogger("unmask")


@dataclass(frozen=True)
class Images:
    """The rows of one table: uint8 (N, S, S, 3) on disk, mapped; and their (N,) components."""

    pixels: npt.NDArray[np.uint8]
    component: npt.NDArray[np.str_]


class Tests:
    """Every table that the cells of a protocol need, each decoded and resized once, and kept in a cache folder.

    Args:
        protocol: whose tests.
        data: the folder that the protocol's table names are relative to.
        cache: where decoded tables are kept; processes may share it.
    """

    __test__ = False

    def __init__(self, protocol: Protocol, data: Path, cache: Path) -> None:
        self._data, self._cache = data, cache
        self._sets = {test.dataset: test for test in protocol.tests}

    def tables(self) -> dict[str, Path]:
        """Name of the table, as scores are kept by, and its path: ``dataset/manipulation or real/quality``."""
        return {
            f"{test.dataset}/{kind}/{quality}": self._data / test.tables.format(manipulation=kind, quality=quality)
            for test in self._sets.values()
            for kind in (test.real, *test.manipulations)
            for quality in test.qualities
        }

    def check(self) -> None:
        """Every table is there, or it is named: before hours of training, not after.

        Raises:
            UnmaskError: the first that is missing, and how many there are.
        """
        missing = [path for path in self.tables().values() if not path.exists()]
        if missing:
            more = f" ({len(missing)} of {len(self.tables())} test tables are missing)" if len(missing) > 1 else ""
            raise UnmaskError(missing[0], f"no such file{more}")

    def images(self, name: str, scorer: Scorer) -> Images:
        """One table as the detector takes it; from the cache where the file has not changed since."""
        stem = self._stem(name, scorer.card)
        pixels, component = self._cache / f"{stem}.npy", self._cache / f"{stem}.components.npy"
        if not component.exists():
            make_folder(self._cache)
            crops, components = self._crops(name, scorer.card.crop)
            kept = [scorer.prepare([crop])[0].cpu().numpy() for crop in crops]
            whole = np.rint(np.stack(kept).transpose(0, 2, 3, 1) * 255).astype(np.uint8)
            # The second file is the sign that the first is there.
            for target, array in ((pixels, whole), (component, components)):
                with replacing(target) as file:
                    np.save(file, array)
        return Images(np.load(pixels, mmap_mode="r"), np.load(component))

    def _crops(self, name: str, recipe: CropRecipe) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.str_]]:
        table, rows = self._rows(name)
        left_out: list[dict[str, str]] = []
        read = cropper(recipe if self._set(name).recrop else None)
        crops = dict(readable(rows, partial(read, table), left_out))
        for each in left_out:
            log.warning("left out of the test: %s: %s", each["row"], each["reason"])
        if not crops:
            raise UnmaskError(self.tables()[name], f"has no row for the test {name}")
        return list(crops.values()), table.component[list(crops)].astype(str)

    def _rows(self, name: str) -> tuple[FaceTable, list[int]]:
        kind = name.split("/")[1]
        test, table = self._set(name), FaceTable.read(self.tables()[name])
        chosen = ~table.fake if kind == test.real else table.fake
        if "{manipulation}" not in test.tables and kind != test.real:
            chosen = chosen & (table.method == kind)
        if test.every > 1:
            chosen &= [zlib.crc32(name.encode()) % test.every == 0 for name in table.component]
        return table, np.flatnonzero(chosen).tolist()

    def _set(self, name: str) -> TestSet:
        """The test set that a table's name begins with."""
        return self._sets[name.split("/")[0]]

    def _stem(self, name: str, card: Card) -> str:
        """Name of the cache of a table: by its size and time, and by what is done to its rows."""
        stat, test = self.tables()[name].stat(), self._set(name)
        stem = f"{name.replace('/', '__')}-{card.input_size}-{test.every}-{stat.st_size}-{stat.st_mtime_ns}"
        return f"{stem}-{zlib.crc32(repr(card.crop).encode()):08x}" if test.recrop else stem

    def score(self, scorer: Scorer) -> dict[str, Scored]:
        """Every row of every table, by the names of :meth:`tables`."""
        scored = {}
        for name in self.tables():
            images = self.images(name, scorer)
            scored[name] = Scored(scorer.log_odds(images.pixels), images.component)
        return scored
