"""Media in, verdict out: find the faces, follow them, score their crops, and say what that means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from os import PathLike, fspath
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from unmask.detection import evidence, verdict
from unmask.detection.marks import find_marks, in_words
from unmask.detection.provenance import read_provenance
from unmask.detection.quarters import box_as_given, find_quarters, turn_media
from unmask.detection.result import Detection, DetectorName, FaceQuality, FaceScore, ScoredTrack
from unmask.detection.source import Source, open_source, source_name
from unmask.detector.frames import DIGITS, pooled
from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from unmask.detector import Card, Runtime, Scorer
    from unmask.detector.onnx_scorer import OnnxScorer
    from unmask.faces import Face, FaceDetector, Media, Track
    from unmask.game.adversaries import GeneratorBlur

_BATCH = 32
#: Frames searched in one call.
_STEP = 8
#: The share of the work that is done when frames are read, faces found, and faces scored: about that of 1080p clips.
_READ, _FOUND, _SCORED = 0.3, 0.8, 0.98


def load_detector(
    name_or_path: str | PathLike[str] = "default",
    face_detector: FaceDetector | None = None,
    runtime: Runtime = "auto",
    threads: int = 0,
) -> Detector:
    """Load a detector file and the face finder.

    Args:
        name_or_path: ``default`` for the bundled detector, the folder of another one, or an exported ONNX file.
        face_detector: finds the faces, from several threads if the result is so used; MTCNN if none is given.
        runtime: ``torch``, ``onnx`` or ``auto``, see :func:`unmask.detector.load_scorer`.
        threads: that decode a video; 0 for as many as the codec thinks good, 1 where processes share the machine.

    Raises:
        UnmaskError: there is no such detector, or it cannot be used.
    """
    from unmask.detector import load_scorer

    if face_detector is None:
        from unmask.faces import MTCNN

        face_detector = MTCNN()
    scorer = load_scorer(name_or_path, runtime)
    adversary = partial(_adversary, name_or_path, scorer.card)
    return Detector(scorer, face_detector, fspath(name_or_path), adversary, threads)


def _adversary(name_or_path: str | PathLike[str], card: Card) -> GeneratorBlur | None:
    """The adversary that the card names; None without one, or without torch, in which alone it runs."""
    if card.adversary is None or fspath(name_or_path).lower().endswith(".onnx"):
        return None
    try:
        from unmask.detector.adversary import read_adversary
    except ImportError:
        return None
    return read_adversary(name_or_path, card)


class Detector:
    """A finished detector, ready for images and videos. Threads may share one.

    Args:
        scorer: from crops to P(fake).
        face_detector: finds the faces.
        name: what results call the detector.
        adversary: loads the generator whose maps of sigma the report shows, when the first is asked for; or None.
        threads: that decode a video, as :func:`load_detector` takes it.
    """

    def __init__(
        self,
        scorer: Scorer | OnnxScorer,
        face_detector: FaceDetector,
        name: str = "default",
        adversary: Callable[[], GeneratorBlur | None] | None = None,
        threads: int = 0,
    ) -> None:
        self.scorer = scorer
        self._threads = threads
        self._load_adversary = adversary
        self.name = DetectorName(name, scorer.card.version, scorer.card.weights_sha256[:12])
        self._find = face_detector

    @property
    def card(self) -> Card:
        """What the detector says about itself."""
        return self.scorer.card

    @cached_property
    def adversary(self) -> GeneratorBlur | None:
        """The adversary that came with the detector; torch is loaded for it."""
        return None if self._load_adversary is None else self._load_adversary()

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
        from unmask.faces import Track, link_tracks

        tell = progress or (lambda share: None)
        called = source_name(media, name)
        opened = open_source(media, frames, called, self._threads)
        tell(_READ)
        found, scenes = self._search(opened, lambda share: tell(_READ + (_FOUND - _READ) * share))
        # Results tell of the media as given, whichever way they are looked at.
        view = opened
        if quarters := find_quarters(self._find, [frame.image for frame in opened.frames], found):
            view = turn_media(opened, quarters)
            found, scenes = self._search(view, lambda share: tell(_FOUND))
        tracks = [Track(((0, face),)) for face in found[0]] if opened.kind == "image" else link_tracks(found, scenes)
        scored = verdict.rank_tracks(self._score(view, quarters, tracks, tell), opened.kind, len(opened.frames))
        settled, warnings = verdict.settle(scored, self.card.threshold)
        provenance, marks = read_provenance(media), find_marks(opened.noticed.texts)
        made = in_words(marks, provenance is not None and provenance.says_synthetic)
        detection = replace(
            self._blank(called),
            # Faces that a generator made as a whole show no seam: there is nothing to hold against what the file says.
            verdict="uncertain" if made and settled == "real" else settled,
            score=scored[0].score if scored and scored[0].counted else None,
            kind=opened.kind,
            width=opened.width,
            height=opened.height,
            duration=opened.duration,
            times=tuple(frame.time for frame in opened.frames),
            tracks=tuple(scored),
            warnings=tuple(filter(None, (made, *_about_the_file(opened, quarters), *warnings))),
            provenance=provenance,
            marks=marks,
        )
        if pictures:
            shown, notes = evidence.collect(view, scored, self.scorer, lambda: self.adversary)
            detection = replace(detection, evidence=shown, notes=notes, still=evidence.still(opened, scored))
        tell(1.0)
        return detection

    def detect_many(self, media: Iterable[Source], frames: int = 32, pictures: bool = False) -> Iterator[Detection]:
        """Judge one input after the other; one that cannot be judged yields its error and the rest go on."""
        for each in media:
            try:
                yield self.detect(each, frames=frames, pictures=pictures)
            except UnmaskError as error:
                # What is wrong with the detector is not said of the file.
                yield self.failed(each, error.reason if _is_about(error, each) else str(error))
            except Exception as error:  # a hostile file may break a codec in ways nobody listed
                yield self.failed(each, f"cannot be analysed: {type(error).__name__}: {error}")

    def failed(self, media: Source, reason: str) -> Detection:
        """The answer for an input that could not be judged."""
        return replace(self._blank(source_name(media)), error=" ".join(reason.split()))

    def _search(self, media: Media, tell: Callable[[float], None]) -> tuple[list[list[Face]], list[int]]:
        """Faces and scene of each frame; ``tell`` is called with the share of the frames that are searched."""
        found, scenes = [], []
        for scene, faces in self._faces([frame.image for frame in media.frames]):
            found.append(faces)
            scenes.append(scene)
            tell(len(found) / len(media.frames))
        return found, scenes

    def _faces(self, images: Sequence[np.ndarray]) -> Iterator[tuple[int, list[Face]]]:
        """Scene and faces of each frame: MTCNN searches some and follows its finds in between, others search all."""
        from unmask.faces import MTCNN, FaceFollower, find_scenes

        if isinstance(self._find, MTCNN):
            yield from FaceFollower(self._find).follow(images)
            return
        scenes = iter(find_scenes(images))
        for start in range(0, len(images), _STEP):
            # Turned pictures are views with strides below zero, which not every library takes.
            for faces in self._find([np.ascontiguousarray(image) for image in images[start : start + _STEP]]):
                yield next(scenes), faces

    def _blank(self, path: str) -> Detection:
        return Detection(path, None, None, float(self.card.threshold), self.name, self.card.uncertain, card=self.card)

    def _score(
        self, media: Media, quarters: int, tracks: Sequence[Track], tell: Callable[[float], None]
    ) -> list[ScoredTrack]:
        faces = [(position, face) for track in tracks for position, face in track.faces]
        scores: list[float] = []
        qualities: list[FaceQuality] = []
        for start in range(0, len(faces), _BATCH):
            batch = faces[start : start + _BATCH]
            crops = [self.card.crop.crop(media.frames[position].image, face.box) for position, face in batch]
            scores += [round(float(score), DIGITS) for score in self.scorer.score(crops)]
            for (position, face), crop in zip(batch, crops, strict=True):
                qualities.append(self._quality(media.frames[position].image, face, crop))
            tell(_FOUND + (_SCORED - _FOUND) * min(1.0, (start + _BATCH) / len(faces)))
        remaining = iter(zip(scores, qualities, strict=True))
        result = []
        for track in tracks:
            own = [next(remaining) for _ in track.faces]
            scored = tuple(
                FaceScore(
                    position=position,
                    frame=media.frames[position].index,
                    time=media.frames[position].time,
                    box=box_as_given(face.box, media.frames[position].image, quarters),
                    found=float(face.score),
                    score=score,
                    seen=face.box if quarters else None,
                )
                for (position, face), (score, _) in zip(track.faces, own, strict=True)
            )
            quality = _median([each for _, each in own])
            judged = ScoredTrack(scored, pooled([face.score for face in scored]), quality=quality)
            result.append(verdict.judge(judged, self.card.threshold, self.card.uncertain, self.card.tested))
        return result

    def _quality(self, frame: np.ndarray, face: Face, crop: np.ndarray) -> FaceQuality:
        from unmask.faces.align import tilt
        from unmask.faces.quality import blockiness, sharpness

        left, top, side = self.card.crop.square(face.box)
        # The frame's own pixels: the grid of a codec does not survive being scaled.
        inside = frame[max(top, 0) : top + side, max(left, 0) : left + side]
        turned = None if face.landmarks is None else tilt(face.landmarks)
        return FaceQuality(max(face.box.width, face.box.height), sharpness(crop), blockiness(inside), turned)


def _is_about(error: UnmaskError, media: Source) -> bool:
    """Whether an error is the fault of the input, and not of the detector."""
    return PurePath(error.subject) == PurePath(source_name(media))


def _about_the_file(media: Media, quarters: int) -> tuple[str, ...]:
    """What to keep in mind about a verdict whatever the faces are, in plain words."""
    notes, noticed = [], media.noticed
    if noticed.damage:
        notes.append(noticed.damage)
    if noticed.several:
        what = "pages: only the first" if media.kind == "image" else "videos: only the one that players show"
        notes.append(f"the file holds several {what} was looked at")
    if noticed.combed:
        of = f"{noticed.combed} of {len(media.frames)} frames"
        notes.append(f"the video is interlaced: of {of} every second line was looked at, as they show two moments")
    if len({frame.image.shape for frame in media.frames}) > 1:
        notes.append("the size of the picture changes within the video: each box is in pixels of its own frame")
    if quarters:
        turn = ("a quarter turn to the right", "half a turn", "a quarter turn to the left")[quarters - 1]
        what = "picture" if media.kind == "image" else "video"
        notes.append(f"the {what} seems to lie the wrong way up: its faces were judged after {turn}")
    return tuple(notes)


def _median(qualities: Sequence[FaceQuality]) -> FaceQuality:
    blocks = [each.blockiness for each in qualities if each.blockiness is not None]
    tilts = [each.tilt for each in qualities if each.tilt is not None]
    return FaceQuality(
        float(np.median([each.side for each in qualities])),
        float(np.median([each.sharpness for each in qualities])),
        float(np.median(blocks)) if blocks else None,
        float(np.median(tilts)) if tilts else None,
    )
