"""A finished detector: its card, its files, and the scores it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.detector.card import Calibration, Card, QualityLimits, calibrated
from unmask.detector.file import read_detector, save_detector
from unmask.detector.runtime import Runtime, load_scorer

if TYPE_CHECKING:
    from unmask.detector.scorer import Scorer

__all__ = [
    "Calibration",
    "Card",
    "QualityLimits",
    "Runtime",
    "Scorer",
    "calibrated",
    "load_scorer",
    "read_detector",
    "save_detector",
]


def __getattr__(name: str) -> Any:
    # Torch is loaded when a detector is, and only if it runs there.
    if name == "Scorer":
        from unmask.detector.scorer import Scorer

        return Scorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
