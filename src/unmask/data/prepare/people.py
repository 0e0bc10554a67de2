"""Whose face of a clip goes into the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from unmask.faces.face import Face
from unmask.faces.tracks import least_faces

# A person in the foreground is seen at least in this share of the frames of who is seen most.
_MAIN = 0.5
# Of two people the less manipulated one counts as manipulated from this share of the other's part of the masks on.
_MANIPULATED = 0.25


@dataclass
class Find:
    """A face in a frame.

    Attributes:
        position: of the frame among those taken.
        face: where it is.
        row: what the table says about it; empty if it is left out.
        dropped: why it is left out; empty if it is not.
        manipulated: part of the frame's mask, in [0, 1], that lies in its box; 0 without a mask.
    """

    position: int
    face: Face
    row: dict[str, Any] = field(default_factory=dict)
    dropped: str = ""
    manipulated: float = 0.0


def choose_people(
    tracks: Sequence[Sequence[Find]], frames: int, people: Literal["main", "all"]
) -> tuple[dict[int, list[Find]], Counter[str]]:
    """Choose among the people of a clip.

    Args:
        tracks: the faces of one person each; longest first.
        frames: how many frames were looked at.
        people: as in :class:`~unmask.data.prepare.recipe.PrepareRecipe`.

    Returns:
        The tracks of those who are taken, each by the person's number in the clip, from the foremost on, which is the
        same in a fake as in its original; and how many faces were left out for which reason.
    """
    left: Counter[str] = Counter()
    longest = max((len(track) for track in tracks), default=0)
    needed = least_faces(frames, longest)
    usable = []
    for track in tracks:
        kept = [find for find in track if not find.dropped]
        left.update(find.dropped for find in track if find.dropped)
        if kept and len(track) >= needed:
            usable.append(list(track))
        elif kept:
            left["seen too briefly"] += len(kept)
    longest = max(map(len, usable), default=0)
    usable.sort(key=lambda track: (len(track) < _MAIN * longest, -_size(track)))
    masked = [sum(find.manipulated for find in track) for track in usable]
    most = max(masked, default=0.0)
    reason = "another person" if people == "main" or not most else "not manipulated"
    taken = [number for number, share in enumerate(masked) if share >= _MANIPULATED * most]
    taken.sort(key=lambda number: -masked[number])
    if people == "main":
        taken = taken[:1]
    for number, track in enumerate(usable):
        if number not in taken:
            left[reason] += sum(not find.dropped for find in track)
    return {number: [find for find in usable[number] if not find.dropped] for number in taken}, left


def _size(track: Sequence[Find]) -> float:
    return float(np.median([find.face.box.area for find in track]))
