"""Detection: a detector file and media in, verdicts, JSON and a report out."""

from __future__ import annotations

from unmask.detection.detect import Detector, load_detector, rank_tracks, verdict_of
from unmask.detection.report import render_report, write_report
from unmask.detection.result import Detection, DetectorName, Evidence, FaceScore, ScoredTrack, Still

__all__ = [
    "Detection",
    "Detector",
    "DetectorName",
    "Evidence",
    "FaceScore",
    "ScoredTrack",
    "Still",
    "load_detector",
    "rank_tracks",
    "render_report",
    "verdict_of",
    "write_report",
]
