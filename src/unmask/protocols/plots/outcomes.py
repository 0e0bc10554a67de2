"""What figures are drawn from: the finished runs of a comparison, their scores, and which cells they never saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.detector.card import Calibration, calibrated
from unmask.errors import UnmaskError
from unmask.evaluation.metrics import ECE_BINS, Ranking, auc, measure
from unmask.protocols.finished import RESULT
from unmask.protocols.plots.style import Look, looks
from unmask.protocols.protocol import Protocol, Run, Scope
from unmask.protocols.scores import SCORES, read_scores
from unmask.protocols.summary import Measured

Array = npt.NDArray[np.float64]

#: Manipulations that a run was not trained on, of its own data set and of others.
UNSEEN: tuple[Scope, ...] = ("GF", "GFQ", "GFD")
#: False positive rates at which ROC curves are averaged.
GRID = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True)
class Comparison:
    """A comparison as far as it is done.

    Attributes:
        protocol: what was to be done.
        tables: its test tables by name, as ``Tests.tables`` gives them; empty where the data are not at hand.
        out: its folder.
        summary: what :func:`unmask.protocols.summarise` made of it.
        measured: the finished runs.
    """

    protocol: Protocol
    tables: Mapping[str, Path]
    out: Path
    summary: Mapping[str, Any]
    measured: Sequence[Measured]
    _held: dict[str, tuple[Mapping[str, Array], Mapping[str, Any]]] = field(default_factory=dict, init=False)

    def of(self, method: str) -> list[Measured]:
        """The finished runs of a method."""
        return [each for each in self.measured if each.run.method == method]

    @property
    def finished(self) -> list[str]:
        """Methods with a finished run, in the order of the protocol."""
        return [method.name for method in self.protocol.methods if self.of(method.name)]

    @property
    def focus(self) -> list[str]:
        """Methods that curves show: plain, the best game and its control, or all where no game was chosen."""
        best = self.protocol.best
        chosen = {self.protocol.plain.name, best, self.protocol.method(best).control} if best else set(self.finished)
        return [name for name in self.finished if name in chosen]

    @cached_property
    def looks(self) -> dict[str, Look]:
        """How each method is drawn."""
        return looks(self.protocol)

    @property
    def alone(self) -> list[str]:
        """What to say where intervals over seeds were meant to be, and no method has two."""
        most = max((len({each.run.seed for each in self.of(name)}) for name in self.finished), default=0)
        return ["Intervals over seeds: no method has more than a single seed."] if most == 1 else []

    def outcome(self, run: Run) -> tuple[Mapping[str, Array], Mapping[str, Any]]:
        """Raw log-odds of every test table, and the run's ``result.json``; read once."""
        if run.name not in self._held:
            folder = self.out / run.name
            scores = {name: table.log_odds for name, table in read_scores(folder / SCORES).items()}
            self._held[run.name] = scores, json.loads((folder / RESULT).read_text("utf-8"))
        return self._held[run.name]

    def pooled(self, run: Run, scopes: Sequence[Scope]) -> tuple[npt.NDArray[np.bool_], Array] | None:
        """Labels (n,), True for fakes, and raw log-odds (n,) of all cells of the scopes; None if the run has none."""
        scores = self.outcome(run)[0]
        parts = [
            (fake, scores[name])
            for cell in self.protocol.cells()
            if self.protocol.scope(run, cell) in scopes
            for fake, name in zip((False, True), self.protocol.tables_of(cell), strict=True)
        ]
        if not parts:
            return None
        labels = np.concatenate([np.full(len(values), fake) for fake, values in parts])
        return labels, np.concatenate([values for _, values in parts])

    def log(self, run: Run) -> Iterator[dict[str, Any]]:
        """The lines of the run's ``log.jsonl``."""
        path = self.out / run.name / "log.jsonl"
        try:
            yield from map(json.loads, path.read_text("utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise UnmaskError(path, f"cannot be read ({error})") from error


def over_seeds(runs: Iterable[Measured], value: Callable[[Measured], Array | float | None]) -> Array | None:
    """(seeds, ...) of what each run is worth, trainings of one seed averaged; None if no run is worth anything."""
    by_seed: dict[int, list[Array]] = {}
    for each in runs:
        found = value(each)
        if found is not None:
            by_seed.setdefault(each.run.seed, []).append(np.asarray(found, dtype=np.float64))
    return np.stack([np.mean(values, axis=0) for values in by_seed.values()]) if by_seed else None


def roc(fake: npt.NDArray[np.bool_], scores: Array) -> Array:
    """True positive rate at each false positive rate of :data:`GRID`, the highest where the curve is vertical."""
    sweep = Ranking(fake, scores).sweep()
    # numpy takes the last of equal abscissae: the upper end of a vertical piece.
    return np.interp(GRID, sweep.false_positives[0] / sweep.reals[0], sweep.true_positives[0] / sweep.fakes[0])


def area(fake: npt.NDArray[np.bool_], scores: Array) -> float:
    """Area under the ROC curve, a share: exact, which the sum over :data:`GRID` is not."""
    return float(auc(Ranking(fake, scores).sweep())[0])


@dataclass(frozen=True)
class Reliability:
    """Calibrated scores of one run against what they were: bins of equal width on [0, 1], and the whole's error.

    Attributes:
        rows, score, fake: (bins,) rows in each bin, sum of their P(fake), number of fakes among them.
        error: expected calibration error, a share.
    """

    rows: Array
    score: Array
    fake: Array
    error: float


def reliability(fake: npt.NDArray[np.bool_], log_odds: Array, calibration: Calibration) -> Reliability:
    """How well P(fake) is met; reals and fakes weigh alike, however many rows either has."""
    score = calibrated(log_odds, calibration)
    weights = np.where(fake, 0.5 / max(fake.sum(), 1), 0.5 / max((~fake).sum(), 1)) * len(fake)
    bins = np.clip((score * ECE_BINS).astype(np.int64), 0, ECE_BINS - 1)
    rows, total, fakes = (
        np.bincount(bins, weights * values, ECE_BINS).astype(np.float64)
        for values in (np.ones(len(fake)), score, fake.astype(float))
    )
    return Reliability(rows, total, fakes, measure(fake, score, weights=weights)["ece"] or 0.0)
