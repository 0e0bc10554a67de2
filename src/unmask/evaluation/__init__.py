"""How good a detector is: metrics with intervals, calibration, and evaluation on face tables."""

from __future__ import annotations

from unmask.evaluation.bootstrap import Estimate, estimate
from unmask.evaluation.calibration import (
    choose_threshold,
    choose_uncertain,
    fit_calibration,
    fit_isotonic,
    fit_platt,
    fit_temperature,
)
from unmask.evaluation.evaluate import evaluate
from unmask.evaluation.metrics import METRICS, measure
from unmask.evaluation.result import Evaluation, Levels, TableResult, render

__all__ = [
    "METRICS",
    "Estimate",
    "Evaluation",
    "Levels",
    "TableResult",
    "choose_threshold",
    "choose_uncertain",
    "estimate",
    "evaluate",
    "fit_calibration",
    "fit_isotonic",
    "fit_platt",
    "fit_temperature",
    "measure",
    "render",
]
