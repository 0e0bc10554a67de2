"""The face table: Parquet, one row a face crop. What every later step of unmask reads."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from unmask.data.writer import SCHEMA
from unmask.errors import UnmaskError

#: Columns a table must have, and what each one says.
REQUIRED = {
    "image": "JPEG, PNG or WebP bytes of one face crop, RGB",
    "label": "'real' or 'fake'",
}


@dataclass(frozen=True)
class FaceTable:
    """A face table in memory; images stay encoded until they are asked for.

    Attributes:
        fake: (N,) bool, True where the label is ``fake``.
        method: (N,) manipulation of a fake, ``real`` for a real.
        dataset, quality, split, video: (N,) str, as in the Parquet schema.
        source: (N,) str, the pristine video a fake was made from; a real names itself.
        component: (N,) str, the group of near-duplicate sources: what splits and bootstraps are drawn by.
        frame: (N,) int, position of the crop's frame in its video.
    """

    fake: np.ndarray
    method: np.ndarray
    dataset: np.ndarray
    quality: np.ndarray
    split: np.ndarray
    video: np.ndarray
    source: np.ndarray
    component: np.ndarray
    frame: np.ndarray
    _table: pa.Table
    _names: tuple[str, ...]
    _ends: np.ndarray

    @classmethod
    def read(cls, paths: str | Path | Sequence[str | Path], split: str | None = None) -> FaceTable:
        """Read one or more Parquet files (a folder means the ``*.parquet`` below it) as one table.

        Args:
            paths: files or folders.
            split: keep only the rows of this split.

        Raises:
            UnmaskError: a file is missing, is no Parquet, lacks a column, or no row is left.
        """
        files = _expand([paths] if isinstance(paths, str | Path) else list(paths))
        parts = [_read_file(file, split) for file in files]
        table = pa.concat_tables(parts)
        if not table.num_rows:
            wanted = f" of split {split!r}" if split else ""
            raise UnmaskError(", ".join(map(str, files)), f"the table has no row{wanted}")

        def text(name: str) -> np.ndarray:
            return np.asarray(table.column(name).to_pylist(), dtype=object)

        return cls(
            fake=text("label") == "fake",
            method=text("method"),
            dataset=text("dataset"),
            quality=text("quality"),
            split=text("split"),
            video=text("video"),
            source=text("source"),
            component=text("component"),
            frame=np.asarray(table.column("frame").to_numpy(), dtype=np.int64),
            _table=table,
            _names=tuple(str(file) for file in files),
            _ends=np.cumsum([part.num_rows for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.fake)

    def where(self, row: int) -> str:
        """The row as a person would look it up: ``file: row n`` (n counts the rows kept of that file)."""
        part = int(np.searchsorted(self._ends, row, side="right"))
        start = int(self._ends[part - 1]) if part else 0
        return f"{self._names[part]}: row {row - start}"

    def encoded(self, row: int) -> bytes:
        """The image bytes of one row as they are in the file."""
        return self._table.column("image")[row].as_py() or b""

    def image(self, row: int) -> np.ndarray:
        """The decoded image of one row, uint8 (H, W, 3), RGB.

        Raises:
            UnmaskError: the bytes are no image; the message names file and row.
        """
        try:
            with Image.open(io.BytesIO(self.encoded(row))) as image:
                return np.asarray(image.convert("RGB"))
        except Exception as error:
            raise UnmaskError(self.where(row), f"cannot decode the image ({error})") from error

    def row(self, row: int) -> dict[str, Any]:
        """One row with every column of :data:`~unmask.data.writer.SCHEMA` that is not null, as it can be written."""
        values = {name: self._table.column(name)[row].as_py() for name in self._table.column_names}
        return {name: value for name, value in values.items() if value is not None}

    def video_key(self) -> np.ndarray:
        """(N,) str: data set, manipulation, quality and clip. Two manipulations of a clip are two videos."""
        keys = zip(self.dataset, self.method, self.quality, self.video, strict=True)
        return np.asarray(["/".join(key) for key in keys], dtype=object)


def _expand(paths: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            below = sorted(path.rglob("*.parquet"))
            if not below:
                raise UnmaskError(path, "no Parquet file in this folder")
            files += below
        elif path.is_file():
            files.append(path)
        else:
            raise UnmaskError(path, "no such file")
    if not files:
        raise UnmaskError("face table", "no file was named")
    return files


def _read_file(path: Path, split: str | None) -> pa.Table:
    try:
        table = pq.read_table(path, memory_map=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnmaskError(path, f"not a readable Parquet file ({error})") from error
    for name, meaning in REQUIRED.items():
        if name not in table.column_names:
            raise UnmaskError(path, f"column '{name}' is missing ({meaning})")
    labels = table.column("label").to_pylist()
    odd = next((row for row, label in enumerate(labels) if label not in ("real", "fake")), None)
    if odd is not None:
        raise UnmaskError(path, f"row {odd}: label is {labels[odd]!r}, expected 'real' or 'fake'")

    rows = table.num_rows

    def column(name: str, default: list[object]) -> pa.Array | pa.ChunkedArray:
        """The column as text (``frame`` as numbers), with the default where it or a value of it is missing."""
        kind = pa.int64() if name == "frame" else pa.string()
        filled = pa.array(default, kind)
        return pc.coalesce(table.column(name).cast(kind), filled) if name in table.column_names else filled

    video = column("video", [f"{path.stem}/{row}" for row in range(rows)])
    source = column("source", video.to_pylist())
    columns = {
        "image": _cast(path, table, SCHEMA.field("image")),
        "label": table.column("label").cast(pa.string()),
        "method": column("method", ["real" if label == "real" else "fake" for label in labels]),
        "dataset": column("dataset", [path.stem] * rows),
        "quality": column("quality", ["source"] * rows),
        "split": column("split", [""] * rows),
        "video": video,
        "source": source,
        "component": column("component", source.to_pylist()),
        "frame": column("frame", [0] * rows),
    }
    for field in SCHEMA:
        if field.name not in columns:
            there = field.name in table.column_names
            columns[field.name] = _cast(path, table, field) if there else pa.nulls(rows, field.type)
    table = pa.table(columns)
    if split is not None:
        table = table.filter(pc.equal(table.column("split"), split))
    return table


def _cast(path: Path, table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    try:
        return table.column(field.name).cast(field.type)
    except pa.ArrowException as error:
        held = table.schema.field(field.name).type
        raise UnmaskError(path, f"column '{field.name}' holds {held}, expected {field.type}") from error
