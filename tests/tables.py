"""Small face tables that tests make: smooth random images, the fakes with a checkerboard that is easy to learn."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def make_image(rng: np.random.Generator, fake: bool, size: int = 48) -> np.ndarray:
    """uint8 (size, size, 3): a smooth random field, with a faint checkerboard if fake."""
    coarse = rng.integers(40, 216, (6, 6, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)).astype(np.int16)
    if fake:
        rows, columns = np.indices((size, size))
        smooth = smooth + np.where((rows + columns) % 2, 9, -9)[..., None]
    return smooth.clip(0, 255).astype(np.uint8)


def encode(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_table(
    path: Path,
    reals: int = 12,
    fakes: int = 12,
    *,
    seed: int = 0,
    frames: int = 1,
    methods: tuple[str, ...] = ("Deepfakes",),
    size: int = 48,
    split: str = "train",
) -> Path:
    """A table of ``reals`` genuine videos and ``fakes`` made from them in turn, ``frames`` rows a video."""
    rng = np.random.default_rng(seed)
    rows = []
    for kind, count in (("real", reals), ("fake", fakes)):
        for clip in range(count):
            source = f"clip{clip % max(reals, 1)}"
            rows += [
                {
                    "image": encode(make_image(rng, kind == "fake", size)),
                    "label": kind,
                    "method": "real" if kind == "real" else methods[clip % len(methods)],
                    "dataset": "made",
                    "quality": "source",
                    "split": split,
                    "video": source if kind == "real" else f"fake{clip}",
                    "frame": frame,
                    "source": source,
                    "component": source,
                }
                for frame in range(frames)
            ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
