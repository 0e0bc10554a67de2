"""Whole archives: every file judged once, however often the run is stopped, on one machine or many.

The output is a folder of Parquet parts (see :mod:`unmask.parts`), a data set to pandas, DuckDB and Arrow while it
grows: one row a judged file. A file is known by its path, its size and its time: one that changed is judged again, and
has a row more. What is held in memory grows by eight bytes a file.

Files go to the processes one by one, not in batches: on a CPU the search for faces takes 30 ms of a small picture, and
the classifier 4 (ONNX Runtime) or 10 (torch), of which batches of 16 save nothing and 1 ms.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from unmask.errors import UnmaskError
from unmask.parts import Parts, Shard, as_text, check_recipe, iterate_notes
from unmask.workers import WorkerDied, work

if TYPE_CHECKING:
    from unmask.detector import Runtime

#: One row a file. ``detection`` is the whole answer as JSON; the columns before it are what one filters by.
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("verdict", pa.string()),  # real, fake, uncertain or no face; null where there is an error
        ("score", pa.float64()),
        ("faces", pa.int32()),
        ("kind", pa.string()),
        ("error", pa.string()),
        ("seconds", pa.float32()),  # it took to judge
        ("judged", pa.timestamp("ms", tz="UTC")),
        ("size", pa.int64()),
        ("detection", pa.string()),
    ]
)

#: Counts up when the same scores come to lead to another verdict, or the same file to other frames, faces or crops.
_RULES = 5

#: Files of a part, and the seconds after which one is written at the latest.
PART_FILES, PART_SECONDS = 512, 60.0

Executor = Callable[..., Iterator[tuple[str, Any]]]


@dataclass(frozen=True)
class Judged:
    """What a run did: files judged now, how many of them could not be, and how many of its files could not be before
    and were left as they are."""

    files: int
    failed: int
    failed_before: int


def detect_archive(
    paths: Iterable[str],
    out: str | Path,
    detector: str = "default",
    *,
    frames: int = 32,
    runtime: Runtime = "auto",
    shard: Shard | None = None,
    workers: int = 1,
    timeout: float | None = 600.0,
    retry: bool = False,
    progress: Callable[[int, dict[str, Any]], None] | None = None,
    executor: Executor = work,
) -> Judged:
    """Judge every file that is not judged yet.

    Args:
        paths: media files, taken as needed; each is judged under the name it has here.
        out: folder of the parts, made if it is not there.
        detector: name or folder.
        frames: analysed of each video.
        runtime: ``auto``, ``torch`` or ``onnx``, as :func:`unmask.load_detector` takes it.
        shard: which share of the files, by their paths; None for all.
        workers: processes, one thread each.
        timeout: seconds a file may take; None for no limit.
        retry: judge again what could not be judged before.
        progress: called with files looked at and the row, after every file that was judged.
        executor: does the work, as :func:`unmask.workers.work` does.

    Returns:
        How many files were judged. Those that could not be judged are rows with an ``error``.

    Raises:
        UnmaskError: the folder cannot be written, holds the results of another detector or other options, another run
            is at this shard, or the detector cannot be used.
    """
    folder, shard = Path(out), shard or Shard()
    made = {**_decided_by(detector), "frames": frames}
    looked_at = count = failed = failed_before = 0
    with Parts(folder, SCHEMA, shard, made=made, items=PART_FILES, seconds=PART_SECONDS) as parts:
        check_recipe(folder, made)
        done = _Done(folder, retry, made)
        # As it was before it was judged: a file that is still being copied must not count as done when the copy is.
        begun: dict[str, str] = {}

        def todo() -> Iterator[str]:
            nonlocal looked_at, failed_before
            for path in paths:
                looked_at += 1
                if path in begun or not shard.holds(path):
                    continue
                key = key_of(path)
                if key in done:
                    failed_before += done.failed(key)
                else:
                    begun[path] = key
                    yield path

        make = functools.partial(judge_worker, detector, frames, runtime)
        try:
            for path, answer in executor(make, todo(), workers, timeout):
                row = _row(path, str(answer)) if isinstance(answer, WorkerDied) else answer
                parts.add(begun.pop(path), [row], 0 if row["error"] is None else 1)
                count, failed = count + 1, failed + (row["error"] is not None)
                if progress is not None:
                    progress(looked_at, row)
        except WorkerDied as error:
            raise UnmaskError(f"detector {detector!r}", str(error)) from error
    return Judged(count, failed, failed_before)


def _decided_by(detector: str) -> dict[str, Any]:
    """All that scores and verdicts follow from. The runtime is no part of it: torch and ONNX agree, but for int8."""
    from unmask.detector.file import CARD, find_detector, read_card

    card = read_card(find_detector(detector) / CARD)
    written = card.to_json()
    deciding = {name: written[name] for name in ("calibration", "threshold", "uncertain", "tested")}
    return {
        "rules": _RULES,
        "detector": card.version,
        "weights": card.weights_sha256,
        "numbers": "int8" if "int8" in card.results else "float",
        "threshold": card.threshold,
        "calibration": hashlib.blake2b(json.dumps(deciding, sort_keys=True).encode(), digest_size=6).hexdigest(),
    }


def key_of(path: str) -> str:
    """What a file is known by: path, size and time of its last change, as 16 hexadecimal digits."""
    try:
        status = Path(path).stat()
        state = f"{status.st_size}/{status.st_mtime_ns}"
    except (OSError, ValueError):
        state = "gone"
    return hashlib.blake2b(f"{as_text(path)}\0{state}".encode(), digest_size=8).hexdigest()


class _Done:
    """The keys that need no more work: sorted numbers of eight bytes, for there may be many millions."""

    def __init__(self, folder: Path, retry: bool, made: Mapping[str, Any] | None = None) -> None:
        parts = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]  # judged; could not be
        for _, notes in iterate_notes(folder, made):
            for has_failed, found in enumerate(parts):
                keys = (int(key, 16) for key, note in notes.items() if bool(note) == has_failed)
                found.append(np.fromiter(keys, np.uint64))
        self._judged, failed = map(np.concatenate, parts)
        self._judged.sort()
        # Some of them a later run has judged.
        self._failed = np.setdiff1d(failed[:0] if retry else failed, self._judged)

    def failed(self, key: str) -> bool:
        """Whether it was not judged for an error."""
        return _holds(self._failed, key)

    def __contains__(self, key: str) -> bool:
        return _holds(self._judged, key) or self.failed(key)


def _holds(keys: npt.NDArray[np.uint64], key: str) -> bool:
    number = np.uint64(int(key, 16))
    place = int(np.searchsorted(keys, number))
    return place < len(keys) and bool(keys[place] == number)


def judge_worker(detector: str, frames: int, runtime: Runtime) -> Callable[[str], dict[str, Any]]:
    """What each process does with a path."""
    import cv2

    from unmask.detection.detect import load_detector

    cv2.setNumThreads(1)  # OpenCV has threads of its own, which no environment variable holds back
    loaded = load_detector(detector, runtime=runtime, threads=1)

    def judge(path: str) -> dict[str, Any]:
        started = time.monotonic()
        detection = next(loaded.detect_many([path], frames))
        return {
            **_row(path, detection.error),
            "verdict": detection.verdict,
            "score": detection.score,
            "faces": len(detection.tracks),
            "kind": detection.kind,
            "seconds": time.monotonic() - started,
            "detection": json.dumps(detection.to_json(), separators=(",", ":")),
        }

    return judge


def _row(path: str, error: str | None) -> dict[str, Any]:
    """What is known of every file, judged or not."""
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):
        size = None
    error = None if error is None else as_text(error)  # it may name a file
    return {"path": as_text(path), "error": error, "judged": int(1000 * time.time()), "size": size}
