"""ONNX models in ONNX Runtime: how sessions are set up, in one place for the face finder and the classifier."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from unmask.cores import cores
from unmask.errors import UnmaskError

#: Beyond so many threads networks as small as these get no faster.
_MOST_THREADS = 8


def threads() -> int:
    """How many threads a session gets: ``OMP_NUM_THREADS``, else the cores it is given, at most 8."""
    wished = os.environ.get("OMP_NUM_THREADS", "")
    if wished.isdecimal() and int(wished) > 0:
        return int(wished)
    return min(cores(), _MOST_THREADS)


def open_session(path: Path) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU; its ``run`` may be called from several threads at once.

    The same input gives the same output whatever the number of threads, to the last bits of float32.

    Raises:
        UnmaskError: ONNX Runtime is not installed, the file cannot be read, or is no model it can run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UnmaskError("onnxruntime", "is not installed (pip install unmask)") from error
    onnxruntime.disable_telemetry_events()  # what the variable in `unmask` does not reach: Windows, or loaded before it
    try:
        # From bytes: a model that refers to other files beside it finds none.
        data = path.read_bytes()
    except OSError as error:
        raise UnmaskError(path, f"cannot be read: {error.strerror or error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, and said by us
    # Threads that wait for work sleep: decoder, face finder and classifier take turns on the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise UnmaskError(path, f"ONNX Runtime cannot run it ({str(error).splitlines()[0]})") from error
