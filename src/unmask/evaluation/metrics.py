"""Metrics of a detector, written once for one sample and for thousands of resamples.

Every metric is a function of a :class:`Sweep`: the counts of true and false positives at each threshold, for
one or many weightings of the same rows. A bootstrap resample is such a weighting, so that the rows are sorted
once and never copied. Fake is the positive class; a row is called fake when its score is >= the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Bins of the expected calibration error: equal width on [0, 1].
ECE_BINS = 15


@dataclass(frozen=True)
class Sweep:
    """What each threshold does to B weightings of the same n rows, m distinct scores.

    Attributes:
        true_positives: (B, m + 1) weight of fakes at or above each distinct score, highest first, from 0.
        false_positives: (B, m + 1) the same of reals.
        at_threshold: column of the two arrays that belongs to the detector's threshold.
        bin_gap: (B, bins) |sum of scores - sum of labels| in each bin of the calibration error.
    """

    true_positives: Array
    false_positives: Array
    at_threshold: int
    bin_gap: Array

    @property
    def fakes(self) -> Array:
        """(B,) weight of the fakes."""
        return self.true_positives[:, -1]

    @property
    def reals(self) -> Array:
        """(B,) weight of the reals."""
        return self.false_positives[:, -1]


class Ranking:
    """Rows sorted by score once, to be swept under any number of weightings.

    Args:
        fake: (n,) bool, True for fakes.
        scores: (n,) finite; P(fake) in [0, 1] where the calibration error is wanted.
        threshold: at or above it a row is called fake.

    Raises:
        ValueError: the arrays differ in length, are not one-dimensional, or a score is not finite.
    """

    def __init__(self, fake: npt.ArrayLike, scores: npt.ArrayLike, threshold: float = 0.5) -> None:
        labels, values = np.asarray(fake, dtype=bool), np.asarray(scores, dtype=np.float64)
        if labels.ndim != 1 or labels.shape != values.shape:
            raise ValueError(f"labels {labels.shape} and scores {values.shape} must be (n,) both")
        if not np.isfinite(values).all():
            raise ValueError("scores must be finite")
        self.order = np.argsort(-values, kind="stable")
        self.fake, self.scores = labels[self.order], values[self.order]
        # No threshold tells equal scores apart: only the last row of a tie is a point of the curve.
        self._ends = np.flatnonzero(np.append(self.scores[1:] != self.scores[:-1], True))[: len(values)]
        self._at_threshold = int(np.count_nonzero(self.scores[self._ends] >= threshold))
        bins = np.clip((self.scores * ECE_BINS).astype(np.int64), 0, ECE_BINS - 1)
        self._bin_gap = np.zeros((len(values), ECE_BINS))
        self._bin_gap[np.arange(len(values)), bins] = self.scores - self.fake

    def sweep(self, weights: npt.ArrayLike | None = None) -> Sweep:
        """Count under each weighting.

        Args:
            weights: (B, n) or (n,), >= 0, in the order in which the rows were given; None means 1 a row.
        """
        if weights is None:
            ordered = np.ones((1, len(self.scores)))
        else:
            ordered = np.atleast_2d(np.asarray(weights, dtype=np.float64))[:, self.order]
        return self.sweep_ordered(ordered)

    def sweep_ordered(self, weights: Array) -> Sweep:
        """:meth:`sweep` for (B, n) weights that are already in the order of :attr:`order`."""
        curves = []
        for part in (weights * self.fake, weights * ~self.fake):
            curve = np.zeros((len(weights), len(self._ends) + 1))
            np.take(np.cumsum(part, axis=1), self._ends, axis=1, out=curve[:, 1:])
            curves.append(curve)
        return Sweep(curves[0], curves[1], self._at_threshold, np.abs(weights @ self._bin_gap))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Division that says NaN, without a warning, where there is nothing to divide by."""
    return np.divide(
        numerator,
        denominator,
        out=np.full(np.broadcast(numerator, denominator).shape, np.nan),
        where=denominator > 0,
    )


def auc(sweep: Sweep) -> Array:
    """Area under the ROC curve, ties counted half (Mann-Whitney), (B,); NaN without both classes."""
    tp, fp = sweep.true_positives, sweep.false_positives
    area = np.sum(np.diff(fp, axis=1) * (tp[:, 1:] + tp[:, :-1]), axis=1) / 2
    return _ratio(area, sweep.fakes * sweep.reals)


