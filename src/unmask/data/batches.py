"""Batches as a pure function of the step: the same whoever asks, on any rank, before and after a resume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from unmask.data.augment import Augment, Augmentation
from unmask.data.order import Order
from unmask.data.originals import Originals
from unmask.data.table import FaceTable
from unmask.errors import UnmaskError

Pairing = Literal["balanced", "paired", "aligned"]


@dataclass(frozen=True)
class Batch:
    """One step's rows: images uint8 (B, 3, S, S), labels int64 (B,) class indices with 0 for real, rows (B,)."""

    images: Tensor
    labels: Tensor
    rows: Tensor


class Forging(Protocol):
    """What makes fakes of reals, as :class:`~unmask.forge.on_the_fly.SelfBlending` does."""

    #: The manipulation, as a class would be called.
    name: str
    #: Of the fakes that are shown, in (0, 1].
    share: float
    #: (N,) bool: the rows of the table that a fake can be made of.
    usable: np.ndarray

    def __call__(self, row: int, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A fake of the real in a row, uint8 like its crop ``image``; ``UnmaskError`` if there can be none."""


class Batches:
    """Training batches, half real and half fake, one random frame a video, every video once an epoch.

    Item ``step`` is this rank's share of the global batch of that step. It depends on ``seed`` and ``step``
    alone: nothing is stored, so a resumed run and a run over more processes see the very same images. (The order of
    a streamed table also depends on its buffer: see :class:`~unmask.data.order.Order`.) Threads may share it.

    Args:
        table: the training rows.
        classes: class names, ``real`` first; with two classes every manipulation is ``fake``.
        size: side of the images, px.
        batch_size: rows a step over all ranks, even.
        pairing: ``balanced`` draws reals and fakes independently; ``paired`` puts beside each fake the real
            it was made from (a random real where the table lacks it); ``aligned`` also augments the two alike, so that
            a forgery and its original differ in nothing but the forgery.
        cache_mb: MiB of decoded crops that are kept.
        originals: leave out the fakes that were made from no real of the table.
        forging: makes fakes of reals, in the place of a share of the table's fakes, each beside the real it is made
            of; a real row in a fake's place is one of them. If it makes all of them, the table's fakes are not shown.

    Raises:
        UnmaskError: the table has one class only, a manipulation (or what is made) is not among the classes, or no fake
            is left.
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
        cache_mb: int = 0,
        originals: bool = False,
        forging: Forging | None = None,
    ) -> None:
        if batch_size % (2 * world):
            raise UnmaskError(
                "data.batch_size", f"{batch_size} does not divide into real and fake over {world} processes"
            )
        self.table = table
        self.labels = class_indices(table, classes)
        self.forging = forging
        if forging is not None:
            self._made = class_of(forging.name, classes, "data.self_blend")
        self.batch_size, self.pairing, self.seed, self.size = batch_size, pairing, seed, size
        self.rank, self.world = rank, world
        self.augment = Augment(size, augmentation or Augmentation(enabled=False))
        self._originals = Originals(table)
        keys = table.video_key()

        def order(rows: np.ndarray, fake: bool) -> Order:
            if not len(rows):
                raise UnmaskError(table.name, f"no {'fake' if fake else 'real'} row to train on")
            partner = self._originals.of if fake and pairing != "balanced" else None
            return Order(rows, keys[rows], (seed, int(fake)), table.streamed, partner)

        #: Fakes that are not shown, for want of their originals.
        self.left_out = 0
        if forging is not None and forging.share == 1:
            self._orders = [order(np.flatnonzero(forging.usable), fake=False)]
        else:
            self._orders = [order(np.flatnonzero(~table.fake), fake=False)]
            self._fakes = np.flatnonzero(table.fake)
            if originals and len(self._fakes):
                paired = np.array([self._originals.of(row) is not None for row in self._fakes.tolist()])
                if not paired.any():
                    raise UnmaskError(table.name, "has the original of none of its fakes")
                self.left_out, self._fakes = int((~paired).sum()), self._fakes[paired]
            self._orders.append(order(self._fakes, fake=True))
        #: Rows that were to be shown and could not be, with the reason; others took their places.
        self.unusable: dict[str, str] = {}
        self._decoded: dict[int, np.ndarray] = {}
        self._room = cache_mb << 20

    def __len__(self) -> int:
        """Steps an epoch: every fake and every real video is seen at least once."""
        half = self.batch_size // 2
        return -(-max(map(len, self._orders)) // half)

    def __getitem__(self, step: int) -> Batch:
        rows = self.rows(step)
        share = self.batch_size // self.world
        # Channels last in memory, as decoders write images and convolutions like them.
        images = torch.empty(share, self.size, self.size, 3, dtype=torch.uint8)
        used = torch.empty(share, dtype=torch.int64)
        together = 2 if self.pairing == "aligned" else 1
        for mine in range(0, share, together):
            place = self.rank * share + mine
            shown = self._images(rows[place : place + together].tolist(), step, place)
            for number, (row, image) in enumerate(shown):
                images[mine + number] = torch.from_numpy(image)
                used[mine + number] = row
        labels = torch.from_numpy(self.labels)[used]
        if self.forging is not None:
            labels[1::2][labels[1::2] == 0] = self._made
        return Batch(images.permute(0, 3, 1, 2), labels, used)

    def rows(self, step: int) -> np.ndarray:
        """(batch_size,) table rows of the global batch; real and fake alternate, so every share is balanced."""
        half = self.batch_size // 2
        positions = np.arange(step * half, (step + 1) * half)
        rows = np.empty(self.batch_size, dtype=np.int64)
        rows[1::2] = [self._orders[-1][int(position)] for position in positions]
        if len(self._orders) == 1:  # of reals alone
            rows[0::2] = rows[1::2]
            return rows
        rows[0::2] = [
            self._partner(int(fake), int(position)) for fake, position in zip(rows[1::2], positions, strict=True)
        ]
        if self.forging is not None:
            drawn = np.random.default_rng((self.seed, step)).random(half) < self.forging.share
            made = drawn & self.forging.usable[rows[0::2]]
            rows[1::2][made] = rows[0::2][made]
        return rows

    def _partner(self, fake: int, position: int) -> int:
        real = self._originals.of(fake) if self.pairing != "balanced" else None
        return self._orders[0][position] if real is None else real

    def _images(self, rows: list[int], step: int, place: int) -> list[tuple[int, np.ndarray]]:
        """Rows from a place of the batch on, decoded and augmented; what cannot be read gives its place to others."""
        for _ in range(100):
            try:
                return [(row, self._image(row, step, place + number)) for number, row in enumerate(rows)]
            except UnmaskError as error:
                self.unusable[error.subject] = error.reason
                rows = self._instead(rows, step, place)
        raise UnmaskError(self.table.where(rows[-1]), "100 unreadable images in a row")

    def _instead(self, rows: list[int], step: int, place: int) -> list[int]:
        """The next row of the same kind; of a pair, the next fake with its own original."""
        row, table = rows[-1], self.table
        forging = self.forging if (place + len(rows)) % 2 == 0 else None
        reals = ~table.fake if forging is None else forging.usable
        same = self._fakes if table.fake[row] else np.flatnonzero(reals)
        row = int(same[(np.searchsorted(same, row) + 1) % len(same)])
        if len(rows) == 1:
            return [row]
        position = (step * self.batch_size + place) // 2
        return [self._partner(row, position) if table.fake[row] else row, row]

    def _image(self, row: int, step: int, place: int) -> np.ndarray:
        """Decode and augment a row, or forge it where a place of a fake holds a real."""
        # A generator of its own: threads do not share one, and torch's global seed, which asks every kind of
        # accelerator, costs more than decoding.
        draw = place // 2 if self.pairing == "aligned" else place
        seed = int(np.random.default_rng((self.seed, step, draw)).integers(2**62))
        image = self._crop(row)
        if self.forging is not None and place % 2 and not self.table.fake[row]:
            image = self.forging(row, image, np.random.default_rng((self.seed, step, place, 1)))
        return self.augment(image, torch.Generator().manual_seed(seed))

    def _crop(self, row: int) -> np.ndarray:
        """The decoded crop, kept while there is room: each comes round once an epoch, the first are as good as any."""
        image = self._decoded.get(row)
        if image is None:
            image = self.table.image(row)
            if image.nbytes <= self._room:
                self._room -= image.nbytes
                self._decoded[row] = image
        return image


def class_indices(table: FaceTable, classes: tuple[str, ...]) -> np.ndarray:
    """(N,) int64 class of each row: 0 for real, else the manipulation's place among ``classes``.

    Raises:
        UnmaskError: a manipulation has no class (with two classes every one is ``fake``).
    """
    if len(classes) == 2:
        return table.fake.astype(np.int64)
    indices = np.zeros(len(table), dtype=np.int64)
    for row in np.flatnonzero(table.fake):
        indices[row] = class_of(table.method[row], classes, table.where(int(row)))
    return indices


def class_of(manipulation: str, classes: tuple[str, ...], where: str) -> int:
    """The index of a manipulation's class: 1 where all are ``fake``.

    Raises:
        UnmaskError: it has none; ``where`` is named.
    """
    if len(classes) == 2:
        return 1
    if manipulation not in classes:
        raise UnmaskError(where, f"manipulation {manipulation!r} is not among {classes}")
    return classes.index(manipulation)
