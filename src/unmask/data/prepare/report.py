"""What became of a data set: told from the notes on its clips, so that any shard can tell it of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unmask.data.layouts.index import Clip, Index


@dataclass(frozen=True)
class Report:
    """The state of a folder that ``prepare`` writes to.

    Attributes:
        layout: name of the layout.
        clips: how many there are to prepare, over all shards.
        done, without_face, broken, to_do: how many of them gave rows, showed no face that is good enough, cannot be
            used, or are another run's.
        rows: face crops.
        frames: looked at.
        left_out: faces that are not in the table, by reason.
        seconds: of all processes together, by kind of work.
        minutes: from start to end of this run.
        clips_now, rows_now: what this run did of that.
        counts: clips and rows by data set, method, quality, split and label.
        reasons: for each clip without a face or broken, its key, state, and why.
        remarks: what was wrong with clips that were prepared all the same.
        problems: what is missing or wrong in the data set's folders.
        notes: what the reader of the layout assumed.
        recipe: what was done to each clip.
    """

    layout: str
    clips: int
    done: int
    without_face: int
    broken: int
    to_do: int
    rows: int
    frames: int
    left_out: dict[str, int]
    seconds: dict[str, float]
    minutes: float
    clips_now: int
    rows_now: int
    counts: list[dict[str, Any]]
    reasons: list[dict[str, str]]
    remarks: list[str]
    problems: list[str]
    notes: list[str]
    recipe: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def make_report(
    index: Index,
    clips: Sequence[Clip],
    notes: Mapping[str, Mapping[str, Any]],
    recipe: dict[str, Any],
    minutes: float,
    now: tuple[int, int],
) -> Report:
    """Sum up the notes on the clips that were to be prepared.

    Args:
        index: where the clips are from.
        clips: those that were asked for, of all shards.
        notes: of those that are done, by key.
        recipe: what was done to them.
        minutes: that this run took.
        now: clips and rows of this run.
    """
    states: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    groups: dict[tuple[str, ...], list[int]] = {}
    reasons, remarks, frames = [], [], 0
    for clip in clips:
        note = notes.get(clip.key)
        if note is None:
            continue
        states[note["state"]] += 1
        left_out.update(note.get("left_out", {}))
        for kind, spent in note.get("seconds", {}).items():
            seconds[kind] = seconds.get(kind, 0.0) + spent
        frames += note.get("frames", 0)
        remarks += note.get("remarks", [])
        if "reason" in note:
            reasons.append({"clip": clip.key, "state": note["state"], "reason": note["reason"]})
        group = groups.setdefault((clip.dataset, clip.method, clip.quality, clip.split, clip.label), [0, 0])
        group[0] += 1
        group[1] += note["rows"]
    names = ("dataset", "method", "quality", "split", "label", "clips", "rows")
    counts = [dict(zip(names, (*key, *values), strict=True)) for key, values in sorted(groups.items())]
    return Report(
        layout=index.layout,
        clips=len(clips),
        done=states["done"],
        without_face=states["no face"],
        broken=states["broken"],
        to_do=len(clips) - sum(states.values()),
        rows=sum(rows for _, rows in groups.values()),
        frames=frames,
        left_out=dict(left_out.most_common()),
        seconds={kind: round(spent, 2) for kind, spent in sorted(seconds.items(), key=lambda each: -each[1])},
        minutes=round(minutes, 3),
        clips_now=now[0],
        rows_now=now[1],
        counts=counts,
        reasons=reasons,
        remarks=remarks,
        problems=[str(problem) for problem in index.problems],
        notes=list(index.notes),
        recipe=recipe,
    )
