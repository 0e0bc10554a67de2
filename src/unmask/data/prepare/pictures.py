"""Frames and masks of a clip, wherever they lie: in a video, or as pictures that somebody extracted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from unmask.data.layouts.index import Clip
from unmask.data.prepare.recipe import PrepareRecipe
from unmask.errors import UnmaskError
from unmask.faces.media import Frame, MediaStream, read_media

# Codecs leave shadows of this grey level on black.
_BLACK = 24


class Pictures:
    """The frames of a clip that the recipe takes, in order of time, one held at a time.

    Args:
        clip: whose frames.
        recipe: how many of them.
        only: the frames of these numbers, as far as they are there, in the place of the recipe's.

    Attributes:
        path: the picture file that the frame just given is; None for a frame of a video.

    Raises:
        UnmaskError: on iterating: nothing of the clip can be read.
    """

    def __init__(self, clip: Clip, recipe: PrepareRecipe, only: Collection[int] | None = None) -> None:
        self.path: Path | None = None
        self._unread: list[str] = []
        self._clip, self._recipe, self._only = clip, recipe, None if only is None else frozenset(only)
        self._stream: MediaStream | None = None

    @property
    def complete(self) -> bool:
        """False if a damaged video gave too few frames: iterating again gives others in their place."""
        return self._stream is None or self._stream.complete

    @property
    def broken(self) -> list[str]:
        """What could not be read while the rest could."""
        damage = self._stream and self._stream.noticed.damage
        return [f"{self._clip.paths[0]}: {damage}"] if damage else self._unread

    @property
    def numbers(self) -> list[int]:
        """Of the frames that are to be taken: their places in the video they came from."""
        if len(self._clip.paths) == 1:
            return [self._first + place for place in self._opened().places]
        return [number for _, number in self._chosen()]

    def shots(self) -> Iterator[tuple[Frame | None, np.ndarray]]:
        """Each frame, and the picture to look for faces in: its own."""
        for frame in self:
            yield frame, frame.image

    def __iter__(self) -> Iterator[Frame]:
        """``index`` is the place of the frame in the video it came from."""
        clip = self._clip
        if len(clip.paths) == 1:
            stream = self._opened()
            self.path = clip.paths[0] if stream.kind == "image" else None
            for frame in stream:
                yield replace(frame, index=self._first + frame.index)
            return
        last = None
        for place, number in self._chosen():
            path = clip.paths[place]
            try:
                picture = read_media(path, 1).frames[0]
            except UnmaskError as error:
                last = error
                self._unread.append(str(error))
                continue
            self.path = path
            yield replace(picture, index=number)
        if last is not None and self.path is None:
            raise last

    def _opened(self) -> MediaStream:
        if self._stream is None:
            self._stream = _stream(self._clip.paths[0], self._recipe, self._only)
        return self._stream

    @property
    def _first(self) -> int:
        """The number of a single picture; a video's frames are numbered from 0."""
        return self._clip.frames[0] if self._opened().kind == "image" and self._clip.frames else 0

    def _chosen(self) -> list[tuple[int, int]]:
        """Which of several pictures are taken, and their numbers."""
        numbers = self._clip.frames or range(len(self._clip.paths))
        if self._only is not None:
            return [(place, number) for place, number in enumerate(numbers) if number in self._only]
        return [(place, numbers[place]) for place in chosen(len(numbers), self._recipe)]


def chosen(count: int, recipe: PrepareRecipe) -> list[int]:
    """Which of so many extracted frames are taken: the middles of equal shares."""
    if recipe.rate is not None or recipe.frames >= count:
        return list(range(count))
    return [int((share + 0.5) * count / recipe.frames) for share in range(recipe.frames)]


class Masks:
    """What was manipulated in each frame of a clip.

    Args:
        clip: whose frames.
        recipe: where they are decoded.
        numbers: gives the numbers of the frames that are taken, asked for with the first mask.
    """

    def __init__(self, clip: Clip, recipe: PrepareRecipe, numbers: Callable[[], Collection[int]]) -> None:
        self._clip, self._recipe, self._numbers = clip, recipe, numbers
        self._masks: Pictures | None = None
        self._frames = self._drawn() if len(clip.masks) == len(clip.paths) else iter(())
        self._now: Frame | None = None
        self._error = ""

    @property
    def broken(self) -> list[str]:
        """Why there are no masks, or not all, although the data set has some."""
        found = [*(self._masks.broken if self._masks else ()), self._error]
        return list(dict.fromkeys(filter(None, found)))

    def at(self, frame: Frame) -> np.ndarray | None:
        """The mask of a frame, to be asked for in order of time: uint8 (H, W) of the frame's size, 0 where nothing was
        replaced, 255 where all was; None if there is none."""
        try:
            while self._now is None or self._now.index < frame.index:
                self._now = next(self._frames)
        except StopIteration:
            return None
        except UnmaskError as error:
            self._error = str(error)
            return None
        if self._now.index != frame.index:
            return None
        image = self._now.image
        if image.shape[:2] != frame.image.shape[:2]:
            image = cv2.resize(image, frame.image.shape[1::-1], interpolation=cv2.INTER_AREA)
        return grey_mask(image)

    def _drawn(self) -> Iterator[Frame]:
        self._masks = Pictures(replace(self._clip, paths=self._clip.masks), self._recipe, only=self._numbers())
        yield from self._masks


def grey_mask(image: np.ndarray) -> np.ndarray:
    """A mask as data sets draw it, (H, W, 3), as grey levels (H, W).

    Grey masks say how much was replaced. Coloured ones, such as FaceForensics++ has of Face2Face and NeuralTextures,
    code something else in their colours: whatever is not black was replaced.
    """
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    high = np.maximum(np.maximum(red, green), blue)
    low = np.minimum(np.minimum(red, green), blue)
    grey = np.where(high < _BLACK, 0, high)
    coloured = int((high - low).max()) > 2 * _BLACK
    return np.where(grey > 0, 255, 0).astype(np.uint8) if coloured else grey.astype(np.uint8)


def _stream(path: Path, recipe: PrepareRecipe, only: Collection[int] | None = None) -> MediaStream:
    places = None if only is None else sorted(only)
    # One thread each: there is a process for every core.
    return MediaStream(path, recipe.frames, recipe.rate, places=places, threads=1, hwaccel=recipe.hwaccel)
