"""What a detector says about one image or video: typed here, JSON for everybody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from unmask.faces import Box

#: Scores are rounded to this many digits once, before the verdict, so that JSON and verdict never disagree.
DIGITS = 6

Verdict = Literal["real", "fake", "uncertain", "no face"]


@dataclass(frozen=True)
class DetectorName:
    """Which detector spoke: its folder or name, its version, and the SHA-256 of its weights (12 digits)."""

    name: str
    version: str
    weights: str


@dataclass(frozen=True)
class FaceScore:
    """One face in one frame.

    Attributes:
        position: position of the frame among the analysed ones, from 0.
        frame: index of the frame in the stream; 0 for an image.
        time: seconds from the start of the clip; 0 for an image.
        box: in pixels of the upright frame, may reach over its border.
        found: confidence of the face finder in [0, 1].
        score: calibrated P(fake) of this face alone.
    """

    position: int
    frame: int
    time: float
    box: Box
    found: float
    score: float

    def to_json(self) -> dict[str, Any]:
        box = [round(value, 1) for value in (self.box.x, self.box.y, self.box.width, self.box.height)]
        return {
            "frame": self.frame,
            "time": round(self.time, 3),
            "box": box,
            "found": round(self.found, 4),
            "score": self.score,
        }


@dataclass(frozen=True)
class ScoredTrack:
    """One person followed over the analysed frames of a video, or one face of an image.

    Attributes:
        faces: in the order of time.
        score: mean of the frame scores, P(fake).
        counted: False if the track is too small or too short to decide anything.
        reason: why it was not counted, in plain words; None if it was.
    """

    faces: tuple[FaceScore, ...]
    score: float
    counted: bool = True
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "counted": self.counted,
            "reason": self.reason,
            "faces": [face.to_json() for face in self.faces],
        }


@dataclass(frozen=True)
class Evidence:
    """A face crop as the classifier saw it (JPEG), for the report."""

    track: int
    face: FaceScore
    jpeg: bytes


@dataclass(frozen=True)
class Still:
    """The frame of the most telling face, scaled down (JPEG), with the frame's own size in pixels."""

    width: int
    height: int
    position: int
    jpeg: bytes


@dataclass(frozen=True)
class Detection:
    """The answer to one input, or why there is none.

    Attributes:
        path: the input as it was named.
        verdict: ``real``, ``fake``, ``uncertain``, ``no face``; None if and only if there is an error.
        score: calibrated P(fake) in [0, 1] of the track that decided; None without a face.
        threshold: the score from which the verdict is ``fake``.
        uncertain: scores in this closed interval are ``uncertain``; None if the detector gives no such band.
        kind: ``image`` or ``video``; None if the input could not be opened.
        width, height: upright size in pixels. duration: seconds, None for images and where it is not known.
        times: seconds of every analysed frame, with a face or without.
        tracks: one a person (video) or face (image), in the order they matter: the deciding track first.
        detector: which detector spoke.
        error: one line, why the input could not be judged.
        evidence, still: pictures for the report; not part of the JSON, empty unless asked for.
    """

    path: str
    verdict: Verdict | None
    score: float | None
    threshold: float
    detector: DetectorName
    uncertain: tuple[float, float] | None = None
    kind: Literal["image", "video"] | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    times: tuple[float, ...] = ()
    tracks: tuple[ScoredTrack, ...] = ()
    error: str | None = None
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)
    still: Still | None = field(default=None, repr=False)

    @property
    def frames(self) -> int:
        """How many frames were analysed."""
        return len(self.times)

    @property
    def frames_with_face(self) -> int:
        """In how many of them a face was found, counted or not."""
        return len({face.position for track in self.tracks for face in track.faces})

    def to_json(self) -> dict[str, Any]:
        """The JSON object: boxes [x, y, width, height] in pixels to 1, times in s to 3."""
        return {
            "path": self.path,
            "verdict": self.verdict,
            "score": self.score,
            "threshold": self.threshold,
            "uncertain": None if self.uncertain is None else list(self.uncertain),
            "kind": self.kind,
            "width": self.width,
            "height": self.height,
            "duration": None if self.duration is None else round(self.duration, 3),
            "frames": self.frames,
            "frames_with_face": self.frames_with_face,
            "tracks": [track.to_json() for track in self.tracks],
            "detector": {
                "name": self.detector.name,
                "version": self.detector.version,
                "weights": self.detector.weights,
            },
            "error": self.error,
        }
