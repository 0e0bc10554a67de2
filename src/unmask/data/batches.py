"""Batches as a pure function of the step: the same whoever asks, on any rank, before and after a resume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unmask.data.augment import Augment, Augmentation
from unmask.data.table import FaceTable
from unmask.errors import UnmaskError

Pairing = Literal["balanced", "paired"]


@dataclass(frozen=True)
class Batch:
    """One step's rows: images uint8 (B, 3, S, S), labels int64 (B,) class indices with 0 for real, rows (B,)."""

    images: Tensor
    labels: Tensor
    rows: Tensor


class Batches(Dataset[Batch]):
    """Training batches, half real and half fake, one random frame a video, every video once an epoch.

    Item ``step`` is this rank's share of the global batch of that step. It depends on ``seed`` and ``step``
    alone: nothing is stored, so a resumed run and a run over more processes see the very same images.

    Args:
        table: the training rows.
        classes: class names, ``real`` first; with two classes every manipulation is ``fake``.
        size: side of the images, px.
        batch_size: rows a step over all ranks, even.
        pairing: ``balanced`` draws reals and fakes independently; ``paired`` puts beside each fake the real
            it was made from (a random real where the table lacks it).

    Raises:
        UnmaskError: the table has one class only, or a manipulation that is not among the classes.
    """

    def __init__(
        self,
        table: FaceTable,
        *,
        classes: tuple[str, ...] = ("real", "fake"),
        size: int,
        batch_size: int,
        augmentation: Augmentation | None = None,
        pairing: Pairing = "balanced",
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size % (2 * world):
            raise UnmaskError(
                "data.batch_size", f"{batch_size} does not divide into real and fake over {world} processes"
            )
        self.table = table
        self.labels = class_indices(table, classes)
        self.batch_size, self.pairing, self.seed = batch_size, pairing, seed
        self.rank, self.world = rank, world
        self.augment = Augment(size, augmentation or Augmentation(enabled=False))
        keys = table.video_key()
        self._videos: list[list[np.ndarray]] = []
        for fake in (False, True):
            rows = np.flatnonzero(table.fake == fake)
            if not len(rows):
                raise UnmaskError(table.where(0).rsplit(":", 1)[0], f"no {'fake' if fake else 'real'} row to train on")
            order = np.argsort(keys[rows].astype(str), kind="stable")
            cuts = np.flatnonzero(keys[rows][order][1:] != keys[rows][order][:-1]) + 1
            self._videos.append(np.split(rows[order], cuts))
        self._orders: dict[int, tuple[int, np.ndarray]] = {}
        self._source_rows: dict[tuple[str, str], list[int]] = {}
        for row in np.flatnonzero(~table.fake):
            self._source_rows.setdefault((table.dataset[row], table.video[row]), []).append(int(row))

    def __len__(self) -> int:
        """Steps an epoch: every fake and every real video is seen at least once."""
        half = self.batch_size // 2
        return -(-max(map(len, self._videos)) // half)

    def __getitem__(self, step: int) -> Batch:
        rows = self.rows(step)
        mine = slice(self.rank * self.batch_size // self.world, (self.rank + 1) * self.batch_size // self.world)
        with torch.random.fork_rng(devices=[]):
            decoded = [self._image(int(row), step, place) for place, row in list(enumerate(rows))[mine]]
        images, used = zip(*decoded, strict=True)
        index = torch.tensor(used)
        return Batch(torch.stack(images), torch.from_numpy(self.labels)[index], index)

    def rows(self, step: int) -> np.ndarray:
        """(batch_size,) table rows of the global batch; real and fake alternate, so every share is balanced."""
        half = self.batch_size // 2
        positions = np.arange(step * half, (step + 1) * half)
        rows = np.empty(self.batch_size, dtype=np.int64)
        rows[1::2] = [self._draw(1, int(position)) for position in positions]
        rows[0::2] = [
            self._partner(int(fake), int(position)) for fake, position in zip(rows[1::2], positions, strict=True)
        ]
        return rows

    def _draw(self, kind: int, position: int) -> int:
        """The row at a position of the endless sequence of shuffled epochs of the reals (0) or fakes (1)."""
        videos = self._videos[kind]
        epoch, place = divmod(position, len(videos))
        if self._orders.get(kind, (-1,))[0] != epoch:
            order = np.random.default_rng((self.seed, kind, epoch)).permutation(len(videos))
            self._orders[kind] = (epoch, order)
        frames = videos[self._orders[kind][1][place]]
        return int(frames[np.random.default_rng((self.seed, kind, epoch, place)).integers(len(frames))])

    def _partner(self, fake: int, position: int) -> int:
        sources = self._source_rows.get((self.table.dataset[fake], self.table.source[fake]))
        if self.pairing == "balanced" or not sources:
            return self._draw(0, position)
        frames = self.table.frame[sources]
        return sources[int(np.argmin(np.abs(frames - self.table.frame[fake])))]

    def _image(self, row: int, step: int, place: int) -> tuple[Tensor, int]:
        """Decode and augment a row; an unreadable one gives its place to the next row of the same label."""
        torch.manual_seed(int(np.random.default_rng((self.seed, step, place)).integers(2**62)))
        for _ in range(100):
            try:
                image = self.table.image(row)
            except UnmaskError:
                same = np.flatnonzero(self.table.fake == self.table.fake[row])
                row = int(same[(np.searchsorted(same, row) + 1) % len(same)])
                continue
            return self.augment(torch.from_numpy(image.copy()).permute(2, 0, 1)), row
        raise UnmaskError(self.table.where(row), "100 unreadable images in a row")


def class_indices(table: FaceTable, classes: tuple[str, ...]) -> np.ndarray:
    """(N,) int64 class of each row: 0 for real, else the manipulation's place among ``classes``.

    Raises:
        UnmaskError: a manipulation has no class (with two classes every one is ``fake``).
    """
    if len(classes) == 2:
        return table.fake.astype(np.int64)
    indices = np.zeros(len(table), dtype=np.int64)
    for row in np.flatnonzero(table.fake):
        if table.method[row] not in classes:
            raise UnmaskError(table.where(int(row)), f"manipulation {table.method[row]!r} is not among {classes}")
        indices[row] = classes.index(table.method[row])
    return indices


def stream(batches: Batches, first: int, last: int, workers: int) -> DataLoader[Batch]:
    """The batches of steps ``first`` to ``last`` - 1 in order, decoded and augmented ahead in worker processes."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
