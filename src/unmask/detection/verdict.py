"""From scores to a verdict: what counts, what a score stands for, and when nobody should rely on it.

A clip is fake if one person in it is, so every track gets a verdict and the gravest one decides. Only tracks that
are large and stable enough take part, because a face finder now and then takes a fold in a curtain for a face,
and such a find must not decide. A track counts if

- the longer side of its box is at least :data:`MIN_SIDE` pixels (median over the track), and, in a video,
- it is not too short beside the longest track that is large enough: :func:`unmask.faces.tracks.least_faces`.

In an image every face is a track of its own and only the size counts. If no track counts, the answer is
``no face``; the tracks are listed all the same, each with the reason why it was left out. A face that is seen too
briefly to count does not make a clip fake, but where it scores as fake nobody should call the clip real either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.detection.result import FaceQuality, FaceScore, ScoredTrack, Verdict
from unmask.faces.tracks import least_faces

if TYPE_CHECKING:
    from unmask.detector import QualityLimits

#: Smallest face that may decide, in pixels of the longer side of its box.
MIN_SIDE = 40.0
#: Detectors learn from faces that are about upright, degrees: of DFDC's validation faces one in 200 is turned further.
MAX_TILT = 25.0
#: From so many faces on, the gravest verdict among them is worth a word.
_MANY = 5
#: Faces with warnings, and faces seen too briefly, that are named one by one.
_SHOWN = 3
#: Fewest frames in a row, and least share of a track, that are worth a word when they score fake by themselves.
_RUN, _RUN_SHARE = 3, 0.1

_GRAVITY = {"fake": 0, "uncertain": 1, "real": 2}


def verdict_of(score: float | None, threshold: float, uncertain: tuple[float, float] | None = None) -> Verdict:
    """The verdict a score stands for: inside the band ``uncertain``, else ``fake`` from the threshold on."""
    if score is None:
        return "no face"
    if uncertain is not None and uncertain[0] <= score <= uncertain[1]:
        return "uncertain"
    return "fake" if score >= threshold else "real"


def untested(quality: FaceQuality, tested: QualityLimits | None) -> tuple[str, ...]:
    """In what a face is worse than those that the detector was tested on, in plain words; empty if in nothing."""
    if tested is None:
        return ()
    found = []
    if tested.face_side is not None and quality.side < tested.face_side:
        found.append(f"too small: {quality.side:.0f} px, tested from {tested.face_side:.0f} px on")
    if tested.sharpness is not None and quality.sharpness < tested.sharpness:
        found.append(
            f"too blurred or enlarged: sharpness {quality.sharpness:.2f}, tested from {tested.sharpness:.2f} on"
        )
    if tested.blockiness is not None and quality.blockiness is not None and quality.blockiness > tested.blockiness:
        found.append(
            f"too strongly compressed: blocks stand out {quality.blockiness:.1f} times,"
            f" tested up to {tested.blockiness:.1f}"
        )
    if quality.tilt is not None and quality.tilt > MAX_TILT:
        found.append(f"too far from upright: {quality.tilt:.0f} degrees, tested up to about {MAX_TILT:.0f}")
    return tuple(found)


def judge(
    track: ScoredTrack, threshold: float, uncertain: tuple[float, float] | None, tested: QualityLimits | None
) -> ScoredTrack:
    """The track with its own verdict: what its score stands for, and ``uncertain`` where it was never tested."""
    poor = () if track.quality is None else untested(track.quality, tested)
    verdict: Verdict = "uncertain" if poor else verdict_of(track.score, threshold, uncertain)
    notes = tuple(f"the face is {reason}; its score cannot be relied on" for reason in poor)
    if track.score < threshold and (run := _longest_run(track.faces, threshold)):
        first, last = run[0].time, run[-1].time
        notes += (f"every face from {first:.2f} s to {last:.2f} s scores as fake, though the whole does not",)
    return replace(track, verdict=verdict, warnings=notes)


def _longest_run(faces: Sequence[FaceScore], threshold: float) -> list[FaceScore]:
    """The longest run of faces at or above the threshold, if it is long enough to be no accident."""
    best: list[FaceScore] = []
    run: list[FaceScore] = []
    for face in faces:
        run = [*run, face] if face.score >= threshold else []
        best = max(best, run, key=len)
    return best if len(best) >= max(_RUN, _RUN_SHARE * len(faces)) else []


def rank_tracks(tracks: Sequence[ScoredTrack], kind: Literal["image", "video"], frames: int) -> list[ScoredTrack]:
    """Say of each track whether it counts, and put the deciding one first.

    Args:
        tracks: scored tracks in any order, with verdicts or without.
        kind: in an image only the size of a face counts.
        frames: how many frames were analysed.

    Returns:
        The same tracks: those that count, fake before uncertain before real and then by falling score; behind them
        the others, each with its reason and without a verdict.
    """
    sides = [_side(track) for track in tracks]
    longest = max((len(track.faces) for track, side in zip(tracks, sides, strict=True) if side >= MIN_SIDE), default=0)
    needed = least_faces(frames, longest)
    result = []
    for track, side in zip(tracks, sides, strict=True):
        reason = None
        if side < MIN_SIDE:
            reason = f"too small: {side:.0f} px, {MIN_SIDE:.0f} px are needed"
        elif kind == "video" and len(track.faces) < needed:
            reason = f"too short: seen in {len(track.faces)} of {frames} frames, {needed} are needed"
        verdict = track.verdict if reason is None else None
        result.append(replace(track, counted=reason is None, reason=reason, verdict=verdict))
    return sorted(result, key=lambda track: (not track.counted, _GRAVITY.get(track.verdict or "fake", 3), -track.score))


def settle(ranked: Sequence[ScoredTrack], threshold: float) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict of an image or clip, and what is to be kept in mind of it, in plain words.

    Args:
        ranked: its tracks, as :func:`rank_tracks` gives them.
        threshold: the score that a fake has at least.
    """
    counted = [track for track in ranked if track.counted]
    warned = [(number, track) for number, track in enumerate(counted, 1) if track.warnings]
    notes = [
        f"face {number}: {text}" if len(counted) > 1 else text
        for number, track in warned[:_SHOWN]
        for text in track.warnings
    ]
    if len(warned) > _SHOWN:
        notes.append(f"there are warnings about {len(warned) - _SHOWN} more")
    if ranked and not counted:
        faces = "1 face was found and not" if len(ranked) == 1 else f"{len(ranked)} faces were found and none"
        notes.append(f"{faces} judged: {ranked[0].reason}")
    verdict: Verdict = (counted[0].verdict if counted else None) or "no face"
    if len(counted) >= _MANY and verdict != "real":
        notes.append(f"the gravest of {len(counted)} faces decides, and among many a genuine one may score as fake")
    large = [track for track in ranked if not track.counted and _side(track) >= MIN_SIDE]
    brief = [track for track in large if len(track.faces) > 1 and track.score >= threshold]
    for track in brief[:_SHOWN]:
        first, last = track.faces[0].time, track.faces[-1].time
        when = f"a face from {first:.2f} s to {last:.2f} s"
        notes.append(f"{when} scores as fake ({track.score:.3f}), too briefly seen to count: judge that part alone")
    if len(brief) > _SHOWN:
        notes.append(f"so do {len(brief) - _SHOWN} more")
    return "uncertain" if brief and verdict != "fake" else verdict, tuple(notes)


def _side(track: ScoredTrack) -> float:
    """Longer side of the boxes, pixels, median over the track."""
    return float(np.median([max(face.box.width, face.box.height) for face in track.faces]))
