"""From raw log-odds to P(fake), and the threshold: both fitted on a validation split, never on a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unmask.errors import UnmaskError
from unmask.evaluation.bootstrap import missing_class
from unmask.evaluation.metrics import measure

if TYPE_CHECKING:
    from unmask.detector import Calibration

_FOLDS = 5
#: Fewest rows of each class for an isotonic table, and of each of its bins.
_ENOUGH, _BIN = 1000, 40


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


def fit_isotonic(log_odds: npt.ArrayLike, fake: npt.ArrayLike) -> Calibration:
    """A rising table from log-odds to P(fake), by isotonic regression of the share of fakes in up to fifty bins.

    The bins hold the same number of rows each and at least :data:`_BIN`; shares are smoothed as Platt's targets are,
    (n + 1) / (N + 2). Neighbours that would fall are pooled, and what is left becomes the knots, so the curve
    rises strictly and never reorders scores. Beyond it Platt's slope goes on.

    Args:
        log_odds, fake: as :func:`fit_platt`.

    Raises:
        UnmaskError: as :func:`fit_platt`, or fewer than two knots are left.
    """
    from sklearn.isotonic import IsotonicRegression

    raw, labels = _validation_rows(log_odds, fake)
    platt = fit_platt(raw, labels)
    order = np.argsort(raw, kind="stable")
    parts = np.array_split(order, max(1, min(50, len(raw) // _BIN)))
    centre = np.array([raw[part].mean() for part in parts])
    share = np.array([(labels[part].sum() + 1) / (len(part) + 2) for part in parts])
    weight = np.array([len(part) for part in parts])
    level = IsotonicRegression().fit_transform(centre, share, sample_weight=weight)
    # As the card keeps them: shares that differ only in rounding are one knot.
    values, member = np.unique(level.round(6), return_inverse=True)
    knots = np.bincount(member, centre * weight) / np.bincount(member, weight)
    if len(values) < 2 or not (np.diff(knots) > 0).all():
        raise UnmaskError("calibration", "too few different log-odds for an isotonic table")
    table = {"log_odds": knots.tolist(), "probability": values.tolist()}
    return {"method": "isotonic", "scale": platt["scale"], "offset": platt["offset"], **table}  # type: ignore[typeddict-item]


def fit_calibration(
    log_odds: npt.ArrayLike, fake: npt.ArrayLike, groups: npt.ArrayLike | None = None, seed: int = 0
) -> Calibration:
    """The simplest of temperature, Platt and isotonic that the data do not speak against.

    Five-fold cross-validation, whole groups held out. A method replaces a simpler one only if its log loss is lower by
    more than one standard error of the rows' differences, and its expected calibration error is not higher.
    Isotonic is tried from 1,000 rows a class on (Niculescu-Mizil and Caruana, ICML 2005: below that it overfits).

    Args:
        log_odds, fake: as :func:`fit_platt`.
        groups: (n,) what must not be split between folds, such as near-duplicate sources; None: rows by themselves.
        seed: of the folds.

    Raises:
        UnmaskError: as :func:`fit_platt`.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    from unmask.detector.card import calibrated

    raw, labels = _validation_rows(log_odds, fake)
    members = (
        np.arange(len(raw)) if groups is None else np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    )
    fewest = min(len(np.unique(members[labels == value])) for value in (False, True))
    chosen = fit_platt(raw, labels)
    if fewest < _FOLDS:  # too few to hold any out
        return chosen
    folds = list(StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed).split(raw, labels, members))
    fits = [fit_temperature, fit_platt]
    fits += [fit_isotonic] if min(labels.sum(), (~labels).sum()) >= _ENOUGH else []
    best, best_loss, best_ece = None, np.zeros(len(raw)), 0.0
    for fit in fits:
        held = np.empty(len(raw))
        try:
            for train, test in folds:
                held[test] = calibrated(raw[test], fit(raw[train], labels[train]))
        except UnmaskError:
            continue
        loss = -np.log(np.clip(np.where(labels, held, 1 - held), 1e-12, 1))
        error = measure(labels, held)["ece"] or 0.0
        gain = best_loss - loss
        if best is None or (gain.mean() > gain.std() / np.sqrt(len(gain)) and error <= best_ece):
            best, best_loss, best_ece = fit, loss, error
    return chosen if best is None else best(raw, labels)


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


def choose_uncertain(
    scores: npt.ArrayLike, fake: npt.ArrayLike, threshold: float, false_negative_rate: float = 0.1
) -> tuple[tuple[float, float] | None, str]:
    """The band below the threshold in which a detector should not say ``real``.

    The threshold bounds how many reals are called fake; this bounds how many fakes are called real. Scores between the
    two are what the detector cannot tell, and are ``uncertain``.

    Args:
        scores, fake: as :func:`choose_threshold`.
        threshold: from which on a score is fake.
        false_negative_rate: share of the validation fakes that may score below the band, in [0, 1).

    Returns:
        The closed band, or None where the threshold alone keeps both rates; and the rule in words for the card.

    Raises:
        UnmaskError: a class is missing, or the rate is out of range.
    """
    if not 0 <= false_negative_rate < 1:
        raise UnmaskError("uncertain", f"the false-negative rate {false_negative_rate} is not in [0, 1)")
    values, labels = _validation_rows(scores, fake)
    fakes = np.sort(values[labels])
    low = float(fakes[int(np.floor(false_negative_rate * len(fakes) + 1e-9))])
    missed = f"at most {100 * false_negative_rate:g} % of the validation fakes are called real"
    if low >= threshold:
        return None, f"{missed}: the threshold alone sees to it, and no score is uncertain"
    inside = (values >= low) & (values < threshold)
    reals, others = (100 * float(inside[labels == value].mean()) for value in (False, True))
    rule = f"{missed}; between there and the threshold lie {reals:.1f} % of the reals and {others:.1f} % of the fakes"
    return (low, float(np.nextafter(threshold, 0.0))), rule


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
