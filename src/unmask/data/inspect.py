"""What is in face tables, and what is wrong with them: read once from end to end, never all images in memory."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unmask.data.checks import Columns, Flag, check_images, check_rows
from unmask.data.decode import decode_image
from unmask.data.duplicates import perceptual_hash
from unmask.data.row_groups import Footer
from unmask.data.table import FaceTable
from unmask.data.table_files import parquet_files
from unmask.errors import UnmaskError

_CHUNK = 64
_ANY = 1 << 40


@dataclass(frozen=True)
class Count:
    """Rows of one kind."""

    dataset: str
    split: str
    method: str
    quality: str
    label: str
    rows: int
    videos: int
    sources: int


@dataclass(frozen=True)
class Inspection:
    """What was found: counts of every kind of row, sizes of images with how many have them, and what is wrong."""

    tables: tuple[str, ...]
    rows: int
    counts: tuple[Count, ...]
    sizes: dict[str, int]
    flags: tuple[Flag, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def inspect_tables(
    paths: str | Path | Sequence[str | Path],
    *,
    threads: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> Inspection:
    """Count the rows of face tables, taken as one, decode every image, and look for what spoils an experiment.

    Memory: a few hundred bytes a row, and some hundred images. A part that cannot be read is a flag, the rest is done.

    Args:
        paths: Parquet files, or folders of them.
        threads: that decode.
        progress: called with the file, rows done and rows in all of it.

    Raises:
        UnmaskError: a path is not there, or no file can be read.
    """
    files = parquet_files(paths)
    parts: list[tuple[FaceTable, list[_Seen]]] = []
    broken: list[str] = []
    with ThreadPoolExecutor(threads, "unmask-inspect") as pool:
        for file in files:
            try:
                if not Footer.read(file).rows.any():  # as of clips without a face
                    continue
                # The images are read here, in turn: no buffer is too small for that.
                table = FaceTable.read(file, streaming=True, buffer_mb=_ANY)
                seen = []
                for row, one in enumerate(_look(file, pool, 4 * threads)):
                    seen.append(one)
                    if progress is not None and row % _CHUNK == 0:
                        progress(str(file), row + 1, len(table))
                parts.append((table, seen))
            except UnmaskError as error:
                broken.append(str(error))
    if not parts:
        raise UnmaskError(", ".join(map(str, files)), f"no readable table ({(broken or ['no row'])[0]})")
    columns = Columns([table for table, _ in parts])
    seen = [one for _, part in parts for one in part]
    flags = [Flag("unreadable part", f"{len(broken)} of {len(files)} files cannot be read", tuple(broken))]
    flags += check_rows(columns)
    unreadable = [f"{columns.where(row)}: {one.error}" for row, one in enumerate(seen) if one.error is not None]
    flags.append(Flag("unreadable row", f"{len(unreadable)} images cannot be decoded", tuple(unreadable)))
    decoded = {row: one for row, one in enumerate(seen) if one.error is None}
    sizes = Counter(one.size for one in decoded.values())
    flags += check_images(
        columns,
        np.asarray(list(decoded), np.int64),
        [one.size for one in decoded.values()],
        np.asarray([one.hash for one in decoded.values()], np.uint32).reshape(-1, 8),
        np.asarray([one.digest for one in decoded.values()], np.uint64),
    )
    return Inspection(
        tuple(map(str, files)),
        len(columns),
        tuple(_counts(columns)),
        {f"{width} x {height}": count for (height, width), count in sizes.most_common()},
        tuple(flag for flag in flags if flag.rows),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of an image: its size, its perceptual hash, a digest of its bytes; or why it cannot be decoded."""

    size: tuple[int, int] = (0, 0)
    hash: np.ndarray | None = None
    digest: int = 0
    error: str | None = None

    @classmethod
    def of(cls, encoded: bytes | None) -> _Seen:
        try:
            image = decode_image(encoded or b"")
        except Exception as error:  # Pillow fails with whatever the broken bytes lead it to
            return cls(error=" ".join(str(error).split()))
        digest = int.from_bytes(hashlib.blake2b(encoded or b"", digest_size=8).digest())
        height, width = image.shape[:2]
        return cls((height, width), perceptual_hash(image), digest)


def _look(file: Path, pool: ThreadPoolExecutor, ahead: int) -> Iterator[_Seen]:
    """Every image of a file in turn, decoded by the pool a few chunks ahead."""
    waiting: deque[Future[list[_Seen]]] = deque()
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(_CHUNK, columns=["image"], use_threads=False):
                waiting.append(pool.submit(lambda images: [_Seen.of(each) for each in images], batch[0].to_pylist()))
                if len(waiting) >= ahead:
                    yield from waiting.popleft().result()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnmaskError(file, f"images cannot be read ({error})") from error
    while waiting:
        yield from waiting.popleft().result()


def _counts(columns: Columns) -> Iterator[Count]:
    kinds, members = columns.groups("dataset", "split", "method", "quality", "label")
    for kind, rows in sorted(zip(kinds, members, strict=True), key=lambda each: each[0]):
        videos, sources = (len(np.unique(columns.code(name)[rows])) for name in ("video", "source"))
        dataset, split, method, quality, label = kind
        yield Count(dataset, split, method, quality, label, len(rows), videos, sources)
