"""Intervals that know that the frames, qualities and forgeries of one source are not independent.

A cluster bootstrap: whole clusters (near-duplicate sources with all that was made of them) are drawn with
replacement, and a resample is a weight for each row (Field and Welsh, JRSS B 69:369-390, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.evaluation.metrics import METRICS, Ranking

#: Resamples in memory at once, times rows: 2 MB an array, which stays in the cache.
_CELLS = 250_000
#: Below this share of resamples that define a metric, the interval is not worth its name.
ENOUGH = 0.9


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval.

    Attributes:
        value: the metric of the rows themselves, or None where they do not define it.
        low, high: percentile interval, or None where there is none.
        reason: why something is None, in plain words; None when nothing is.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """``value, low, high`` and, only where something is missing, ``reason``."""
        known = {"value": self.value, "low": self.low, "high": self.high}
        return known if self.reason is None else {**known, "reason": self.reason}


def missing_class(fake: npt.NDArray[np.bool_]) -> str | None:
    """Why (n,) labels cannot show how well fakes are told from reals, or None if they can."""
    if len(fake) == 0:
        return "no rows"
    if fake.all():
        return "only fakes, no real"
    if not fake.any():
        return "only reals, no fake"
    return None


def resample_counts(clusters: int, resamples: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """How often each cluster was drawn: (resamples, clusters), each row summing to ``clusters``."""
    drawn = rng.integers(clusters, size=(resamples, clusters))
    drawn += np.arange(resamples)[:, None] * clusters
    return np.bincount(drawn.ravel(), minlength=resamples * clusters).reshape(resamples, clusters)


def estimate(
    fake: npt.ArrayLike,
    scores: npt.ArrayLike,
    clusters: npt.ArrayLike,
    threshold: float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every metric with its cluster-bootstrap percentile interval, 95 %.

    Args:
        fake: (n,) bool, True for fakes.
        scores: (n,) calibrated P(fake).
        clusters: (n,) any sortable values; rows with equal ones are drawn together.
        threshold: at or above it a row is called fake.
        resamples: draws of as many clusters as there are; 0 for no interval.
        seed: the same seed gives the same interval, whatever the machine.

    Returns:
        One :class:`Estimate` for each name in :data:`~unmask.evaluation.metrics.METRICS`.
    """
    labels = np.asarray(fake, dtype=bool)
    ranking = Ranking(labels, scores, threshold)
    unique, member = np.unique(np.asarray(clusters), return_inverse=True)
    if len(member) != len(labels):
        raise ValueError(f"{len(labels)} rows but {len(member)} cluster names")
    sweep = ranking.sweep()
    values = {name: float(metric(sweep)[0]) for name, metric in METRICS.items()}
    undefined = missing_class(labels)
    if len(unique) < 2 or resamples == 0:
        reason = "no resamples were asked for" if resamples == 0 else "one source only: no interval"
        return {name: _estimate(value, None, undefined, reason) for name, value in values.items()}

    ordered = member.ravel()[ranking.order]
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in METRICS}
    step = max(1, _CELLS // len(labels))
    for start in range(0, resamples, step):
        counts = resample_counts(len(unique), min(step, resamples - start), rng)
        sweep = ranking.sweep_ordered(counts[:, ordered].astype(np.float64))
        for name, metric in METRICS.items():
            drawn[name].append(metric(sweep))
    found = {}
    for name, value in values.items():
        samples = np.concatenate(drawn[name])
        samples = samples[~np.isnan(samples)]
        interval = None
        if len(samples) >= ENOUGH * resamples:
            interval = np.percentile(samples, [2.5, 97.5])
        found[name] = _estimate(value, interval, undefined, "too few sources: resamples miss a class")
    return found


def estimate_mean(
    values: npt.NDArray[np.float64], clusters: npt.ArrayLike, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """The mean of (n,) values with its cluster-bootstrap percentile interval, 95 %; arguments as :func:`estimate`."""
    unique, member = np.unique(np.asarray(clusters), return_inverse=True)
    if not len(values):
        return Estimate(None, reason="no rows")
    value = float(values.mean())
    if len(unique) < 2 or resamples == 0:
        return Estimate(value, reason="one source only: no interval" if resamples else "no resamples were asked for")
    sums = np.bincount(member, values)
    counts = resample_counts(len(unique), resamples, np.random.default_rng(seed))
    low, high = np.percentile(counts @ sums / (counts @ np.bincount(member)), [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _estimate(
    value: float, interval: npt.NDArray[np.float64] | None, undefined: str | None, no_interval: str
) -> Estimate:
    if np.isnan(value):
        return Estimate(None, reason=undefined or "not defined for these rows")
    if interval is None:
        return Estimate(value, reason=no_interval)
    return Estimate(value, float(interval[0]), float(interval[1]))
