"""Media in, verdict out: find the faces, follow them, score their crops, and say what that means.

A clip is fake if one person in it is, so the video score is that of the highest-scoring track: the mean of
its calibrated frame scores. Only tracks that are large and stable enough take part, because a face finder now
and then takes a fold in a curtain for a face, and such a find must not decide. A track counts if

- the longer side of its box is at least :data:`MIN_SIDE` pixels (median over the track), and, in a video,
- it holds at least two faces, a share :data:`MIN_SHARE` of the analysed frames, and a share
  :data:`MIN_OF_LONGEST` of the longest track that is large enough.

In an image every face is a track of its own and only the size counts. If no track counts, the answer is
``no face``; the tracks are listed all the same, each with the reason why it was left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.detection.result import (
    DIGITS,
    Detection,
    DetectorName,
    Evidence,
    FaceScore,
    ScoredTrack,
    Still,
    Verdict,
)
from unmask.detection.source import Source, open_source, source_name
from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from unmask.detector import Card, Scorer
    from unmask.faces import FaceDetector, Media, Track

#: Smallest face that may decide, in pixels of the longer side of its box.
MIN_SIDE = 40.0
#: Smallest share of the analysed frames that a track of a video must cover.
MIN_SHARE = 0.08
#: Smallest length of a track as a share of the longest track that is large enough.
MIN_OF_LONGEST = 0.25

_BATCH = 32
#: The share of the work that is done when frames are read, faces found, and faces scored: about that of 1080p clips.
_READ, _FOUND, _SCORED = 0.3, 0.8, 0.98


def load_detector(name_or_path: str | PathLike[str] = "default", face_detector: FaceDetector | None = None) -> Detector:
    """Load a detector file and the face finder.

    Args:
        name_or_path: ``default`` for the bundled detector, or the folder of another one.
        face_detector: finds the faces, from several threads if the result is so used; MTCNN if none is given.

    Raises:
        UnmaskError: there is no such detector, or it cannot be used.
    """
    from unmask.detector import Scorer

    if face_detector is None:
        from unmask.faces import MTCNN

        face_detector = MTCNN()
    return Detector(Scorer.load(name_or_path), face_detector, fspath(name_or_path))


class Detector:
    """A finished detector, ready for images and videos. Threads may share one."""

    def __init__(self, scorer: Scorer, face_detector: FaceDetector, name: str = "default") -> None:
        self.scorer = scorer
        self.name = DetectorName(name, scorer.card.version, scorer.card.weights_sha256[:12])
        self._find = face_detector

    @property
    def card(self) -> Card:
        """What the detector says about itself."""
        return self.scorer.card

    @property
    def uncertain(self) -> tuple[float, float] | None:
        """The closed interval of scores that are ``uncertain``, or None if the card gives none."""
        return self.card.uncertain

    def detect(
        self,
        media: Source,
        frames: int = 32,
        pictures: bool = False,
        progress: Callable[[float], None] | None = None,
        *,
        name: str | None = None,
    ) -> Detection:
        """Judge one image or video.

        Args:
            media: path of a JPEG, PNG, WebP, MP4, MOV, MKV or WebM file, the bytes of one, a Pillow image, or an
                RGB array, uint8 (H, W, 3).
            frames: how many frames to analyse, spread evenly over the clip.
            pictures: also keep the most telling crops and a still, for the report.
            progress: called with the share of the work that is done, rising to 1; what it raises ends the work.
            name: what the result calls the input; its path, or ``bytes`` or ``image``, if none is given.

        Returns:
            The verdict with everything it rests on; the same bytes give the same score.

        Raises:
            UnmaskError: the input is missing, empty, broken or no media file.
        """
        from unmask.faces import Track, find_scenes, link_tracks

        tell = progress or (lambda share: None)
        called = source_name(media, name)
        opened = open_source(media, frames, called)
        tell(_READ)
        images = [frame.image for frame in opened.frames]
        # Frames do not influence each other: in one call, or in steps that somebody watches.
        step = len(images) if progress is None else 4
        found = []
        for start in range(0, len(images), step):
            found += self._find(images[start : start + step])
            tell(_READ + (_FOUND - _READ) * min(1.0, (start + step) / len(images)))
        if opened.kind == "image":
            tracks = [Track(((0, face),)) for face in found[0]]
        else:
            tracks = link_tracks(found, find_scenes(images))
        scored = rank_tracks(self._score(opened, tracks, tell), opened.kind, len(images))
        counted = [track for track in scored if track.counted]
        score = counted[0].score if counted else None
        detection = replace(
            self._blank(called),
            verdict=verdict_of(score, self.card.threshold, self.uncertain),
            score=score,
            kind=opened.kind,
            width=opened.width,
            height=opened.height,
            duration=opened.duration,
            times=tuple(frame.time for frame in opened.frames),
            tracks=tuple(scored),
        )
        if pictures:
            detection = replace(detection, evidence=self._evidence(opened, scored), still=_still(opened, scored))
        tell(1.0)
        return detection

    def detect_many(self, media: Iterable[Source], frames: int = 32, pictures: bool = False) -> Iterator[Detection]:
        """Judge one input after the other; one that cannot be judged yields its error and the rest go on."""
        for each in media:
            try:
                yield self.detect(each, frames=frames, pictures=pictures)
            except UnmaskError as error:
                yield self.failed(each, error.reason)
            except Exception as error:  # a hostile file may break a codec in ways nobody listed
                yield self.failed(each, f"cannot be analysed: {type(error).__name__}: {error}")

    def failed(self, media: Source, reason: str) -> Detection:
        """The answer for an input that could not be judged."""
        return replace(self._blank(source_name(media)), error=" ".join(reason.split()))

    def _blank(self, path: str) -> Detection:
        return Detection(path, None, None, float(self.card.threshold), self.name, self.uncertain)

    def _score(self, media: Media, tracks: Sequence[Track], tell: Callable[[float], None]) -> list[ScoredTrack]:
        faces = [(position, face) for track in tracks for position, face in track.faces]
        scores: list[float] = []
        for start in range(0, len(faces), _BATCH):
            batch = faces[start : start + _BATCH]
            crops = [self.card.crop.crop(media.frames[position].image, face.box) for position, face in batch]
            scores += [round(float(score), DIGITS) for score in self.scorer.score(crops)]
            tell(_FOUND + (_SCORED - _FOUND) * min(1.0, (start + _BATCH) / len(faces)))
        remaining = iter(scores)
        result = []
        for track in tracks:
            scored = tuple(
                FaceScore(
                    position=position,
                    frame=media.frames[position].index,
                    time=media.frames[position].time,
                    box=face.box,
                    found=float(face.score),
                    score=next(remaining),
                )
                for position, face in track.faces
            )
            mean = round(float(np.mean([face.score for face in scored])), DIGITS)
            result.append(ScoredTrack(scored, mean))
        return result

    def _evidence(self, media: Media, tracks: Sequence[ScoredTrack]) -> tuple[Evidence, ...]:
        chosen: list[tuple[int, FaceScore]] = []
        for number, track in enumerate(tracks[:6]):
            by_score = sorted(track.faces, key=lambda face: -face.score)
            if number > 0:
                chosen.append((number, by_score[0]))
            else:
                # The strongest frames for `fake`, and the one that speaks most against it.
                chosen += [(0, face) for face in by_score[:3] + by_score[3:][-1:]]
        return tuple(
            Evidence(number, face, _jpeg(self.card.crop.crop(media.frames[face.position].image, face.box), 224))
            for number, face in chosen
        )


def verdict_of(score: float | None, threshold: float, uncertain: tuple[float, float] | None = None) -> Verdict:
    """The verdict a score stands for: inside the band ``uncertain``, else ``fake`` from the threshold on."""
    if score is None:
        return "no face"
    if uncertain is not None and uncertain[0] <= score <= uncertain[1]:
        return "uncertain"
    return "fake" if score >= threshold else "real"


def rank_tracks(tracks: Sequence[ScoredTrack], kind: Literal["image", "video"], frames: int) -> list[ScoredTrack]:
    """Say of each track whether it counts, and put the deciding one first.

    Args:
        tracks: scored tracks in any order.
        kind: in an image only the size of a face counts.
        frames: how many frames were analysed.

    Returns:
        The same tracks: those that count by falling score, then the others, each with its reason.
    """
    sides = [float(np.median([max(face.box.width, face.box.height) for face in track.faces])) for track in tracks]
    longest = max((len(track.faces) for track, side in zip(tracks, sides, strict=True) if side >= MIN_SIDE), default=0)
    needed = max(min(2, frames), math.ceil(MIN_SHARE * frames), math.ceil(MIN_OF_LONGEST * longest))
    result = []
    for track, side in zip(tracks, sides, strict=True):
        reason = None
        if side < MIN_SIDE:
            reason = f"too small: {side:.0f} px, {MIN_SIDE:.0f} px are needed"
        elif kind == "video" and len(track.faces) < needed:
            reason = f"too short: seen in {len(track.faces)} of {frames} frames, {needed} are needed"
        result.append(replace(track, counted=reason is None, reason=reason))
    return sorted(result, key=lambda track: (not track.counted, -track.score))


def _still(media: Media, tracks: Sequence[ScoredTrack]) -> Still:
    best = max(tracks[0].faces, key=lambda face: face.score).position if tracks else 0
    return Still(media.width, media.height, best, _jpeg(media.frames[best].image, 720))


def _jpeg(image: np.ndarray, side: int) -> bytes:
    """JPEG of an RGB image (H, W, 3), scaled down so that its longer side is at most ``side`` pixels."""
    import cv2

    scale = side / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        raise ValueError("OpenCV could not encode a picture for the report")
    return bytes(data)
