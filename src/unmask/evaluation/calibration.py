"""From raw log-odds to P(fake), and the threshold: both fitted on a validation split, never on a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unmask.errors import UnmaskError
from unmask.evaluation.bootstrap import missing_class

if TYPE_CHECKING:
    from unmask.detector import Calibration


def fit_platt(log_odds: npt.ArrayLike, fake: npt.ArrayLike) -> Calibration:
    """Platt scaling: maximum-likelihood ``scale`` and ``offset`` of ``sigmoid(scale * log_odds + offset)``.

    The targets are Platt's smoothed ones, (n + 1) / (n + 2) for fakes and 1 / (n + 2) for reals, so that
    separable validation rows give a finite answer (Lin, Lin and Weng, Machine Learning 68, 2007, equation 4).

    Args:
        log_odds: (n,) finite raw log-odds of validation rows.
        fake: (n,) bool.

    Raises:
        UnmaskError: a class is missing, or the log-odds do not rise from reals to fakes.
    """
    return _fit(log_odds, fake, with_offset=True)


def fit_temperature(log_odds: npt.ArrayLike, fake: npt.ArrayLike) -> Calibration:
    """Temperature scaling: :func:`fit_platt` with the offset held at 0; ``scale`` is 1 / temperature."""
    return _fit(log_odds, fake, with_offset=False)


def _fit(log_odds: npt.ArrayLike, fake: npt.ArrayLike, with_offset: bool) -> Calibration:
    raw, labels = _validation_rows(log_odds, fake)
    fakes = int(labels.sum())
    reals = len(labels) - fakes
    target = np.where(labels, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    # In units of its spread, the problem is as well conditioned for logits of 1e-3 as for those of 1e3.
    unit = float(np.abs(raw).mean()) or 1.0
    inputs = np.stack([raw / unit, np.ones_like(raw)])[: 1 + with_offset]

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        logits = parameters @ inputs
        return float(np.mean(np.logaddexp(0.0, logits) - target * logits))

    # Newton's method with backtracking: the loss is convex, and has one or two parameters.
    found = np.zeros(len(inputs))
    for _ in range(100):
        probability = np.exp(-np.logaddexp(0.0, -(found @ inputs)))
        gradient = inputs @ (probability - target) / len(raw)
        if np.abs(gradient).max() < 1e-10:
            break
        curvature = (inputs * probability * (1 - probability)) @ inputs.T / len(raw)
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(inputs)), gradient)
        length, here = 1.0, loss(found)
        while length > 1e-8 and loss(found - length * step) > here - 1e-4 * length * float(gradient @ step):
            length /= 2
        found = found - length * step
    scale = float(found[0]) / unit
    if not scale > 0:
        raise UnmaskError("calibration", "the log-odds of the validation rows do not rise from reals to fakes")
    if with_offset:
        return {"method": "platt", "scale": scale, "offset": float(found[1])}
    return {"method": "temperature", "scale": scale, "offset": 0.0}


def choose_threshold(
    scores: npt.ArrayLike, fake: npt.ArrayLike, false_positive_rate: float = 0.05
) -> tuple[float, str]:
    """The lowest threshold that calls at most this share of the validation reals fake.

    It lies half way between the highest real that it lets pass and the next higher real (or 1), so that no
    rounding decides.

    Args:
        scores: (n,) calibrated P(fake) of validation rows.
        fake: (n,) bool.
        false_positive_rate: share of the reals, in [0, 1).

    Returns:
        The threshold, and the rule in words for the card.

    Raises:
        UnmaskError: a class is missing, or so many reals score 1 that no threshold does it.
    """
    if not 0 <= false_positive_rate < 1:
        raise UnmaskError("threshold", f"the false-positive rate {false_positive_rate} is not in [0, 1)")
    values, labels = _validation_rows(scores, fake)
    reals = np.sort(values[~labels])
    allowed = int(np.floor(false_positive_rate * len(reals) + 1e-9))
    passed = reals[len(reals) - allowed - 1]
    above = reals[reals > passed]
    threshold = float(passed + ((above[0] if len(above) else 1.0) - passed) / 2)
    if threshold <= passed:
        threshold = float(np.nextafter(passed, 1.0))
    if threshold <= passed:
        raise UnmaskError(
            "threshold",
            f"{allowed + 1} validation reals or more score 1: no threshold lets enough of them pass",
        )
    rule = (
        f"at most {100 * false_positive_rate:g} % of the validation reals are called fake "
        f"({int(np.sum(reals >= threshold))} of {len(reals)}), which finds "
        f"{100 * float(np.mean(values[labels] >= threshold)):.1f} % of the validation fakes"
    )
    return threshold, rule


def _validation_rows(
    values: npt.ArrayLike, fake: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    numbers, labels = np.asarray(values, dtype=np.float64), np.asarray(fake, dtype=bool)
    if numbers.ndim != 1 or numbers.shape != labels.shape or not np.isfinite(numbers).all():
        raise ValueError(f"need (n,) finite values and (n,) labels, got {numbers.shape} and {labels.shape}")
    undefined = missing_class(labels)
    if undefined is not None:
        raise UnmaskError("calibration", f"the validation rows cannot be used: {undefined}")
    return numbers, labels
