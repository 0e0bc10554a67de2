"""Fit anew all that turns a finished detector's log-odds into verdicts; its weights stay as they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unmask.errors import UnmaskError
from unmask.evaluation.calibration import choose_threshold, choose_uncertain, fit_calibration
from unmask.evaluation.evaluate import clusters_of
from unmask.evaluation.metrics import measure
from unmask.evaluation.row_scores import score_rows
from unmask.evaluation.tested import measure_tested

if TYPE_CHECKING:
    from unmask.data.table import FaceTable
    from unmask.detector import Calibration, Card, QualityLimits, Scorer


@dataclass(frozen=True)
class Verdicts:
    """What is fitted to validation rows: calibration, threshold, band, and the rules of the last two in words."""

    calibration: Calibration
    threshold: float
    threshold_rule: str
    uncertain: tuple[float, float] | None
    uncertain_rule: str


def fit_verdicts(
    log_odds: npt.ArrayLike,
    fake: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    false_positive_rate: float = 0.05,
    false_negative_rate: float = 0.1,
) -> Verdicts:
    """Calibration, threshold and uncertain band of validation rows: what a card takes.

    Args:
        log_odds, fake, groups: as :func:`~unmask.evaluation.calibration.fit_calibration`.
        false_positive_rate: as :func:`~unmask.evaluation.calibration.choose_threshold`.
        false_negative_rate: as :func:`~unmask.evaluation.calibration.choose_uncertain`.

    Raises:
        UnmaskError: a class is missing, the log-odds do not rise from reals to fakes, or a rate is out of range.
    """
    return with_calibration(
        fit_calibration(log_odds, fake, groups), log_odds, fake, false_positive_rate, false_negative_rate
    )


def with_calibration(
    calibration: Calibration,
    log_odds: npt.ArrayLike,
    fake: npt.ArrayLike,
    false_positive_rate: float = 0.05,
    false_negative_rate: float = 0.1,
) -> Verdicts:
    """:func:`fit_verdicts` with a calibration that is there already."""
    from unmask.detector import calibrated

    scores = calibrated(log_odds, calibration)
    threshold, rule = choose_threshold(scores, fake, false_positive_rate)
    band, band_rule = choose_uncertain(scores, fake, threshold, false_negative_rate)
    return Verdicts(calibration, threshold, rule, band, band_rule)


@dataclass(frozen=True)
class Recalibration:
    """What was fitted to validation rows.

    Attributes:
        card: the detector's, as it is now to be.
        left_out: rows whose image cannot be decoded: ``row`` and ``reason``.
        held_out: calibration error and log loss on the half of the rows that the fit did not see: ``ece_before``,
            ``ece_after``, ``log_loss_before``, ``log_loss_after``, ``rows``.
    """

    card: Card
    held_out: dict[str, float]
    left_out: Sequence[Mapping[str, str]]


def recalibrate(
    scorer: Scorer,
    table: FaceTable,
    *,
    false_positive_rate: float = 0.05,
    false_negative_rate: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> Recalibration:
    """Fit calibration, threshold, uncertain band and tested ranges of a finished detector to validation rows.

    The figures come from a fit to one half of the components, measured on the other; the card from all rows. A limit of
    picture quality that they cannot tell stays.

    Args:
        scorer: the detector.
        table: validation rows, crops by its recipe; rows that cannot be decoded are left out.
        false_positive_rate, false_negative_rate: as :func:`fit_verdicts`.
        progress: called with rows scored and rows in all.

    Raises:
        UnmaskError: as :func:`fit_verdicts`.
    """
    log_odds, left_out = score_rows(table, table.image, scorer.log_odds, progress)
    known = np.isfinite(log_odds)
    odds, fake, clusters = log_odds[known], table.fake[known], clusters_of(table)[known].astype(str)
    names = np.unique(clusters)
    chosen = np.random.default_rng(0).permutation(len(names))[: len(names) // 2]
    half = np.isin(clusters, names[chosen])
    try:
        fitted = fit_calibration(odds[half], fake[half], clusters[half])
        held_out = _compare(scorer.card, fitted, odds[~half], fake[~half])
    except UnmaskError:  # too few to hold any out, which the whole may still be enough for
        held_out = {}
    found = fit_verdicts(odds, fake, clusters, false_positive_rate, false_negative_rate)
    card = replace(scorer.card, **vars(found), tested=_tested(scorer.card.tested, measure_tested(table)))
    return Recalibration(card, held_out, left_out)


def write_card(source: Path, folder: Path, card: Card) -> None:
    """Put a card beside a copy of the files of a detector's folder, or into that folder itself.

    Raises:
        UnmaskError: the folder cannot be written.
    """
    from unmask.detector.file import CARD, HEAT, ONNX, card_text
    from unmask.writing import make_folder, write_text

    make_folder(folder)
    try:
        if folder.resolve() != source.resolve():
            # An exported model goes along: it is of the same weights, and takes the card beside it.
            for file in (*sorted(source.glob("*.safetensors")), source / ONNX, source / HEAT):
                if file.is_file():
                    shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise UnmaskError(folder, f"cannot be written: {error.strerror or error}") from error
    write_text(folder / CARD, card_text(card))


def _tested(before: QualityLimits | None, now: QualityLimits | None) -> QualityLimits | None:
    """What the rows tell of picture quality; what they cannot, as the size of faces without boxes, stays as it was."""
    if before is None or now is None:
        return now or before
    return replace(now, **{name: vars(before)[name] for name, value in vars(now).items() if value is None})


def _compare(
    card: Card, fitted: Calibration, log_odds: npt.NDArray[np.float64], fake: npt.NDArray[np.bool_]
) -> dict[str, float]:
    from unmask.detector import calibrated

    found: dict[str, float] = {"rows": len(fake)}
    for name, calibration in (("before", card.calibration), ("after", fitted)):
        scores = calibrated(log_odds, calibration)
        loss = -np.log(np.clip(np.where(fake, scores, 1 - scores), 1e-12, 1)).mean()
        found |= {f"ece_{name}": measure(fake, scores)["ece"] or 0.0, f"log_loss_{name}": float(loss)}
    return found
