"""The Parquet files of a face table: which they are, and the rows of one with every column filled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unmask.data.row_groups import OTHER_COLUMNS, Footer
from unmask.data.writer import SCHEMA
from unmask.errors import UnmaskError

#: Columns a table must have, and what each one says.
REQUIRED = {
    "image": "JPEG, PNG or WebP bytes of one face crop, RGB",
    "label": "'real' or 'fake'",
}

#: What stays in the file where images are not wanted.
_ON_DISK = {"image", *OTHER_COLUMNS} - {"track", "landmarks"}


def parquet_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that are named, and those in the folders that are, sorted.

    Raises:
        UnmaskError: a path is not there, or a folder without a Parquet file.
    """
    files: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if path.is_dir():
            below = sorted(
                file
                for file in path.rglob("*.parquet")
                if not any(part.startswith(("_", ".")) for part in file.relative_to(path).parts)
            )
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


def read_file(footer: Footer, split: str | None, with_images: bool) -> tuple[pa.Table, np.ndarray]:
    """The rows of one file with every column of the schema (images and other columns only if wanted), and their
    numbers in the file.

    Raises:
        UnmaskError: it is no Parquet, lacks a column, or one holds what it should not.
    """
    path, names = footer.path, footer.schema.names
    for name, meaning in REQUIRED.items():
        if name not in names:
            raise UnmaskError(path, f"column '{name}' is missing ({meaning})")
    fields = [field for field in SCHEMA if with_images or field.name not in _ON_DISK]
    for field in SCHEMA:
        _check_type(path, footer.schema, field)
    try:
        # Read as a file, not as a data set: the names of folders above it are no columns.
        with pq.ParquetFile(path, memory_map=True) as file:
            table = file.read([field.name for field in fields if field.name in names])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnmaskError(path, f"not a readable Parquet file ({error})") from error
    odd = pc.invert(pc.fill_null(pc.is_in(table.column("label").cast(pa.string()), pa.array(["real", "fake"])), False))
    if pc.any(odd).as_py():
        row = pc.index(odd, True).as_py()
        label = table.column("label")[row].as_py()
        raise UnmaskError(path, f"row {row}: label is {label!r}, expected 'real' or 'fake'")
    table = _filled(table, fields, path)
    kept = np.arange(table.num_rows)
    if split is not None:
        wanted = pc.equal(table.column("split"), split)
        table, kept = table.filter(wanted), np.flatnonzero(wanted.to_numpy())
    return table, kept


def _filled(table: pa.Table, fields: Sequence[pa.Field], path: Path) -> pa.Table:
    """Every one of the fields: what the file does not say follows from its other columns, or is null."""
    rows = table.num_rows

    def cast(name: str, kind: pa.DataType) -> pa.ChunkedArray:
        try:
            return table.column(name).cast(kind)
        except pa.ArrowInvalid as error:
            raise UnmaskError(path, f"column {name!r}: expected {kind} ({error})") from error

    def column(name: str, default: pa.Array | pa.ChunkedArray | str | int) -> pa.Array | pa.ChunkedArray:
        """The column as text (``frame`` as numbers), with the default where it or a value of it is missing."""
        kind = SCHEMA.field(name).type
        filled = pa.repeat(pa.scalar(default, kind), rows) if isinstance(default, str | int) else default
        return pc.coalesce(cast(name, kind), filled) if name in table.column_names else filled

    label = table.column("label").cast(pa.string())
    numbered = "video" not in table.column_names or table.column("video").null_count
    video = column("video", pa.array([f"{path.stem}/{row}" for row in range(rows)], pa.string()) if numbered else "")
    source = column("source", video)
    columns = {
        "label": label,
        # What a label is called is what a row without a manipulation is called.
        "method": column("method", label),
        "dataset": column("dataset", path.stem),
        "quality": column("quality", "source"),
        "split": column("split", ""),
        "video": video,
        "source": source,
        "component": column("component", source),
        "frame": column("frame", 0),
    }
    for field in fields:
        if field.name not in columns:
            there = field.name in table.column_names
            columns[field.name] = cast(field.name, field.type) if there else pa.nulls(rows, field.type)
    return pa.table(columns)


def _check_type(path: Path, schema: pa.Schema, field: pa.Field) -> None:
    if field.name not in schema.names:
        return
    held = schema.field(field.name).type
    try:
        pa.nulls(0, held).cast(field.type)
    except pa.ArrowException as error:
        raise UnmaskError(path, f"column '{field.name}' holds {held}, expected {field.type}") from error
