"""Writing face tables: one Parquet file a call, row by row, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unmask.errors import UnmaskError
from unmask.writing import replacing

#: Every column a face table may have. ``image`` and ``label`` must be there; what a row does not name is null.
SCHEMA = pa.schema(
    [
        pa.field("image", pa.binary(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        ("method", pa.string()),
        ("dataset", pa.string()),
        ("quality", pa.string()),
        ("split", pa.string()),
        ("video", pa.string()),
        ("frame", pa.int64()),
        ("source", pa.string()),
        ("component", pa.string()),
        # Where the crop was found: pixels of the upright frame, one number a person of the clip.
        ("track", pa.int64()),
        ("box", pa.list_(pa.float32())),
        ("found", pa.float32()),
        # Five points (x, y) in pixels of the crop: left eye, right eye, nose, left and right mouth corner.
        ("landmarks", pa.list_(pa.float32())),
        # PNG, one channel of the crop's size: how much of each pixel a forgery replaced, 0 to 255.
        ("mask", pa.binary()),
        # Where a made forgery took its other face from: the `source` of that row.
        ("donor", pa.string()),
        # What a degraded crop lost against the original: PSNR in dB and SSIM.
        ("psnr", pa.float32()),
        ("ssim", pa.float32()),
    ]
)

_GROUP = 256


def write_faces(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write face rows as one Parquet file; it appears under its name when the last row is in it.

    Args:
        path: the file; its folder must exist.
        rows: mappings with keys of :data:`SCHEMA`; taken one by one, so they may be more than fit into memory.

    Returns:
        How many rows were written. Without any row there is a file all the same: an empty table.

    Raises:
        UnmaskError: the file cannot be written, or a row has an unknown key or a value of the wrong type.
    """
    path, written = Path(path), 0
    try:
        # zstd makes nothing of JPEG bytes; what it saves are the texts, repeated in every row.
        with replacing(path) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd", write_statistics=False) as out:
            group: list[Mapping[str, Any]] = []
            for row in rows:
                unknown = sorted(set(row) - set(SCHEMA.names))
                if unknown:
                    raise UnmaskError(path, f"row {written}: unknown column {', '.join(unknown)}")
                group.append(row)
                written += 1
                if len(group) == _GROUP:
                    out.write_table(pa.Table.from_pylist(group, SCHEMA))
                    group = []
            out.write_table(pa.Table.from_pylist(group, SCHEMA))
    except OSError as error:
        raise UnmaskError(path, f"cannot be written: {error.strerror or error}") from error
    except pa.ArrowException as error:
        raise UnmaskError(path, f"near row {written}: {error}") from error
    return written
