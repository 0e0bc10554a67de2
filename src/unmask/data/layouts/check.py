"""What an index holds, counted: the answer of ``unmask prepare --check``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.data.layouts.index import Clip, Index, Problem

#: Data set, method, quality, split, label.
_Kind = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Count:
    """How many clips of one kind there are, how many files they have, and how many come with masks."""

    dataset: str
    method: str
    quality: str
    split: str
    label: str
    clips: int
    files: int
    masks: int


@dataclass(frozen=True)
class Description:
    """Counts, problems and notes of an index.

    Attributes:
        layout: that read it.
        counts: by data set, method, quality, split and label, in this order.
        problems: of the index, and files that are empty or have gone since.
        notes: of the index, and what is remarkable about its splits.
    """

    layout: str
    counts: tuple[Count, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def clips(self) -> int:
        return sum(count.clips for count in self.counts)

    def to_json(self) -> dict[str, Any]:
        return {
            "layout": self.layout,
            "clips": self.clips,
            "counts": [vars(count) for count in self.counts],
            "problems": [vars(problem) for problem in self.problems],
            "notes": list(self.notes),
        }


def describe(index: Index) -> Description:
    """Count an index, look at the size of every file of it, and say where its splits are not what they seem."""
    groups: dict[_Kind, list[Clip]] = defaultdict(list)
    for clip in index.clips:
        groups[clip.dataset, clip.method, clip.quality, clip.split, clip.label].append(clip)
    counts = tuple(
        Count(*kind, len(clips), sum(len(clip.paths) for clip in clips), sum(bool(clip.masks) for clip in clips))
        for kind, clips in sorted(groups.items(), key=lambda item: _order(item[0]))
    )
    problems = (
        *index.problems,
        *_empty(path for clip in index.clips for path in clip.paths),
        *_empty(path for clip in index.clips for path in clip.masks),
    )
    return Description(index.layout, counts, problems, (*index.notes, *_remarks(index.clips)))


def _order(kind: _Kind) -> tuple[Any, ...]:
    dataset, method, quality, split, label = kind
    return dataset, label != "real", method, quality, {"train": 0, "val": 1, "test": 2}.get(split, 3), split


def _empty(paths: Iterable[Path]) -> Iterable[Problem]:
    for path in paths:
        try:
            if not path.stat().st_size:
                yield Problem(str(path), "the file is empty")
        except OSError as error:
            yield Problem(str(path), f"cannot be read ({error.strerror})")


def _remarks(clips: tuple[Clip, ...]) -> Iterable[str]:
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in clips:
        if clip.split:
            splits[clip.dataset, clip.component].add(clip.split)
    torn = Counter(dataset for (dataset, _), names in splits.items() if len(names) > 1)
    for dataset, number in torn.items():
        yield f"{dataset}: {number} components (people or sources) are in more than one split of those it comes with"
    for split in sorted({clip.split for clip in clips}):
        labels = {clip.label for clip in clips if clip.split == split}
        if len(labels) == 1:
            yield f"split {split or 'unnamed'}: {labels.pop()} clips only"
