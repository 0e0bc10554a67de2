"""Forgeries made while training goes on: of a real another one every time it is shown."""

from __future__ import annotations

import numpy as np

from unmask.data.table import FaceTable
from unmask.errors import UnmaskError
from unmask.forge.classical import self_blend
from unmask.forge.geometry import AlignedFace, Image


class SelfBlending:
    """Self-blended images (Shiohara and Yamasaki, CVPR 2022, arXiv 2204.08376) in the place of a table's fakes.

    Args:
        table: its reals are blended, those whose five landmarks it knows.
        share: of the fakes that are shown, in (0, 1]; with 1 the table needs none of its own.

    Attributes:
        usable: (N,) bool, the rows that can be blended.

    Raises:
        UnmaskError: no real has landmarks.
        ValueError: ``share`` out of range.
    """

    #: The class of what is made, where a classifier tells manipulations apart.
    name = "self-blend"

    def __init__(self, table: FaceTable, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        self.share = share
        self._table, self._points = table, table.landmarks()
        self.usable = ~table.fake & np.isfinite(self._points).all(axis=(1, 2))
        if not self.usable.any():
            reason = "no real has the five landmarks that self-blending needs: `unmask prepare` writes them, and"
            raise UnmaskError(table.name, f"{reason} `unmask forge SRC OUT` into OUT/real.parquet")

    def __call__(self, row: int, image: Image, rng: np.random.Generator) -> Image:
        """A fake of the real in a row, whose crop is ``image``.

        Raises:
            UnmaskError: its landmarks are those of no face.
        """
        try:
            face = AlignedFace(image, self._points[row].astype(np.float64))
        except ValueError as error:
            raise UnmaskError(self._table.where(row), str(error)) from error
        return self_blend(face, None, rng)[0]
