"""What a detector says about one image or video: typed here, JSON for everybody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from unmask.detection.marks import Mark
    from unmask.detection.provenance import Provenance
    from unmask.detector import Card
    from unmask.faces import Box

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
        box: in pixels of this very frame as a player shows it, upright; may reach over its border.
        found: confidence of the face finder in [0, 1].
        score: calibrated P(fake) of this face alone.
        seen: the box in the frame as it was judged, if that was turned by quarters; not part of the JSON.
    """

    position: int
    frame: int
    time: float
    box: Box
    found: float
    score: float
    seen: Box | None = None

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
class FaceQuality:
    """The quality of a face's picture, see :mod:`unmask.faces.quality`; medians over a track.

    Attributes:
        side: longer side of the box, pixels of the frame.
        sharpness: fine detail as a share of all contrast.
        blockiness: how far the grid of a codec stands out, about 1 without one; None where the face is too small.
        tilt: by how much the face is turned in the picture judged, degrees in [0, 180]; None where nobody knows.
    """

    side: float
    sharpness: float
    blockiness: float | None
    tilt: float | None = None

    def to_json(self) -> dict[str, Any]:
        blocks = None if self.blockiness is None else round(self.blockiness, 3)
        tilt = None if self.tilt is None else round(self.tilt, 1)
        return {
            "side": round(self.side, 1),
            "sharpness": round(self.sharpness, 4),
            "blockiness": blocks,
            "tilt": tilt,
        }


@dataclass(frozen=True)
class ScoredTrack:
    """One person followed over the analysed frames of a video, or one face of an image.

    Attributes:
        faces: in the order of time.
        score: P(fake) of the track, see :func:`unmask.detector.frames.pooled`.
        verdict: ``real``, ``fake`` or ``uncertain`` for this person alone; None if the track was not counted.
        quality: of its pictures; None if nobody measured it.
        warnings: what to keep in mind about this person's score, in plain words.
        counted: False if the track is too small or too short to decide anything.
        reason: why it was not counted, in plain words; None if it was.
    """

    faces: tuple[FaceScore, ...]
    score: float
    counted: bool = True
    reason: str | None = None
    verdict: Verdict | None = None
    quality: FaceQuality | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "score": self.score,
            "counted": self.counted,
            "reason": self.reason,
            "quality": None if self.quality is None else self.quality.to_json(),
            "warnings": list(self.warnings),
            "faces": [face.to_json() for face in self.faces],
        }


@dataclass(frozen=True)
class Evidence:
    """A face crop as the classifier saw it, and where in it the reasons lie; for the report.

    Attributes:
        track: number of its track.
        face: which of its faces.
        jpeg: the crop.
        cells: the heat map, see :func:`unmask.detector.explain.heat_maps`: rows of numbers in [0, 1], from the top;
            None where the detector gives none.
        heat: the crop with that map over it, JPEG.
        sigma: the crop with the adversary's blur over it, JPEG: bright where it wants to wipe something away;
            None for a detector without an adversary.
    """

    track: int
    face: FaceScore
    jpeg: bytes
    cells: tuple[tuple[float, ...], ...] | None = None
    heat: bytes | None = None
    sigma: bytes | None = None


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
        score: calibrated P(fake) in [0, 1] of the track that decided; None where no face counts.
        threshold: the score from which the verdict is ``fake``.
        uncertain: scores in this closed interval are ``uncertain``; None if the detector gives no such band.
        kind: ``image`` or ``video``; None if the input could not be opened.
        width, height: upright size in pixels; of a video that of the first frame analysed, and a warning says if others
            have another.
        duration: seconds; None for images and where it is not known.
        times: seconds of every analysed frame, with a face or without.
        tracks: one per person (video) or face (image), in the order they matter: the deciding track first.
        detector: which detector spoke.
        error: one line, why the input could not be judged.
        warnings: what to keep in mind about the verdict, one sentence each, in plain words.
        provenance: what the file says about its own origin, see :mod:`unmask.detection.provenance`; None if it says
            nothing or nobody can read it.
        marks: by which the file's metadata calls it machine-made, see :mod:`unmask.detection.marks`.
        notes: what the report could not show, and why; not part of the JSON.
        evidence, still: pictures for the report; not part of the JSON, empty unless asked for.
        card: of the detector that spoke, for the report; not part of the JSON.
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
    warnings: tuple[str, ...] = ()
    provenance: Provenance | None = None
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)
    still: Still | None = field(default=None, repr=False)
    card: Card | None = field(default=None, repr=False, compare=False)

    @property
    def says_made(self) -> bool:
        """Whether the file itself says that it, or a part of it, is machine-made; then it is not called ``real``."""
        return bool(self.marks) or (self.provenance is not None and self.provenance.says_synthetic)

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
            "warnings": list(self.warnings),
            "provenance": None if self.provenance is None else self.provenance.to_json(),
            "marks": [mark.to_json() for mark in self.marks],
            "error": self.error,
        }

    def save_report(self, path: str | PathLike[str]) -> None:
        """Write one self-contained HTML page; ask :meth:`Detector.detect` for ``pictures`` to have them on it.

        Raises:
            UnmaskError: it cannot be written.
            ValueError: no detector made this result, so there is no card to show.
        """
        from unmask.detection.report import write_report

        if self.card is None:
            raise ValueError("a report needs the card of the detector: use write_report")
        write_report(path, [self], self.card)
