"""A face table at another quality: the same rows, each with what it lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.decode import decode_image
from unmask.data.degrade.qualities import degrade_image, get_quality, strength
from unmask.data.encode import encode_image
from unmask.data.table import FaceTable, family_of
from unmask.data.writer import write_faces
from unmask.errors import UnmaskError
from unmask.workers import WorkerDied, work

#: PSNR of an unchanged image, and the most there is, dB: a mean over rows must stay finite.
UNCHANGED = 99.0

#: Row, encoded image, seed and quality; and PNG bytes, PSNR and SSIM, or the reason why there are none.
Job = tuple[int, bytes, str, str]
Answer = tuple[bytes, float, float] | str


@dataclass(frozen=True)
class Degraded:
    """What became of a table: rows written, rows left out with the reason, and mean PSNR (dB) and SSIM."""

    rows: int
    psnr: float
    ssim: float
    left_out: tuple[str, ...]


def degrade_table(
    table: FaceTable,
    out: str | Path,
    quality: str,
    *,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Degraded:
    """Write a table with every image degraded and the columns ``quality``, ``psnr`` and ``ssim`` filled.

    Images are kept as PNG, so that what is measured later is this quality and no other. The camera's motion and the
    noise follow from data set, source and frame: a fake moves as the real it was made from, in any number of workers.

    Args:
        table: faces.
        out: the Parquet file to write.
        quality: a name of :data:`~unmask.data.degrade.qualities.QUALITIES`.
        workers: processes.
        progress: called with the file, rows done and rows in all.

    Raises:
        UnmaskError: no such quality, no row could be degraded, or the file cannot be written.
    """
    chosen = get_quality(quality).name
    left_out: list[str] = []
    losses: list[tuple[float, float]] = []

    def rows() -> Iterator[dict[str, Any]]:
        jobs = ((row, table.encoded(row), camera_seed(table, row), chosen) for row in range(len(table)))
        for row, answer in enumerate(_in_order(jobs, workers)):
            if progress is not None:
                progress(str(out), row + 1, len(table))
            if isinstance(answer, str):
                left_out.append(f"{table.where(row)}: {answer}")
                continue
            image, psnr, ssim = answer
            losses.append((psnr, ssim))
            yield {**table.row(row), "image": image, "quality": chosen, "psnr": psnr, "ssim": ssim}
        if not losses:
            raise UnmaskError(left_out[0], f"no row of {len(table)} could be degraded")

    written = write_faces(out, rows())
    psnr, ssim = np.mean(losses, axis=0)
    return Degraded(written, float(psnr), float(ssim), tuple(left_out))


def camera_seed(table: FaceTable, row: int) -> str:
    """The seed of a row's motion and noise: that of the real it was made from."""
    return f"{family_of(table.dataset[row])}/{table.source[row]}/{table.frame[row]}"


def _in_order(jobs: Iterator[Job], workers: int) -> Iterator[Answer]:
    """The answers in the order of the jobs; a row that ends its process costs that row."""
    if workers <= 1:
        yield from map(_degrade, jobs)
        return
    ready: dict[int, Answer] = {}
    due = 0
    for (row, *_), answer in work(_degrader, jobs, workers):
        ready[row] = f"cannot be degraded ({answer})" if isinstance(answer, WorkerDied) else answer
        while due in ready:
            yield ready.pop(due)
            due += 1


def _degrader() -> Callable[[Job], Answer]:
    return _degrade


def _degrade(job: Job) -> Answer:
    """One image's bytes to PNG bytes with PSNR and SSIM, or why not."""
    _, encoded, seed, quality = job
    try:
        image = decode_image(encoded)
    except Exception as error:
        return f"cannot decode the image ({type(error).__name__}: {error})"
    try:
        degraded = degrade_image(image, quality, seed)
        psnr, ssim = strength(image, degraded)
        return encode_image(degraded, "png"), min(psnr, UNCHANGED), ssim
    except Exception as error:  # a codec refuses what nobody foresaw: this row, not the table
        return f"cannot be degraded ({type(error).__name__}: {error})"
