"""Which runtime scores: torch, or ONNX Runtime where there is an exported model and no GPU to use."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from unmask.detector.file import ONNX, WEIGHTS, find_detector
from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from unmask.detector.onnx_scorer import OnnxScorer
    from unmask.detector.scorer import Scorer

Runtime: TypeAlias = Literal["auto", "torch", "onnx"]
RUNTIMES: tuple[Runtime, ...] = ("auto", "torch", "onnx")


def load_scorer(name_or_path: str | os.PathLike[str] = "default", runtime: Runtime = "auto") -> Scorer | OnnxScorer:
    """A detector ready to score crops.

    Args:
        name_or_path: see :func:`unmask.detector.file.read_detector`; also a lone ONNX file.
        runtime: ``torch``; ``onnx``, which needs the ``model.onnx`` that ``unmask export`` writes and no torch; or
            ``auto``: ONNX Runtime if that file is there, unless torch finds a GPU.

    Raises:
        UnmaskError: there is no such detector, or it cannot be used in that runtime.
    """
    if runtime not in RUNTIMES:
        raise UnmaskError("runtime", f"must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
    if runtime == "onnx" or (runtime == "auto" and _prefers_onnx(name_or_path)):
        from unmask.detector.onnx_scorer import OnnxScorer

        return OnnxScorer.load(name_or_path)
    from unmask.detector.scorer import Scorer

    return Scorer.load(name_or_path)


def _prefers_onnx(name_or_path: str | os.PathLike[str]) -> bool:
    path = Path(name_or_path)
    if path.suffix.lower() == ".onnx" and path.is_file():
        return True
    folder = find_detector(name_or_path)
    if not (folder / ONNX).is_file() or path.name == WEIGHTS:
        return False
    if not (folder / WEIGHTS).is_file() or not _has_gpu() or find_spec("torch") is None:
        return True
    import torch

    return not torch.cuda.is_available()


def _has_gpu() -> bool:
    """Whether it is worth the seconds of importing torch to ask it: there is a driver of NVIDIA or AMD."""
    return os.name == "nt" or any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))
