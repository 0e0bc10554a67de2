"""In which order an epoch shows its videos, and which frame of each."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from unmask.data.row_groups import RowGroups

Rows = npt.NDArray[np.int64]


class Order:
    """The rows of one class in an endless sequence of epochs, one random frame a video, every video once an epoch.

    A function of the seed alone. Of a table in memory every order of the videos is as likely. Of a streamed one the
    order is shuffled in two steps: row groups in random order, as many of them as fit into a quarter of the buffer
    side by side, and the rows of these among each other. So each row group is fetched once an epoch. Rows that are
    shown beside a partner follow each other by the row groups of the partners, divided in the same way: where partners
    lie anywhere in the table, their row groups are fetched once for each block of rows.

    Args:
        rows: (N,) table rows of the class.
        videos: (N,) what video each of them belongs to.
        key: what the random numbers follow from.
        streamed: the table's row groups, if it is streamed.
        partner: of a row, the row that is shown beside it, or None.
    """

    def __init__(
        self,
        rows: Rows,
        videos: np.ndarray,
        key: tuple[int, ...],
        streamed: RowGroups | None,
        partner: Callable[[int], int | None] | None = None,
    ) -> None:
        numbers = {video: number for number, video in enumerate(sorted(set(videos)))}
        coded = np.fromiter((numbers[video] for video in videos), np.int64, len(videos))
        order = np.argsort(coded, kind="stable")
        self._rows = rows[order]
        self._starts = np.searchsorted(coded[order], np.arange(len(numbers) + 1))
        self._key, self._streamed, self._partner = key, streamed, partner
        self._epochs: dict[int, Rows] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Videos."""
        return len(self._starts) - 1

    def __getitem__(self, position: int) -> int:
        """The row at a position of the endless sequence."""
        epoch, place = divmod(position, len(self))
        with self._lock:
            if epoch not in self._epochs:
                # Loader threads may still be at the end of the last epoch when one begins the next.
                self._epochs = {kept: rows for kept, rows in self._epochs.items() if abs(kept - epoch) <= 1}
                self._epochs[epoch] = self._shuffled(epoch) if self._streamed is None else self._local(epoch)
            chosen = int(self._epochs[epoch][place])
        if self._streamed is not None:
            return chosen
        frames = self._rows[self._starts[chosen] : self._starts[chosen + 1]]
        return int(frames[np.random.default_rng((*self._key, epoch, place)).integers(len(frames))])

    def _shuffled(self, epoch: int) -> Rows:
        """(videos,) numbers of the videos."""
        return np.random.default_rng((*self._key, epoch)).permutation(len(self))

    def _local(self, epoch: int) -> Rows:
        """(videos,) rows, those that lie in the same few row groups near each other."""
        assert self._streamed is not None
        rng = np.random.default_rng((*self._key, epoch))
        rows = self._rows[rng.integers(self._starts[:-1], self._starts[1:])]
        block = self._blocks(self._streamed, self._streamed.group[rows], rng)
        keys = [rng.random(len(rows)), block]
        if self._partner is not None:
            partners = np.array([-1 if (found := self._partner(int(row))) is None else found for row in rows])
            paired = partners >= 0
            beside = np.zeros(len(rows), np.int64)
            beside[paired] = self._blocks(self._streamed, self._streamed.group[partners[paired]], rng)
            keys.insert(1, beside)
        return rows[np.lexsort(keys)]

    @staticmethod
    def _blocks(streamed: RowGroups, group: npt.NDArray[np.int32], rng: np.random.Generator) -> Rows:
        """(N,) the block that each row's group falls into, blocks in random order."""
        groups, member = np.unique(group, return_inverse=True)
        shuffled = rng.permutation(len(groups))
        # Two classes are drawn at once, and each may stand between two blocks: four of them lie in the buffer.
        block = np.empty(len(groups), np.int64)
        block[shuffled] = blocks(streamed.image_bytes[groups[shuffled]], streamed.buffer // 4)
        return block[member]


def blocks(sizes: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.int64]:
    """(N,) number of the block each of ``sizes`` falls into, in turn: a block's sum is at most ``limit``."""
    numbers, number, total = np.empty(len(sizes), np.int64), 0, 0
    for place, size in enumerate(sizes.tolist()):
        if total and total + size > limit:
            number, total = number + 1, 0
        numbers[place], total = number, total + size
    return numbers
