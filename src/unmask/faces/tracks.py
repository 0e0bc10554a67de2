"""Link the faces of single frames into tracks: one person through one scene, or several cuts back to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmask.faces.face import Box, Face

#: See :func:`least_faces`.
MIN_SHARE, MIN_OF_LONGEST = 0.08, 0.25


@dataclass(frozen=True)
class Track:
    """The faces of one person, at most one per frame.

    Attributes:
        faces: (position in the list of frames, face), in order of position; at least one.
    """

    faces: tuple[tuple[int, Face], ...]

    def __len__(self) -> int:
        return len(self.faces)


def least_faces(frames: int, longest: int) -> int:
    """How many faces a track needs to be taken for a person: a face finder now and then takes a curtain for one.

    Two, a share :data:`MIN_SHARE` of the frames, and a share :data:`MIN_OF_LONGEST` of the longest track.
    """
    return max(min(2, frames), math.ceil(MIN_SHARE * frames), math.ceil(MIN_OF_LONGEST * longest))


def link_tracks(
    faces: Sequence[Sequence[Face]],
    scenes: Sequence[int] | None = None,
    *,
    max_distance: float = 1.0,
    max_growth: float = 2.0,
    max_gap: int = 8,
) -> list[Track]:
    """Link faces over frames by overlap, distance and size.

    The frames are spread over a clip, so a face may have moved by its own width from one to the next, where
    boxes no longer overlap: distance between centres decides, in widths of the face, with overlap as a bonus.
    Of all pairs the closest are linked first, so that two people side by side do not change places.

    Args:
        faces: faces of each frame, frames in order of time.
        scenes: one label a frame, as from :func:`find_scenes`; faces are linked only within a label, and
            frames of other labels between them do not count as a gap. None: all frames are one scene.
        max_distance: farthest move from one face to the next, as a multiple of the face's size.
        max_growth: largest ratio of sizes between two faces, at least 1.
        max_gap: most frames of the scene in a row without the face before its track ends, at least 0.

    Returns:
        Each face in exactly one track; longest tracks first, of the same length the largest faces, then the
        earlier. The same input always gives the same tracks.

    Raises:
        ValueError: ``scenes`` is not as long as ``faces``, or an option is out of range.
    """
    if scenes is not None and len(scenes) != len(faces):
        raise ValueError(f"{len(scenes)} scene labels for {len(faces)} frames")
    if max_distance <= 0 or max_growth < 1 or max_gap < 0:
        raise ValueError("max_distance must be above 0, max_growth at least 1, max_gap at least 0")
    labels = [0] * len(faces) if scenes is None else list(scenes)
    done: list[list[tuple[int, Face]]] = []
    for label in dict.fromkeys(labels):
        # Tracks that may go on, each with the number of its last frame within the scene.
        alive: list[tuple[int, list[tuple[int, Face]]]] = []
        for number, position in enumerate(i for i, other in enumerate(labels) if other == label):
            current = faces[position]
            done += [track for last, track in alive if number - last > max_gap + 1]
            alive = [(last, track) for last, track in alive if number - last <= max_gap + 1]
            pairs = [
                (cost, i, j)
                for i, (_, track) in enumerate(alive)
                for j, face in enumerate(current)
                if (cost := _cost(track[-1][1].box, face.box, max_distance, max_growth)) is not None
            ]
            old, new = set(range(len(alive))), set(range(len(current)))
            for _, i, j in sorted(pairs):
                if i in old and j in new:
                    old.remove(i)
                    new.remove(j)
                    alive[i][1].append((position, current[j]))
                    alive[i] = (number, alive[i][1])
            alive += [(number, [(position, current[j])]) for j in sorted(new)]
        done += [track for _, track in alive]
    done.sort(key=lambda track: (-len(track), -float(np.mean([face.box.area for _, face in track])), track[0][0]))
    return [Track(tuple(track)) for track in done]


class Scenes:
    """Tells the camera settings of a clip apart by their colours, frame by frame in order of time.

    A frame belongs to the scene whose latest frame it resembles most, so a clip that cuts between two people
    and back has two scenes, not four, and a moving camera stays in one.

    Args:
        threshold: largest difference within a scene, in (0, 1]: the part of the picture, in each of sixteen
            fields, whose colour has changed.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._latest: list[np.ndarray] = []
        self._label = 0

    def label(self, image: np.ndarray) -> int:
        """The scene of the next frame, uint8 (H, W, 3), counted from 0 in order of first appearance."""
        colours, latest = _colours(image), self._latest
        far = [float(np.abs(colours - other).sum(axis=1).mean()) / 2 for other in latest]
        # The scene just seen is kept if it fits at all: no hopping between similar ones.
        label = self._label if far and far[self._label] <= self._threshold else int(np.argmin(far)) if far else 0
        if not far or far[label] > self._threshold:
            label = len(latest)
            latest.append(colours)
        latest[label] = colours
        self._label = label
        return label


def find_scenes(images: Sequence[np.ndarray], threshold: float = 0.5) -> list[int]:
    """The scene of each frame of a clip, as :class:`Scenes` labels them."""
    scenes = Scenes(threshold)
    return [scenes.label(image) for image in images]


def _cost(before: Box, after: Box, max_distance: float, max_growth: float) -> float | None:
    """How unlike two boxes are, lower is closer; None if they cannot be the same face."""
    sizes = math.sqrt(before.area), math.sqrt(after.area)
    growth = max(sizes) / min(sizes)
    across, down = (a - b for a, b in zip(after.centre, before.centre, strict=True))
    distance = math.hypot(across, down) / (sum(sizes) / 2)
    if distance > max_distance or growth > max_growth:
        return None
    return distance + math.log2(growth) - before.iou(after)


def _colours(image: np.ndarray) -> np.ndarray:
    """Colour histograms of a 4 x 4 grid, (16, 64), each summing to 1."""
    import cv2

    # Some pixels of a large frame say as much about its colours as all of them.
    step = max(1, min(image.shape[:2]) // 128)
    small = cv2.resize(np.ascontiguousarray(image[::step, ::step]), (64, 64), interpolation=cv2.INTER_AREA)
    codes = (small.astype(np.int64) >> 6) @ (16, 4, 1)
    fields = codes.reshape(4, 16, 4, 16).transpose(0, 2, 1, 3).reshape(16, 256)
    return np.bincount((fields + 64 * np.arange(16)[:, None]).ravel(), minlength=16 * 64).reshape(16, 64) / 256
