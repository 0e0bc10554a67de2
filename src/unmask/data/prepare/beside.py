"""A fake's frames beside those of its original, so that both are cut in the same places."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from unmask.data.layouts.index import Clip
from unmask.data.prepare.pictures import Pictures
from unmask.data.prepare.recipe import PrepareRecipe
from unmask.errors import UnmaskError
from unmask.faces.media import Frame


class NotAlike(Exception):
    """A fake and its original do not show the same frames; the text says why."""


class Beside:
    """The frames of a fake that are taken of its original, too, each with the original's picture of that moment.

    Faces are forged frame by frame, so a face lies in a fake where it lies in its original. Where one search serves
    both, both are cut at the same pixels; two searches differ by some. Stands in for
    :class:`~unmask.data.prepare.pictures.Pictures`.

    Args:
        clip: the fake.
        original: what it was made from.
        recipe: which frames are taken of the original.

    Raises:
        NotAlike: on iterating: they have no frame in common, or differ in size, or the original cannot be read.
        UnmaskError: on iterating: nothing of the fake can be read.
    """

    def __init__(self, clip: Clip, original: Clip, recipe: PrepareRecipe) -> None:
        self._clip, self._recipe = clip, recipe
        self._original = Pictures(original, recipe)
        self._fake: Pictures | None = None

    @property
    def complete(self) -> bool:
        """False if a damaged original gave too few frames: iterating again gives others in their place."""
        return self._original.complete

    @property
    def numbers(self) -> list[int]:
        """Of the frames that are taken of the fake, once the first is there."""
        return self._fake.numbers if self._fake else []

    @property
    def broken(self) -> list[str]:
        """What could not be read of the fake while the rest could."""
        return self._fake.broken if self._fake else []

    def shots(self) -> Iterator[tuple[Frame | None, np.ndarray]]:
        """Each picture of the original, to look for faces in, and the fake's frame of that moment, if it has one."""
        originals = self._originals()
        first = next(originals)
        self._fake = Pictures(self._clip, self._recipe, only=self._original.numbers)
        fakes = iter(self._fake)
        frame, common = next(fakes, None), 0
        for beside in itertools.chain([first], originals):
            while frame and frame.index < beside.index:
                frame = next(fakes, None)
            there = frame if frame and frame.index == beside.index else None
            if there:
                _check_size(there.image, beside.image)
                common += 1
            yield there, beside.image
        if not common:
            raise NotAlike("no frame is there that was taken of its original")

    def _originals(self) -> Iterator[Frame]:
        try:
            yield from self._original
        except UnmaskError as error:
            raise NotAlike(f"its original cannot be read: {error}") from error


def _check_size(fake: np.ndarray, original: np.ndarray) -> None:
    if fake.shape != original.shape:
        (height, width), (height_of, width_of) = fake.shape[:2], original.shape[:2]
        raise NotAlike(f"{width} x {height} pixels, its original {width_of} x {height_of}")
