"""Faces of a clip without searching every frame: found now and then, followed in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unmask.faces.face import Face
from unmask.faces.mtcnn import MTCNN
from unmask.faces.tracks import Scenes


@dataclass
class _Seen:
    image: np.ndarray
    scene: int
    faces: list[Face]


class FaceFollower:
    """A face detector for the frames of one clip, in order of time.

    Every ``every``-th frame is searched as a whole, and so are the first of each scene, the last, one where a face was
    lost, and all while nobody is seen. In the others each face is looked for where it was. A face that a search finds
    and that was not there before is followed back through the frames since the last search. So what is missed, against
    searching every frame, are faces that come and go between two searches of one scene.

    Args:
        detector: searches whole frames and follows faces; MTCNN with its defaults if none is given.
        every: at least 1; frames from one search to the next.

    Raises:
        ValueError: ``every`` is out of range.
    """

    def __init__(self, detector: MTCNN | None = None, every: int = 8) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.detector = detector or MTCNN()
        self.every = every

    def __call__(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each frame (uint8, H x W x 3, RGB), sorted by area, largest first."""
        return [faces for _, faces in self.follow(frames)]

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[int, list[Face]]]:
        """Of one frame after the other its scene, as :class:`~unmask.faces.tracks.Scenes` labels it, and its faces.

        They come up to ``every`` frames behind; no more frames than that are held.
        """
        scenes = Scenes()
        last: _Seen | None = None
        since: list[_Seen] = []  # frames since the last search
        for image in frames:
            scene = scenes.label(image)
            faces = None
            if last and last.faces and len(since) < self.every - 1:
                faces = self._followed(image, scene, last)
            seen = _Seen(image, scene, self._search(image) if faces is None else faces)
            last = seen
            if faces is not None:
                since.append(seen)
                continue
            yield from self._searched(seen, since)
            since = []
        if since:
            seen = since.pop()
            seen.faces = self._search(seen.image)
            yield from self._searched(seen, since)

    def _searched(self, seen: _Seen, since: Sequence[_Seen]) -> Iterator[tuple[int, list[Face]]]:
        self._follow_back(seen, since)
        for each in (*since, seen):
            yield each.scene, sorted(each.faces, key=lambda face: -face.box.area)

    def _search(self, image: np.ndarray) -> list[Face]:
        return self.detector([image])[0]

    def _followed(self, image: np.ndarray, scene: int, last: _Seen) -> list[Face] | None:
        """All faces of the last frame in this one; None if that takes a search."""
        if scene != last.scene or image.shape != last.image.shape:
            return None
        found = self.detector.follow(image, last.faces)
        faces = [face for face in found if face is not None]
        return faces if len(faces) == len(found) else None

    def _follow_back(self, found: _Seen, since: Sequence[_Seen]) -> None:
        """Add faces that were there before the search that found them."""
        after = found
        new = list(found.faces)
        for seen in reversed(since):
            new = [face for face in new if not _known(face, seen.faces)]
            if not new or seen.scene != after.scene or seen.image.shape != after.image.shape:
                return
            new = [face for face in self.detector.follow(seen.image, new) if face is not None]
            seen.faces += [face for face in new if not _known(face, seen.faces)]
            after = seen


def _known(face: Face, faces: Sequence[Face]) -> bool:
    """Whether one of the faces is where this one is."""
    return any(face.box.iou(other.box) > 0.2 for other in faces)
