"""A finished detector: its card, its files, and the scores it gives."""

from __future__ import annotations

from unmask.detector.card import Calibration, Card, QualityLimits, calibrated
from unmask.detector.file import read_detector, save_detector
from unmask.detector.scorer import Scorer

__all__ = ["Calibration", "Card", "QualityLimits", "Scorer", "calibrated", "read_detector", "save_detector"]
