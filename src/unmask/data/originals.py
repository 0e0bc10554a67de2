"""Which real of a table each fake was made from."""

from __future__ import annotations

import numpy as np

from unmask.data.table import FaceTable


class Originals:
    """Finds the original of a fake, among the reals of its table."""

    def __init__(self, table: FaceTable) -> None:
        self._table, self._family = table, table.family
        self._reals: dict[tuple[str, str, int], list[int]] = {}
        for row in np.flatnonzero(~table.fake).tolist():
            self._reals.setdefault(self._person(row), []).append(row)

    def of(self, fake: int) -> int | None:
        """The row of the real that the fake in a row was made from: the same person in the nearest frame; None where
        the table lacks it.

        Where the real is there at the fake's quality, it is taken at that: quality must not tell the two apart.
        """
        table = self._table
        reals = self._reals.get(self._person(fake))
        if not reals:
            return None
        reals = [row for row in reals if table.quality[row] == table.quality[fake]] or reals
        return reals[int(np.argmin(np.abs(table.frame[reals] - table.frame[fake])))]

    def exactly_of(self, fake: int) -> int | None:
        """The same if it is at the fake's quality and the very frame, else None."""
        table, real = self._table, self.of(fake)
        alike = real is not None and all(names[real] == names[fake] for names in (table.quality, table.frame))
        return real if alike else None

    def _person(self, row: int) -> tuple[str, str, int]:
        return self._family[row], self._table.source[row], int(self._table.track[row])
