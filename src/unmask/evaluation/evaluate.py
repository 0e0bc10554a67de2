"""Measure a finished detector on face tables: scores once, then every metric at frame and video level."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from unmask.errors import UnmaskError
from unmask.evaluation.bootstrap import estimate, missing_class
from unmask.evaluation.result import Evaluation, Levels, Rows, TableResult
from unmask.evaluation.row_scores import Crop, score_rows

if TYPE_CHECKING:
    from unmask.data.table import FaceTable
    from unmask.detector import Card
    from unmask.faces.crop import CropRecipe

_NO_FACE = "no face found"


class ScoresCrops(Protocol):
    """What :func:`evaluate` needs of a detector; :class:`unmask.detector.Scorer` is one."""

    @property
    def card(self) -> Card: ...

    @property
    def name(self) -> str: ...

    def score(self, crops: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]: ...


def evaluate(
    scorer: ScoresCrops,
    tables: Sequence[str | Path],
    *,
    split: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    recrop: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Score every row of every table and measure the detector on each table by itself.

    A row that cannot be decoded, or in which no face is found, is skipped and listed. A table that cannot be
    read or that lacks a class gets an ``error`` and the others are still done.

    Args:
        scorer: the detector.
        tables: Parquet files or folders of them, each reported on its own.
        split: keep only the rows of this split.
        bootstrap: resamples of the 95 % interval, 0 for none.
        seed: of the resamples.
        recrop: find the face in every image and crop it by the detector's own recipe; for tables whose images
            are wider than its crops. The largest face counts. Otherwise the images are crops already.
        progress: called with table, rows done and rows in all after every chunk.
    """
    crop = cropper(scorer.card.crop if recrop else None)
    protocol = _protocol(scorer, split, bootstrap, seed, recrop)
    found = []
    for path in map(str, tables):
        try:
            found.append(_evaluate_table(scorer, path, split, protocol, crop, progress))
        except UnmaskError as error:
            found.append(TableResult(path, protocol, error=str(error)))
    return Evaluation(found)


def _evaluate_table(
    scorer: ScoresCrops,
    path: str,
    split: str | None,
    protocol: dict[str, Any],
    crop: Callable[[FaceTable, int], Crop],
    progress: Callable[[str, int, int], None] | None,
) -> TableResult:
    from unmask.data.table import FaceTable

    table = FaceTable.read(path, split)
    told = None if progress is None else functools.partial(progress, path)
    scores, skipped = score_rows(table, functools.partial(crop, table), scorer.score, told)
    frames = _rows(table, scores).take(~np.isnan(scores))
    interval = protocol["interval"]
    measured = functools.partial(_measured, scorer.card.threshold, interval["resamples"], interval["seed"])
    undefined = missing_class(frames.fake)
    methods = sorted(set(frames.method[frames.fake])) if undefined is None else []
    qualities = sorted(set(frames.quality)) if undefined is None else []
    return TableResult(
        path,
        protocol,
        sha256=_sha256(path),
        levels=measured(frames) if len(frames) else None,
        by_method={name: measured(frames.take(~frames.fake | (frames.method == name))) for name in methods},
        by_quality={name: measured(frames.take(frames.quality == name)) for name in qualities},
        skipped=skipped,
        no_face=sum(each["reason"] == _NO_FACE for each in skipped),
        error=f"{path}: {undefined}{' that could be scored' if skipped else ''}" if undefined is not None else None,
    )


def cropper(recipe: CropRecipe | None) -> Callable[[FaceTable, int], Crop]:
    """What gives a row's image, uint8 (H, W, 3), or with a recipe the crop of the largest face that is found in it.

    An ``UnmaskError`` says that the row cannot be decoded, has no face, or that the crop lies far outside of the image.
    """
    if recipe is None:
        return lambda table, row: table.image(row)
    from unmask.faces.mtcnn import MTCNN

    find_faces = MTCNN()

    def largest_face(table: FaceTable, row: int) -> Crop:
        image = table.image(row)
        faces = find_faces([image])[0]
        if not faces:
            raise UnmaskError(table.where(row), _NO_FACE)
        try:
            return recipe.crop(image, faces[0].box)
        except ValueError as error:
            raise UnmaskError(table.where(row), str(error)) from error

    return largest_face


def _rows(table: FaceTable, scores: npt.NDArray[np.float64]) -> Rows:
    videos = [f"{fake}/{key}" for fake, key in zip(table.fake, table.video_key(), strict=True)]
    return Rows(table.fake, scores, table.method, table.quality, np.asarray(videos, dtype=object), clusters_of(table))


def clusters_of(table: FaceTable) -> npt.NDArray[np.object_]:
    """(N,) str, what the bootstrap draws: component, and the data set that names it."""
    names = [f"{name}/{group}" for name, group in zip(table.family, table.component, strict=True)]
    return np.asarray(names, dtype=object)


def _measured(threshold: float, resamples: int, seed: int, frames: Rows) -> Levels:
    videos = frames.videos()
    counts = {
        "rows": len(frames),
        "videos": len(videos),
        "real_rows": int(np.sum(~frames.fake)),
        "fake_rows": int(np.sum(frames.fake)),
        "real_videos": int(np.sum(~videos.fake)),
        "fake_videos": int(np.sum(videos.fake)),
        "components": len(set(frames.cluster)),
    }
    frame, video = (
        estimate(rows.fake, rows.score, rows.cluster.astype(str), threshold, resamples, seed)
        for rows in (frames, videos)
    )
    return Levels(counts, frame, video)


def _protocol(scorer: ScoresCrops, split: str | None, resamples: int, seed: int, recrop: bool) -> dict[str, Any]:
    return {
        **how_judged(scorer, split, resamples, seed),
        "crop": {"from": "faces found by MTCNN, the largest" if recrop else "table", **scorer.card.crop.to_dict()},
        "video_score": "mean of the frames' log-odds without the highest and lowest fifth; a video is one data set,"
        " manipulation, quality and clip",
    }


def how_judged(scorer: ScoresCrops, split: str | None, resamples: int, seed: int) -> dict[str, Any]:
    """What every protocol says: detector, split, calibration, threshold and interval."""
    card = scorer.card
    return {
        "detector": {"name": scorer.name, "version": card.version, "weights_sha256": card.weights_sha256},
        "split": split,
        "threshold": card.threshold,
        "threshold_rule": card.threshold_rule,
        "calibration": dict(card.calibration),
        "interval": {
            "method": "percentile bootstrap over components (near-duplicate sources)",
            "confidence": 0.95,
            "resamples": resamples,
            "seed": seed,
        },
    }


def _sha256(path: str) -> str | None:
    if not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
