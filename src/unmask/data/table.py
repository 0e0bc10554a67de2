"""The face table: Parquet, one row a face crop. What every later step of unmask reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unmask.data.decode import decode_image
from unmask.data.row_groups import Footer, RowGroups
from unmask.data.table_files import parquet_files, read_file
from unmask.errors import UnmaskError

#: Encoded images kept in memory, MiB, unless a caller says otherwise: a table with more of them is streamed.
BUFFER_MB = 2048


#: Data sets of fakes made of another one's originals: what is one source in both must not count as two.
_FAMILIES = {
    "DF40-ff": "FF++",
    "DeeperForensics-1.0": "FF++",
    "DF40-cdf": "Celeb-DF-v2",
    "Celeb-DF++": "Celeb-DF-v2",
}


@dataclass(frozen=True)
class FaceTable:
    """A face table: what is known of each row in memory, images encoded until they are asked for.

    A small table is loaded whole. The images of one that is larger than the buffer stay on disk and are fetched by
    row group (:class:`~unmask.data.row_groups.RowGroups`): any row can be had, cheaply those near the last ones.

    Attributes:
        fake: (N,) bool, True where the label is ``fake``.
        method: (N,) manipulation of a fake, ``real`` for a real.
        dataset, quality, split, video: (N,) str, as in the Parquet schema.
        source: (N,) str, the pristine video a fake was made from; a real names itself.
        component: (N,) str, the group of near-duplicate sources: what splits and bootstraps are drawn by.
        frame: (N,) int, position of the crop's frame in its video.
        track: (N,) int, number of the person in the clip, the same in a fake as in its original; 0 where the table does
            not say.
        streamed: the row groups on disk, or None where the table was loaded.
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
    track: np.ndarray
    streamed: RowGroups | None
    _table: pa.Table
    _names: tuple[str, ...]
    _ends: np.ndarray
    _numbers: np.ndarray

    @classmethod
    def read(
        cls,
        paths: str | Path | Sequence[str | Path],
        split: str | None = None,
        *,
        streaming: bool | None = None,
        buffer_mb: int = BUFFER_MB,
    ) -> FaceTable:
        """Read one or more Parquet files (a folder means the ``*.parquet`` below it) as one table.

        A folder may still be written to: the table is what is there now. Names that begin with ``_`` or ``.`` are no
        parts of it.

        Args:
            paths: files or folders.
            split: keep only the rows of this split.
            streaming: leave the images on disk; None does so if they are more than ``buffer_mb``.
            buffer_mb: MiB of encoded images that a streamed table keeps in memory.

        Raises:
            UnmaskError: a file is missing, is no Parquet, lacks a column, or no row is left; or a row group is too
                large to be streamed.
        """
        files = parquet_files(paths)
        footers = [Footer.read(file) for file in files]
        buffer = buffer_mb << 20
        if streaming is None:
            streaming = sum(int(footer.image_bytes.sum()) for footer in footers) > buffer
        parts = [read_file(footer, split, with_images=not streaming) for footer in footers]
        table = pa.concat_tables([part for part, _ in parts])
        if not table.num_rows:
            wanted = f" of split {split!r}" if split else ""
            raise UnmaskError(", ".join(map(str, files)), f"the table has no row{wanted}")
        groups = None
        if streaming:
            starts = np.cumsum([0, *(int(footer.rows.sum()) for footer in footers)])
            kept = np.concatenate([rows + start for (_, rows), start in zip(parts, starts, strict=False)])
            groups = RowGroups(footers, kept, buffer)

        def text(name: str) -> np.ndarray:
            """Equal texts are one object: eight bytes a row however long they are."""
            coded = table.column(name).dictionary_encode().combine_chunks()
            return np.asarray(coded.dictionary.to_pylist(), dtype=object)[coded.indices.to_numpy()]

        def number(name: str) -> np.ndarray:
            return np.asarray(pc.fill_null(table.column(name), 0).to_numpy(), dtype=np.int64)

        return cls(
            fake=text("label") == "fake",
            method=text("method"),
            dataset=text("dataset"),
            quality=text("quality"),
            split=text("split"),
            video=text("video"),
            source=text("source"),
            component=text("component"),
            frame=number("frame"),
            track=number("track"),
            streamed=groups,
            _table=table,
            _names=tuple(str(file) for file in files),
            _ends=np.cumsum([part.num_rows for part, _ in parts]),
            _numbers=np.concatenate([rows for _, rows in parts]),
        )

    def __len__(self) -> int:
        return len(self.fake)

    def where(self, row: int) -> str:
        """The row as a person would look it up: ``file: row n``, counted from 0 over all rows of the file."""
        part = int(np.searchsorted(self._ends, row, side="right"))
        return f"{self._names[part]}: row {self._numbers[row]}"

    def encoded(self, row: int) -> bytes:
        """The image bytes of one row as they are in the file."""
        if self.streamed is not None:
            return self.streamed.encoded(row)
        return self._table.column("image")[row].as_py() or b""

    def image(self, row: int) -> np.ndarray:
        """The decoded image of one row, uint8 (H, W, 3), RGB.

        Raises:
            UnmaskError: the bytes are no image, or can no longer be read; the message names file and row.
        """
        try:
            return decode_image(self.encoded(row))
        except UnmaskError:
            raise
        except Exception as error:
            raise UnmaskError(self.where(row), f"cannot decode the image ({error})") from error

    def row(self, row: int) -> dict[str, Any]:
        """One row with every column of :data:`~unmask.data.writer.SCHEMA` that is not null, as it can be written."""
        values = {name: self._table.column(name)[row].as_py() for name in self._table.column_names}
        if self.streamed is not None:
            values |= self.streamed.others(row) | {"image": self.encoded(row)}
        return {name: value for name, value in values.items() if value is not None}

    def landmarks(self) -> np.ndarray:
        """(N, 5, 2) float32: eyes, nose tip and mouth corners in pixels of the crop, NaN where the table has none."""
        lists = self._table.column("landmarks").combine_chunks()
        known = np.asarray(pc.fill_null(pc.equal(pc.list_value_length(lists), 10), False))
        points = np.full((len(self), 10), np.nan, dtype=np.float32)
        starts = np.asarray(lists.offsets)[:-1][known]
        points[known] = np.asarray(lists.values)[starts[:, None] + np.arange(10)]
        return points.reshape(-1, 5, 2)

    @property
    def name(self) -> str:
        """The file it was read from, or the first of them and how many more, for errors about all of it."""
        return self._names[0] + (f" and {len(self._names) - 1} more" if len(self._names) > 1 else "")

    @property
    def family(self) -> np.ndarray:
        """(N,) str: the data set whose originals a row's data set was made of, and whose names of sources it keeps."""
        return np.asarray([family_of(name) for name in self.dataset], dtype=object)

    def video_key(self) -> np.ndarray:
        """(N,) str: data set, manipulation, quality and clip. Two manipulations of a clip are two videos."""
        known: dict[tuple[str, str, str, str], str] = {}
        keys = zip(self.dataset, self.method, self.quality, self.video, strict=True)
        return np.asarray([known.setdefault(key, "/".join(key)) for key in keys], dtype=object)


def family_of(dataset: str) -> str:
    """The data set whose originals a data set was made of: another one's, or its own."""
    return _FAMILIES.get(dataset, dataset)
