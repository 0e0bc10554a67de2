"""What a reader collects on its way through a data set: clips under keys of their own, problems, notes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unmask.data.layouts.index import Clip, Index, Problem

#: Quality of a data set that comes in one only, as everywhere in face tables.
AS_IT_IS = "source"

#: Splits as the field spells them, and ours.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: What a label may be called. Numbers are read as most of the field writes them: 1 is fake.
LABELS = {"real": "real", "0": "real", "fake": "fake", "1": "fake"}


def split_of(name: str) -> str:
    """The split that a word means, whatever its letters' case; empty if it means none."""
    return SPLITS.get(name.casefold(), "")


def own_source(method: str, video: str) -> str:
    """The source of a clip of which nothing is known but its name: itself. Each manipulation has names of its own."""
    return video if method == "real" else f"{method}/{video}"


class Findings:
    """Filled by a reader, and turned into an :class:`~unmask.data.layouts.index.Index` at the end."""

    def __init__(self) -> None:
        self._clips: dict[str, Clip] = {}
        self._problems: dict[Problem, None] = {}
        self._notes: dict[str, None] = {}

    def clips(self) -> Iterator[Clip]:
        """What was taken so far."""
        yield from self._clips.values()

    def add(self, clip: Clip) -> None:
        """Take a clip, unless its key is taken: two files that would be one clip are named, never merged."""
        first = self._clips.setdefault(clip.key, clip)
        if first is not clip:
            self.problem(clip.paths[0], f"would be the same clip ({clip.key}) as {first.paths[0]}, left out")

    def problem(self, path: Path | str, reason: str) -> None:
        self._problems.setdefault(Problem(str(path), " ".join(reason.split())))

    def note(self, text: str) -> None:
        self._notes.setdefault(" ".join(text.split()))

    def index(self, layout: str) -> Index:
        return Index(
            layout,
            tuple(clip for _, clip in sorted(self._clips.items())),
            tuple(self._problems),
            tuple(self._notes),
        )

    def read_json(self, path: Path, kind: type[dict[Any, Any]] | type[list[Any]], expected: str) -> Any:
        """What a JSON file holds, or None and a problem: it cannot be read, is broken, or is not of this kind."""
        text = self.read_text(path)
        if text is None:
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            self.problem(path, f"is no valid JSON ({error})")
            return None
        if not isinstance(value, kind):
            self.problem(path, f"is not of the expected shape: {expected}")
            return None
        return value

    def read_lines(self, path: Path) -> list[tuple[int, str]]:
        """Lines with their numbers, from 1, without the empty ones; none and a problem where it cannot be read."""
        lines = io.StringIO(self.read_text(path) or "", newline=None)
        return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]

    def read_rows(self, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
        """Rows of a CSV file (comma, semicolon or tab) with their line numbers; column names in lower case."""
        text = self.read_text(path) or ""
        head = text.split("\n", 1)[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
        columns = [name.strip().lower() for name in next(reader, [])]
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                self.problem(f"{path}:{reader.line_num}", f"is no row of a CSV file ({error})")
                continue
            if row is None:
                return
            if any(row):
                cells = [cell.strip() for cell in row] + [""] * len(columns)
                yield reader.line_num, dict(zip(columns, cells, strict=False))

    def read_text(self, path: Path) -> str | None:
        try:
            return path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            self.problem(path, "is no UTF-8 text")
        except (OSError, ValueError) as error:
            self.problem(path, f"cannot be read ({getattr(error, 'strerror', None) or error})")
        return None
