"""Detection: a detector file and media in, verdicts, JSON and a report out."""

from __future__ import annotations

from unmask.detection.detect import Detector, load_detector
from unmask.detection.marks import Mark
from unmask.detection.provenance import Provenance, read_provenance
from unmask.detection.report import render_report, write_report
from unmask.detection.result import Detection, DetectorName, Evidence, FaceQuality, FaceScore, ScoredTrack, Still
from unmask.detection.source import Source
from unmask.detection.verdict import judge, rank_tracks, verdict_of

__all__ = [
    "Detection",
    "Detector",
    "DetectorName",
    "Evidence",
    "FaceQuality",
    "FaceScore",
    "Mark",
    "Provenance",
    "ScoredTrack",
    "Source",
    "Still",
    "judge",
    "load_detector",
    "rank_tracks",
    "read_provenance",
    "render_report",
    "verdict_of",
    "write_report",
]
