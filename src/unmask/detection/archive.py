"""Whole archives: every file judged once, however often the run is stopped, on one machine or many.

The output is a folder of Parquet parts. A part appears when it is complete and holds what was judged since the last
one; whatever a part names is done, so a run that was killed repeats at most the files of the part it was writing.
Shards write parts of their own, into one shared folder or into folders that are put together later.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unmask.errors import UnmaskError
from unmask.workers import WorkerDied, work
from unmask.writing import replacing

#: One row a file. ``detection`` is the whole answer as JSON; the columns before it are what one filters by.
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("verdict", pa.string()),
        ("score", pa.float64()),
        ("faces", pa.int32()),
        ("kind", pa.string()),
        ("error", pa.string()),
        ("seconds", pa.float32()),
        ("detection", pa.string()),
    ]
)

#: A part is written after so many files or so many seconds, whichever comes first.
PART_FILES = 512
PART_SECONDS = 60.0


@dataclass(frozen=True)
class Shard:
    """The ``index``-th of ``count`` shares of the files, by a hash of their paths: the same on every machine."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"a shard is i/n with 0 <= i < n, got {self.index}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``i/n``; ``ValueError`` for anything else."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise ValueError(f"a shard is i/n with 0 <= i < n, got {text!r}")
        return cls(int(index), int(count))

    def holds(self, path: str) -> bool:
        """Whether a file is this shard's."""
        digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


def detect_archive(
    paths: Iterable[str],
    out: str | Path,
    detector: str = "default",
    *,
    frames: int = 32,
    shard: Shard | None = None,
    workers: int = 1,
    timeout: float | None = 600.0,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> int:
    """Judge every file that is not judged yet.

    Args:
        paths: media files; each is judged under the name it has here.
        out: folder of the parts, made if it is not there.
        detector: name or folder.
        frames: analysed of each video.
        shard: which share of the files; None for all.
        workers: processes, one thread each.
        timeout: seconds a file may take.
        progress: called with files done, files to do in this run, and the row, after every file.

    Returns:
        How many files were judged now. Files that could not be judged are rows with an ``error``.

    Raises:
        UnmaskError: the folder cannot be written, another run is at this shard, or the detector cannot be used.
    """
    folder, shard = Path(out), shard or Shard()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnmaskError(folder, f"cannot be made: {error.strerror}") from error
    with _alone(folder / f".lock-{shard}", shard):
        known = done(folder)
        todo = [path for path in dict.fromkeys(paths) if shard.holds(path) and _text(path) not in known]
        parts = _Parts(folder, shard)
        make = functools.partial(_judge, detector, frames)
        count = 0
        try:
            for path, answer in work(make, todo, min(workers, max(1, len(todo))), timeout):
                row = {"path": _text(path), "error": str(answer)} if isinstance(answer, WorkerDied) else answer
                parts.add(row)
                count += 1
                if progress is not None:
                    progress(count, len(todo), row)
        except WorkerDied as error:
            raise UnmaskError(f"detector {detector!r}", str(error)) from error
        finally:
            parts.write()
    return count


def done(folder: str | Path) -> set[str]:
    """Paths that are judged in the parts of a folder."""
    return {path for table in _tables(folder, ["path"]) for path in table.column("path").to_pylist()}


def summarise_archive(folder: str | Path, top: int = 50) -> dict[str, Any]:
    """Counts by verdict, a histogram of the scores, the ``top`` highest-scoring files, and errors by reason."""
    verdicts: dict[str, int] = {}
    reasons: dict[str, int] = {}
    histogram = [0] * 20
    highest: list[tuple[float, str]] = []
    for table in _tables(folder, ["path", "verdict", "score", "error"]):
        for entry in pc.value_counts(pc.coalesce(table.column("verdict"), "not judged")).to_pylist():
            verdicts[entry["values"]] = verdicts.get(entry["values"], 0) + entry["counts"]
        for path, score, error in zip(
            *(table.column(name).to_pylist() for name in ("path", "score", "error")), strict=True
        ):
            if error is not None:
                reasons[error] = reasons.get(error, 0) + 1
            if score is not None:
                histogram[min(19, int(20 * score))] += 1
                highest.append((score, path))
        highest = sorted(highest, key=lambda each: (-each[0], each[1]))[:top]
    return {
        "files": sum(verdicts.values()),
        "verdicts": verdicts,
        "histogram": histogram,
        "highest": [{"path": path, "score": score} for score, path in highest],
        "errors": dict(sorted(reasons.items(), key=lambda each: -each[1])),
    }


def _text(path: str) -> str:
    """A path as Parquet can hold it: bytes of a name that are no UTF-8 become escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _tables(folder: str | Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    for path in sorted(Path(folder).glob("part-*.parquet")):
        try:
            yield pq.read_table(path, columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise UnmaskError(path, f"not a readable part of an archive run ({error})") from error


class _Parts:
    """Rows on their way to the disk."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        self._folder, self._shard = folder, shard
        self._rows: list[dict[str, Any]] = []
        self._next = 1 + max(
            (int(path.stem.rsplit("-", 1)[1]) for path in folder.glob(f"part-{shard}-*.parquet")), default=-1
        )
        self._since = time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= PART_FILES or time.monotonic() - self._since > PART_SECONDS:
            self.write()

    def write(self) -> None:
        self._since = time.monotonic()
        if not self._rows:
            return
        path = self._folder / f"part-{self._shard}-{self._next:06d}.parquet"
        try:
            with replacing(path) as file:
                pq.write_table(pa.Table.from_pylist(self._rows, SCHEMA), file, compression="zstd")
        except OSError as error:
            raise UnmaskError(path, f"cannot be written: {error.strerror or error}") from error
        self._rows, self._next = [], self._next + 1


@contextmanager
def _alone(path: Path, shard: Shard) -> Iterator[None]:
    """Hold the shard's lock; the system lets go of it when the process ends, however it ends."""
    try:
        file = path.open("w")
    except OSError as error:
        raise UnmaskError(path, f"cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnmaskError(path.parent, f"another run is at shard {shard} here") from None
        yield


def _judge(detector: str, frames: int) -> Callable[[str], dict[str, Any]]:
    """What each worker process does with a path."""
    from unmask.detection.detect import load_detector

    loaded = load_detector(detector)

    def judge(path: str) -> dict[str, Any]:
        started = time.monotonic()
        detection = next(loaded.detect_many([path], frames))
        return {
            "path": _text(path),
            "verdict": detection.verdict,
            "score": detection.score,
            "faces": len(detection.tracks),
            "kind": detection.kind,
            "error": detection.error,
            "seconds": time.monotonic() - started,
            "detection": json.dumps(detection.to_json(), separators=(",", ":")),
        }

    return judge
