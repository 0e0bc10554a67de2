"""One clip: its frames in, rows of the face table out."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from unmask.data.layouts.index import Clip
from unmask.data.prepare.beside import Beside, NotAlike
from unmask.data.prepare.crops import as_is, find_of
from unmask.data.prepare.people import Find, choose_people
from unmask.data.prepare.pictures import Masks, Pictures
from unmask.data.prepare.recipe import PrepareRecipe
from unmask.errors import UnmaskError
from unmask.faces.follow import FaceFollower
from unmask.faces.media import Frame
from unmask.faces.tracks import link_tracks
from unmask.parts import as_text

Row = dict[str, Any]
#: What is remembered of a clip, besides its rows: ``state`` (``done``, ``no face`` or ``broken``), ``reason``,
#: ``frames``, ``rows``, ``left_out`` (faces by reason), ``remarks``, ``seconds`` (by kind of work).
Note = dict[str, Any]
#: People by number, faces left out by reason, how many frames were looked at, and remarks.
_Taken = tuple[dict[int, list[Find]], Counter[str], int, list[str]]


def clip_worker(recipe: PrepareRecipe) -> Callable[[Clip], tuple[list[Row], Note]]:
    """What each process does with a clip. Whatever is wrong with it is said in the note; nothing is raised."""
    cv2.setNumThreads(1)  # OpenCV has threads of its own, which no environment variable holds back
    follower = FaceFollower()

    def do(clip: Clip) -> tuple[list[Row], Note]:
        try:
            return prepare_clip(clip, recipe, follower)
        except UnmaskError as error:
            return [], broken(str(error))
        except MemoryError:
            return [], broken(f"{clip.paths[0]}: not enough memory")
        except Exception as error:  # a hostile file may break a codec in ways nobody listed
            return [], broken(f"{clip.paths[0]}: cannot be prepared: {type(error).__name__}: {error}")

    return do


def broken(reason: str) -> Note:
    """The note on a clip that cannot be used."""
    return {"state": "broken", "reason": " ".join(reason.split()), "rows": 0}


def prepare_clip(clip: Clip, recipe: PrepareRecipe, follower: FaceFollower) -> tuple[list[Row], Note]:
    """The rows of a clip and the note on it.

    Frames are decoded, searched and cropped one after the other, and no more than the follower's handful is held:
    what stays are the encoded crops.

    Raises:
        UnmaskError: nothing of the clip can be read.
    """
    watch = _Watch()
    alone: list[str] = []
    try:
        pictures = _pictures(clip, recipe)
        people, left_out, frames, remarks = _taken(clip, recipe, pictures, follower, watch)
    except NotAlike as why:
        alone = [f"{clip.paths[0]}: cut by its own faces: {why}"]
        pictures = Pictures(clip, recipe)
        people, left_out, frames, remarks = _taken(clip, recipe, pictures, follower, watch)
    rows = [
        {**_about(clip), "track": number, **find.row}
        for number, track in people.items()
        for find in sorted(track, key=lambda each: each.position)
    ]
    note: Note = {"state": "done" if rows else "no face", "rows": len(rows), "frames": frames}
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        note["reason"] = f"{clip.paths[0]}: no face in {frames} frames" + (f" ({reasons})" if reasons else "")
    if left_out:
        note["left_out"] = dict(left_out)
    if remarks := [*alone, *pictures.broken, *remarks]:
        note["remarks"] = remarks
    note["seconds"] = watch.seconds()
    return rows, note


def _pictures(clip: Clip, recipe: PrepareRecipe) -> Pictures | Beside:
    if not recipe.like_original or clip.cropped or clip.label == "real":
        return Pictures(clip, recipe)
    if clip.original is None:
        raise NotAlike(f"its original {clip.source} is not there")
    return Beside(clip, clip.original, recipe)


def _taken(
    clip: Clip, recipe: PrepareRecipe, pictures: Pictures | Beside, follower: FaceFollower, watch: _Watch
) -> _Taken:
    taken = _once(clip, recipe, pictures, follower, watch)
    return taken if pictures.complete else _once(clip, recipe, pictures, follower, watch)


def _once(
    clip: Clip, recipe: PrepareRecipe, pictures: Pictures | Beside, follower: FaceFollower, watch: _Watch
) -> _Taken:
    if clip.cropped and isinstance(pictures, Pictures):
        with watch("crops"):
            finds, remarks = as_is(clip, recipe, pictures)
        return {0: finds}, Counter(), len(finds), remarks
    masks = Masks(clip, recipe, lambda: pictures.numbers)
    waiting: deque[Frame | None] = deque()
    labels: list[int] = []
    found: dict[tuple[int, int], Find] = {}
    faces_of = []

    def images() -> Iterator[np.ndarray]:
        for frame, seen in watch.each("decoding", pictures.shots()):
            waiting.append(frame)
            yield seen

    for scene, faces in watch.each("detection", follower.follow(images())):
        frame = waiting.popleft()
        if frame is None:
            continue
        position = len(labels)
        labels.append(scene)
        faces_of.append(faces)
        with watch("masks"):
            mask = masks.at(frame)
        with watch("crops"):
            for face in faces:
                found[position, id(face)] = find_of(face, position, frame, mask, recipe)
    tracks = link_tracks(faces_of, labels)
    of_people = [[found[position, id(face)] for position, face in track.faces] for track in tracks]
    people, left_out = choose_people(of_people, len(faces_of), recipe.people)
    return people, left_out, len(faces_of), masks.broken


def _about(clip: Clip) -> Row:
    names = ("label", "method", "dataset", "quality", "split", "video", "source", "component")
    row = {name: as_text(getattr(clip, name)) for name in names}
    return {**row, "donor": as_text(clip.donor)} if clip.donor else row


class _Watch:
    """Seconds by kind of work; work inside other work counts for the inner kind only."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._open: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        self._tick()
        self._open.append(kind)
        try:
            yield
        finally:
            self._tick()
            self._open.pop()

    def each(self, kind: str, items: Any) -> Iterator[Any]:
        """Pass on items; making them is the work."""
        iterator = iter(items)
        while True:
            with self(kind):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def seconds(self) -> dict[str, float]:
        return {kind: round(spent, 4) for kind, spent in self._spent.items()}

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._open:
            self._spent[self._open[-1]] = self._spent.get(self._open[-1], 0.0) + now - self._since
        self._since = now
