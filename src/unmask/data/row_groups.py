"""Images that stay on disk: Parquet row groups fetched as they are asked for, the last ones kept, memory bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from unmask.data.writer import SCHEMA
from unmask.errors import UnmaskError

_OPEN_FILES = 16


@dataclass(frozen=True)
class Footer:
    """What a Parquet file says of itself: column types, rows and bytes of images of each row group."""

    path: Path
    schema: pa.Schema
    rows: npt.NDArray[np.int64]
    image_bytes: npt.NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Footer:
        """Raises UnmaskError: the file cannot be read, or is no Parquet."""
        try:
            metadata = pq.read_metadata(path)
            groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
            image = next((i for i in range(metadata.num_columns) if metadata.schema.column(i).path == "image"), None)
            sizes = [0 if image is None else group.column(image).total_uncompressed_size for group in groups]
            rows = [group.num_rows for group in groups]
            schema = metadata.schema.to_arrow_schema()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UnmaskError(path, f"not a readable Parquet file ({error})") from error
        return cls(path, schema, np.asarray(rows, np.int64), np.asarray(sizes, np.int64))


class RowGroups:
    """Rows of Parquet files, read by row group. Threads may share it.

    At most ``buffer`` bytes of row groups are kept, those that were asked for last; a group is read once for all
    the rows that are wanted from it meanwhile. One file after the other is read from: a second reader waits.

    Args:
        footers: the files, in the order of their rows.
        kept: (N,) numbers of the rows that count, over all files; table row ``i`` is row ``kept[i]``.
        buffer: bytes.

    Attributes:
        group: (N,) row group of each table row, counted over all files.
        image_bytes: (G,) of each group.
        fetched: how many groups have been read so far.

    Raises:
        UnmaskError: one row group alone is more than a quarter of the buffer.
    """

    def __init__(self, footers: Sequence[Footer], kept: npt.NDArray[np.int64], buffer: int) -> None:
        self._paths = [footer.path for footer in footers]
        self._file = np.repeat(np.arange(len(footers)), [len(footer.rows) for footer in footers])
        self._first = np.concatenate([np.arange(len(footer.rows)) for footer in footers])
        sizes = np.concatenate([footer.rows for footer in footers])
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self.image_bytes = np.concatenate([footer.image_bytes for footer in footers])
        self.group = np.searchsorted(starts[1:], kept, side="right").astype(np.int32)
        self._place = (kept - starts[self.group]).astype(np.int32)
        self.buffer, self.fetched = buffer, 0
        largest = int(np.argmax(self.image_bytes))
        if self.image_bytes[largest] > buffer // 4:
            raise UnmaskError(
                self._paths[self._file[largest]],
                f"row group {self._first[largest]} holds {self.image_bytes[largest] >> 20} MiB of images, too much to "
                f"stream with a buffer of {buffer >> 20} MiB (data.buffer_mb): write the table with smaller row groups",
            )
        self._groups: OrderedDict[tuple[int, bool], pa.Table] = OrderedDict()
        self._held = 0
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._lock, self._reading = threading.Lock(), threading.Lock()

    def encoded(self, row: int) -> bytes:
        """The image bytes of a row."""
        return self._get(row, False).column(0)[int(self._place[row])].as_py() or b""

    def others(self, row: int) -> dict[str, Any]:
        """What a row says beyond the columns that a face table keeps in memory, by column name."""
        group = self._get(row, True)
        return {name: group.column(name)[int(self._place[row])].as_py() for name in group.column_names}

    def _get(self, row: int, others: bool) -> pa.Table:
        key = (int(self.group[row]), others)
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        with self._reading:
            with self._lock:
                if key in self._groups:  # somebody else has read it while we waited
                    return self._groups[key]
            group = self._read(*key)
            with self._lock:
                self._groups[key] = group
                self._held += group.nbytes
                while self._held > self.buffer and len(self._groups) > 1:
                    self._held -= self._groups.popitem(last=False)[1].nbytes
        return group

    def _read(self, group: int, others: bool) -> pa.Table:
        number = int(self._file[group])
        path = self._paths[number]
        try:
            if number not in self._files:
                self._files[number] = pq.ParquetFile(path)
                if len(self._files) > _OPEN_FILES:
                    self._files.popitem(last=False)[1].close()
            file = self._files[number]
            wanted = ["image"]
            if others:
                wanted = [name for name in file.schema_arrow.names if name in OTHER_COLUMNS]
            table = file.read_row_group(int(self._first[group]), columns=wanted, use_threads=False)
            self.fetched += 1
            return table.cast(pa.schema([SCHEMA.field(name) for name in wanted]))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UnmaskError(path, f"row group {self._first[group]} cannot be read ({error})") from error


#: Columns that nobody draws rows by: a streamed table leaves them on disk.
OTHER_COLUMNS = ("track", "box", "found", "landmarks", "mask", "donor", "psnr", "ssim")
