"""What an evaluation found: dataclasses, their JSON, and a table for the screen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unmask.detector.frames import pooled
from unmask.evaluation.bootstrap import Estimate
from unmask.printing import cell

if TYPE_CHECKING:
    from rich.table import Table

#: Metrics on the screen, with their headings; the JSON has them all.
_COLUMNS = {
    "auc": "AUC",
    "ap": "AP",
    "eer": "EER",
    "accuracy": "accuracy",
    "fpr": "FPR",
    "tpr_at_1pct_fpr": "TPR @ 1 % FPR",
    "tpr_at_10pct_fpr": "TPR @ 10 % FPR",
    "ece": "ECE",
}


@dataclass(frozen=True)
class Rows:
    """The scored rows of one table, n of them, at frame level or with one row a video.

    Attributes:
        fake: (n,) bool.
        score: (n,) calibrated P(fake).
        method, quality: (n,) str.
        video: (n,) str, one for each data set, label, manipulation, quality and clip.
        cluster: (n,) str, what the bootstrap draws: data set and component.
    """

    fake: npt.NDArray[np.bool_]
    score: npt.NDArray[np.float64]
    method: npt.NDArray[np.object_]
    quality: npt.NDArray[np.object_]
    video: npt.NDArray[np.object_]
    cluster: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.fake)

    def take(self, chosen: npt.NDArray[Any]) -> Rows:
        """The rows of a boolean mask or of indices."""
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def videos(self) -> Rows:
        """One row a video, its score pooled from its frames' as a clip's is."""
        _, first, member = np.unique(self.video.astype(str), return_index=True, return_inverse=True)
        if not len(first):
            return self
        order = np.argsort(member, kind="stable")
        parts = np.split(self.score[order], np.cumsum(np.bincount(member))[:-1])
        return replace(self.take(first), score=np.array([pooled(part) for part in parts]))


@dataclass(frozen=True)
class Levels:
    """The metrics of one set of rows: of its frames, and of its videos."""

    counts: dict[str, int]
    frame: dict[str, Estimate]
    video: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """``counts``, ``frame``, ``video``, and each metric of the videos once more beside them."""
        video = {name: value.to_json() for name, value in self.video.items()}
        frame = {name: value.to_json() for name, value in self.frame.items()}
        return {"counts": self.counts, **video, "frame": frame, "video": video}


@dataclass(frozen=True)
class TableResult:
    """What the detector did on one table.

    Attributes:
        table: path as it was named.
        protocol: detector, split, crop, threshold, interval: what it takes to get the same figures again.
        sha256: of the file; None for a folder or where nothing could be read.
        levels: metrics of all rows, or None where no row could be scored.
        by_method: of each manipulation's fakes against all reals.
        by_quality: of each quality's rows.
        skipped: rows without a score: ``row`` (name of the file and number), ``reason``.
        no_face: how many of those had no face (only where faces were searched).
        error: why the table does not show what it should, one line; None if it does.
    """

    table: str
    protocol: dict[str, Any]
    sha256: str | None = None
    levels: Levels | None = None
    by_method: dict[str, Levels] = field(default_factory=dict)
    by_quality: dict[str, Levels] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    no_face: int = 0
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """One JSON object; top-level metrics are those of the videos."""
        found: dict[str, Any] = {"table": self.table, "error": self.error, "sha256": self.sha256}
        if self.levels is not None:
            found["rows"], found["videos"] = self.levels.counts["rows"], self.levels.counts["videos"]
            found |= self.levels.to_json()
            found["by_method"] = {name: levels.to_json() for name, levels in self.by_method.items()}
            found["by_quality"] = {name: levels.to_json() for name, levels in self.by_quality.items()}
        return {**found, "skipped": self.skipped, "no_face": self.no_face, "protocol": self.protocol}


@dataclass(frozen=True)
class Evaluation:
    """A detector on one or more tables."""

    tables: list[TableResult]

    @property
    def errors(self) -> list[str]:
        """One line for each table that could not be measured; empty when all could."""
        return [result.error for result in self.tables if result.error is not None]

    def to_json(self) -> list[dict[str, Any]]:
        """One object a table, in the order they were named, each with its own protocol; free of NaN."""
        return [result.to_json() for result in self.tables]


def render(evaluation: Evaluation) -> Table:
    """The evaluation as a rich table: videos and frames of each table, then its manipulations and qualities.

    Each cell is the value with its 95 % interval below; a table that failed is a line with the reason.
    """
    from rich.table import Table

    table = Table("table", "rows", "real + fake", *_COLUMNS.values())
    for result in evaluation.tables:
        name = Path(result.table).name
        if result.error is not None:
            table.add_row(cell(f"{name}: {result.error.removeprefix(f'{result.table}: ')}"))
        if result.levels is None:
            continue
        _add(table, name, result.levels, "video")
        _add(table, "", result.levels, "frame")
        groups = [*result.by_method.items()] if len(result.by_method) > 1 else []
        groups += [*result.by_quality.items()] if len(result.by_quality) > 1 else []
        for group, levels in groups:
            _add(table, f"  {group}", levels, "video")
        if result.skipped:
            rows = f"{len(result.skipped)} row{'s' if len(result.skipped) > 1 else ''} skipped"
            table.add_row(f"  {rows}" + (f", {result.no_face} without a face" if result.no_face else ""))
        table.add_section()
    return table


def _add(table: Table, name: str, levels: Levels, level: str) -> None:
    metrics = levels.video if level == "video" else levels.frame
    counts = levels.counts
    unit = "videos" if level == "video" else "rows"
    classes = f"{counts[f'real_{unit}']} + {counts[f'fake_{unit}']}"
    table.add_row(cell(name), level, classes, *(with_interval(metrics[metric]) for metric in _COLUMNS))


def with_interval(found: Estimate) -> str:
    """A figure as tables print it: three digits, its interval below, a dash where there is none."""
    if found.value is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f}\n{found.low:.3f}-{found.high:.3f}"
