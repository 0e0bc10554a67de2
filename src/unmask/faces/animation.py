"""Images that move: GIF, WebP and PNG of several pictures, taken as the short videos they are."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError
from unmask.faces.choice import Choice
from unmask.faces.image import check_size, opened_image, picture_to_rgb, quietly
from unmask.faces.noticed import Noticed
from unmask.faces.texts import Text, picture_texts
from unmask.faces.video import Picture

#: Milliseconds that a picture without a duration is shown, as browsers do.
_SHOWN = 100
#: Pictures, and pixels of all of them, above which an animation is refused: a small file may hold a day's work.
_PICTURES, _PIXELS = 10_000, 1_000_000_000


class Animation:
    """Pictures of an animated image, upright, in order of time; stands in for :class:`~unmask.faces.video.Video`.

    All are gone through once, to know which of them decode and how long each is shown, and again on iterating.

    Args:
        path: the file.
        choice: which pictures.
        max_pixels: largest picture that is decoded.

    Raises:
        UnmaskError: the image is too large, or longer than anybody draws, or cannot be read.
    """

    #: What does not decode is not counted, so that all that is wanted comes out.
    complete = True

    def __init__(self, path: Path, choice: Choice, max_pixels: int) -> None:
        self._path, self._max_pixels = path, max_pixels
        self._broken = False
        self._texts: tuple[Text, ...] = ()
        lengths = [length for length, _ in self._through()]
        *starts, end = itertools.accumulate(lengths, initial=0)
        self.duration = end / 1000
        self.places = [bisect_left(starts, start) for start in choice.among(starts, 1e-3)]
        self._starts = starts
        #: A GIF does not say how much there should be; nobody interlaces an animation.
        self.noticed = Noticed((self.duration, None) if self._broken else None, texts=self._texts)

    def __iter__(self) -> Iterator[Picture]:
        """Of each picture its place, its time in seconds from the first, and uint8 (H, W, 3), RGB."""
        wanted = set(self.places)
        for place, (_, image) in zip(range(max(wanted, default=-1) + 1), self._through(wanted), strict=False):
            if image is not None:
                yield place, self._starts[place] / 1000, image

    def _through(self, wanted: Container[int] = ()) -> Iterator[tuple[int, np.ndarray | None]]:
        """How long each picture is shown, ms, and the pictures at the wanted places."""
        with opened_image(self._path, self._max_pixels) as image:
            pixels = 0
            for place in itertools.count():
                try:
                    with quietly():
                        image.seek(place)
                        check_size(self._path, image.size, self._max_pixels)  # a later picture may enlarge the canvas
                        image.load()  # only then is it known how long it is shown
                        length = round(image.info.get("duration", 0)) or _SHOWN
                        picture = picture_to_rgb(image) if place in wanted else None
                except (UnmaskError, MemoryError):
                    raise
                except EOFError:
                    break
                except Exception:
                    self._broken = True
                    break
                pixels += image.width * image.height
                if place >= _PICTURES or pixels > _PIXELS:
                    raise UnmaskError(self._path, "the animation is too long for an image: save it as a video")
                yield length, picture
            with quietly():
                self._texts = picture_texts(image)
        if not place:
            raise UnmaskError(self._path, "no picture of the animation can be decoded")