def average_precision(sweep: Sweep) -> Array:
    """Sum of precision times the step in recall, no interpolation, (B,); NaN without both classes."""
    tp, fp = sweep.true_positives[:, 1:], sweep.false_positives[:, 1:]
    called = tp + fp
    precision = np.divide(tp, called, out=np.zeros_like(tp), where=called > 0)
    total = np.sum(precision * np.diff(sweep.true_positives, axis=1), axis=1)
    return np.where(sweep.reals > 0, _ratio(total, sweep.fakes), np.nan)


def equal_error_rate(sweep: Sweep) -> Array:
    """False positive rate where it equals the miss rate, on the linearly joined ROC curve, (B,)."""
    fpr = _ratio(sweep.false_positives, sweep.reals[:, None])
    excess = fpr - (1 - _ratio(sweep.true_positives, sweep.fakes[:, None]))
    rows = np.arange(len(fpr))
    right = np.maximum(np.argmax(excess >= 0, axis=1), min(1, fpr.shape[1] - 1))
    left = np.maximum(right - 1, 0)
    before, after = excess[rows, left], excess[rows, right]
    share = _ratio(-before, after - before)
    return fpr[rows, left] + share * (fpr[rows, right] - fpr[rows, left])


def true_positive_rate_at(sweep: Sweep, false_positive_rate: float) -> Array:
    """Highest share of fakes found by a threshold that flags at most this share of the reals, (B,).

    Only thresholds that exist count: nothing is interpolated, so that the figure can be had in use.
    """
    allowed = sweep.reals[:, None] * false_positive_rate * (1 + 1e-12)
    last = np.count_nonzero(sweep.false_positives <= allowed, axis=1) - 1
    found = sweep.true_positives[np.arange(len(last)), last]
    return np.where(sweep.reals > 0, _ratio(found, sweep.fakes), np.nan)


def true_positive_rate(sweep: Sweep) -> Array:
    """Share of the fakes called fake at the detector's threshold, (B,); NaN without fakes."""
    return _ratio(sweep.true_positives[:, sweep.at_threshold], sweep.fakes)


def false_positive_rate(sweep: Sweep) -> Array:
    """Share of the reals called fake at the detector's threshold, (B,); NaN without reals."""
    return _ratio(sweep.false_positives[:, sweep.at_threshold], sweep.reals)


def accuracy(sweep: Sweep) -> Array:
    """Share of rows called rightly at the detector's threshold, (B,)."""
    column = sweep.at_threshold
    right = sweep.true_positives[:, column] + sweep.reals - sweep.false_positives[:, column]
    return _ratio(right, sweep.fakes + sweep.reals)


def balanced_accuracy(sweep: Sweep) -> Array:
    """Mean of the two classes' accuracies at the detector's threshold, (B,); NaN without both classes."""
    return (true_positive_rate(sweep) + 1 - false_positive_rate(sweep)) / 2


def expected_calibration_error(sweep: Sweep) -> Array:
    """Mean over rows of |mean P(fake) - share of fakes| in each of 15 equal-width bins of P(fake), (B,).

    On P(fake) itself, not on the confidence of the called class (Naeini et al., AAAI 2015, section 2).
    """
    return _ratio(sweep.bin_gap.sum(axis=1), sweep.fakes + sweep.reals)


#: Every metric of a report, by its key in JSON. Values are shares in [0, 1].
METRICS: Mapping[str, Callable[[Sweep], Array]] = {
    "auc": auc,
    "ap": average_precision,
    "eer": equal_error_rate,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "tpr": true_positive_rate,
    "fpr": false_positive_rate,
    "tpr_at_1pct_fpr": lambda sweep: true_positive_rate_at(sweep, 0.01),
    "tpr_at_10pct_fpr": lambda sweep: true_positive_rate_at(sweep, 0.10),
    "ece": expected_calibration_error,
}


def measure(
    fake: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float = 0.5,
    weights: npt.ArrayLike | None = None,
) -> dict[str, float | None]:
    """Every metric of :data:`METRICS` for one weighting; None where the rows do not define it.

    Args:
        fake: (n,) bool, True for fakes.
        scores: (n,) calibrated P(fake).
        threshold: at or above it a row is called fake.
        weights: (n,) >= 0, or None for 1 a row.
    """
    sweep = Ranking(fake, scores, threshold).sweep(weights)
    values = {name: float(metric(sweep)[0]) for name, metric in METRICS.items()}
    return {name: None if np.isnan(value) else value for name, value in values.items()}
