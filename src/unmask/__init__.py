"""Deepfake detectors trained as an adversarial game, and put to work on images and videos.

>>> import unmask
>>> detector = unmask.load_detector("default")
>>> detector.detect("clip.mp4").verdict
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from unmask.detection import load_detector

__version__ = "0.1.0"
__all__ = ["UnmaskError", "__version__", "load_detector"]

# Nothing is reported to anybody. ONNX Runtime does so from 1.29 on, unless this stands before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    # `import unmask` stays instant: what a detector needs (numpy, ONNX Runtime) is loaded when it is asked for.
    if name == "load_detector":
        from unmask.detection import load_detector

        return load_detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
