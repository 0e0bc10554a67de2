"""What every reader of a data set's folders gives: the clips that are there, and what is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Clip:
    """One video, one image, or the extracted frames of one video, and all that its place in a data set says about it.

    Attributes:
        paths: one video or image, or the frames of one video in order of time.
        method: the manipulation; ``real`` for a real.
        dataset, quality, split: as in the face table; a split is ``train``, ``val``, ``test`` or empty.
        video: names the clip within data set, method and quality.
        source: the pristine video that a fake was made from; a real names itself.
        component: the group that must not be torn apart by a split: clips that share a source, a target or an actor.
        frames: position in the video of each of several paths; empty counts from 0.
        masks: like ``paths``, pictures of what was manipulated; empty where the data set has none.
        cropped: the pictures are face crops already and are taken as they are.
        donor: the video or person another face was taken from; empty where there is none or it is not known.
        original: the clip that a fake was made from, at the same quality, for who asks for it and where it is there.
    """

    paths: tuple[Path, ...]
    method: str
    dataset: str
    quality: str
    split: str
    video: str
    source: str
    component: str
    frames: tuple[int, ...] = ()
    masks: tuple[Path, ...] = ()
    cropped: bool = False
    donor: str = ""
    original: Clip | None = None

    @property
    def label(self) -> Literal["real", "fake"]:
        """What the manipulation says: there is one for every fake, and none for a real."""
        return "real" if self.method == "real" else "fake"

    @property
    def key(self) -> str:
        """Data set, manipulation, quality and clip: no two clips of an index share it."""
        return "/".join((self.dataset, self.method, self.quality, self.video))


@dataclass(frozen=True)
class Problem:
    """A file or folder that is not as its data set's layout says, and what follows from it."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Index:
    """A data set, or the part of it that somebody has.

    Attributes:
        layout: name of the layout that read it.
        clips: sorted by :attr:`Clip.key`.
        problems: what is missing or wrong, in words a user can act on; the clips are used all the same.
        notes: what was assumed, e.g. which list the splits come from.
    """

    layout: str
    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
