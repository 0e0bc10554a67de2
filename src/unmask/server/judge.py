"""What happens in the process that may die: a file is opened, judged, and described in plain values."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import UnmaskError
from unmask.worker_process import Tell

if TYPE_CHECKING:
    from unmask.detection import Detection, Detector

#: What a process is asked: about the detector (None), or (path, name, frames) of a file.
Item = tuple[str, str, int] | None
#: What it answers: values that can be read without running anything.
Answer = dict[str, Any]


def make(name: str, max_pixels: int, max_duration: float) -> Callable[[Item, Tell], Answer]:
    """Load a detector.

    Raises:
        UnmaskError: there is no such detector, or it cannot be used.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal; the server ends its workers
    import cv2

    from unmask.detection import load_detector
    from unmask.faces import media

    cv2.setNumThreads(1)  # OpenCV has threads of its own, which no environment variable holds back
    media.MAX_PIXELS, media.MAX_DURATION = max_pixels, max_duration
    detector = load_detector(name, threads=1)
    # The folders above are nobody's business. Made absolute, for `detector/` and `.` have a last part then.
    detector.name = replace(detector.name, name=Path(os.path.abspath(name)).name)  # noqa: PTH100 (links stay)
    _warm_up(detector)
    # Decoders write about what they read to stderr, and nothing of an upload belongs in a log.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def judge(item: Item, tell: Tell) -> Answer:
        if item is None:
            return {"detector": json.dumps(_about(detector))}
        path, name, frames = item
        try:
            return _judge(detector, path, name, frames, tell)
        except UnmaskError as error:
            return {"error": error.reason}

    return judge


def _warm_up(detector: Detector) -> None:
    """Judge a small film: what is loaded at first use is loaded now, and does not count against the first job."""
    import av
    import numpy as np

    film = io.BytesIO()
    with av.open(film, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 128
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((128, 128, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    detector.detect(film.getvalue(), frames=2, pictures=True)
    detector.scorer.score([np.zeros((detector.card.input_size, detector.card.input_size, 3), np.uint8)])
    with suppress(UnmaskError):  # a report says so
        _ = detector.adversary


def _judge(detector: Detector, path: str, name: str, frames: int, tell: Tell) -> Answer:
    from unmask.detection import render_report

    found = detector.detect(path, frames, pictures=True, progress=tell, name=name)
    return {
        "result": json.dumps(found.to_json()),
        "report": render_report([found], detector.card).encode(),
        "pictures": [(json.dumps(about), jpeg) for about, jpeg in _pictures(found)],
    }


def _pictures(found: Detection) -> list[tuple[dict[str, Any], bytes]]:
    pictures: list[tuple[dict[str, Any], bytes]] = []
    if found.still is not None:
        still = found.still
        faces = [face for track in found.tracks for face in track.faces if face.position == still.position]
        about = {
            "kind": "frame",
            "frame": faces[0].frame if faces else None,
            "time": round(found.times[still.position], 3),
            "width": still.width,
            "height": still.height,
        }
        pictures.append((about, still.jpeg))
    for evidence in found.evidence:
        face = evidence.face
        about = {"track": evidence.track, "frame": face.frame, "time": round(face.time, 3), "score": face.score}
        views = {"face": evidence.jpeg, "heat map": evidence.heat, "adversary": evidence.sigma}
        pictures += [({"kind": kind, **about}, jpeg) for kind, jpeg in views.items() if jpeg is not None]
    return pictures


def _about(detector: Detector) -> dict[str, Any]:
    card = detector.card
    return {
        "name": detector.name.name,
        "version": detector.name.version,
        "weights": detector.name.weights,
        "threshold": card.threshold,
        "threshold_rule": card.threshold_rule,
        "uncertain": None if card.uncertain is None else list(card.uncertain),
        "intended_use": card.intended_use,
        "limits": list(card.limits),
    }
