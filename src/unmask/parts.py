"""A folder of Parquet parts: work on very many items that may be stopped at any moment and shared out over machines.

A part appears under its name when it is complete (``part-SHARD-NUMBER.parquet``). It holds the rows of the items done
since the last one and, in its footer, what those items are and a note on each: an item of many rows, of one or of none
is done when its part is there, and not before. One file, one rename: rows and record of them cannot come apart, so a
killed run repeats at most the items of the part it was at, and no row is lost or there twice. Files that are no parts
have names that start with a dot or underscore, so that the folder is a Parquet data set to everybody else.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unmask.errors import UnmaskError
from unmask.locking import locked
from unmask.writing import make_folder, remove_unfinished, replacing, write_json

_FOOTER = b"unmask.parts"
_GROUP = 256  # rows
_PART = re.compile(r"part-(\d+-of-\d+)-(\d+)\.parquet")

#: In the folder of the parts: what every run there does to its items.
RECIPE_FILE = "_recipe.json"


@dataclass(frozen=True)
class Shard:
    """The ``index``-th of ``count`` shares of the items, by a hash of their keys: the same on every machine."""

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

    def holds(self, key: str) -> bool:
        """Whether an item is this shard's."""
        digest = hashlib.sha256(name_bytes(key)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


class Parts:
    """The parts that one run adds to a folder; a context manager, which holds the shard for this process alone.

    On leaving, whatever was added is written, also when the block failed: what is done is done.

    Args:
        folder: made if it is not there.
        schema: of the rows.
        shard: whose parts these are.
        made: what every run in the folder does to its items, plain values by name; each part says it.
        items, seconds, size: a part is written after so many items, so many seconds, or when its rows hold so many
            bytes of binary values, whichever comes first.

    Raises:
        UnmaskError: the folder cannot be written, or another run is at this shard or at shards of another count.
    """

    def __init__(
        self,
        folder: str | Path,
        schema: pa.Schema,
        shard: Shard | None = None,
        *,
        made: Mapping[str, Any] | None = None,
        items: int = 512,
        seconds: float = 60.0,
        size: int = 64 << 20,
    ) -> None:
        self.folder, self.schema, self.shard, self._made = Path(folder), schema, shard or Shard(), made or {}
        self._limits = items, seconds, size
        self._rows: list[Mapping[str, Any]] = []
        self._notes: dict[str, Any] = {}
        self._size, self._since = 0, time.monotonic()

    def __enter__(self) -> Parts:
        make_folder(self.folder)
        with ExitStack() as stack:
            try:
                _lock(self.folder, self.shard, stack)
                remove_unfinished(self.folder, f"part-{self.shard}-")
            except OSError as error:
                raise UnmaskError(self.folder, f"cannot be written: {error.strerror or error}") from error
            found = (_PART.fullmatch(path.name) for path in find_parts(self.folder))
            self._next = max((int(each[2]) for each in found if each and each[1] == str(self.shard)), default=-1) + 1
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.write()
        finally:
            self._lock.close()

    def add(self, key: str, rows: Sequence[Mapping[str, Any]], note: Any = None) -> None:
        """An item is done: its rows, and a note on it that JSON can hold."""
        self._rows += rows
        self._notes[key] = note
        self._size += sum(len(value) for row in rows for value in row.values() if isinstance(value, bytes))
        items, seconds, size = self._limits
        if len(self._notes) >= items or self._size >= size or time.monotonic() - self._since > seconds:
            self.write()

    def write(self) -> None:
        """Write what was added since the last part; if that fails, it counts as never added."""
        rows, notes = self._rows, self._notes
        self._rows, self._notes, self._size, self._since = [], {}, 0, time.monotonic()
        if not notes:
            return
        path = self.folder / f"part-{self.shard}-{self._next:06d}.parquet"
        with (
            replacing(path) as file,
            pq.ParquetWriter(file, self.schema, compression="zstd", write_statistics=False) as writer,
        ):
            for start in range(0, len(rows), _GROUP):
                writer.write_table(pa.Table.from_pylist(rows[start : start + _GROUP], self.schema))
            said = {"time": time.time(), "items": notes, "made": self._made}
            writer.add_key_value_metadata({_FOOTER: json.dumps(said)})
        self._next += 1


def read_notes(folder: str | Path, made: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every item that is done in a folder, with its note, the latest where there are several. Reads footers only.

    Args:
        folder: of the parts.
        made: as :func:`iterate_notes` takes it.
    """
    found = sorted(iterate_notes(folder, made), key=lambda each: each[0])
    return {key: note for _, items in found for key, note in items.items()}


def iterate_notes(folder: str | Path, made: Mapping[str, Any] | None = None) -> Iterator[tuple[float, dict[str, Any]]]:
    """Part by part: when it was written, seconds since 1970, and the notes on its items. Reads footers only.

    Args:
        folder: of the parts.
        made: what must have been done to the items, as far as the parts say it.

    Raises:
        UnmaskError: a part cannot be read, or says that something else was done: it came from another folder.
    """
    for path in find_parts(folder):
        try:
            with path.open("rb") as file:  # Arrow opens no name that is not UTF-8
                said = json.loads((pq.read_metadata(file).metadata or {})[_FOOTER])
            when, items, before = said["time"], said["items"], said.get("made")
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise UnmaskError(path, f"not a part written by unmask ({error})") from error
        if made and before:
            _check_same(path, before, made)
        yield when, items


def find_parts(folder: str | Path) -> list[Path]:
    """The parts that are there now; others may appear at any moment, but none of these changes.

    What has another name, such as a copy that a file manager made, is none: its rows would be there twice.
    """
    return sorted(path for path in Path(folder).glob("part-*.parquet") if _PART.fullmatch(path.name))


def read_tables(parts: Iterable[Path], columns: Iterable[str]) -> Iterator[pa.Table]:
    """The rows of the given parts, part by part."""
    for path in parts:
        try:
            with path.open("rb") as file:
                yield pq.read_table(file, columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise UnmaskError(path, f"not a readable part ({error})") from error


def as_text(name: str) -> str:
    """A name as Parquet can hold it: bytes that are no UTF-8 become escapes."""
    return name_bytes(name).decode("utf-8", "backslashreplace")


def name_bytes(name: str) -> bytes:
    """A name, also one that is no text: bytes that are no UTF-8, or on Windows half a letter, as of a cut-off emoji."""
    return name.encode("utf-8", sys.getfilesystemencodeerrors())


def check_recipe(folder: Path, made: Mapping[str, Any]) -> None:
    """Keep rows of two recipes out of one folder: the first run writes its own down, later ones must do the same.

    Args:
        folder: of the parts.
        made: plain values by name.

    Raises:
        UnmaskError: the folder holds rows of another recipe, each difference named.
    """
    before = read_recipe(folder)
    if before is None:
        for _ in iterate_notes(folder, made):  # parts of another folder, put here without its recipe
            pass
        write_json(folder / RECIPE_FILE, made)
        return
    _check_same(folder, before, made)


def _check_same(path: Path, before: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    names = sorted(set(before) | set(made))
    other = [f"{name} {before.get(name)}, not {made.get(name)}" for name in names if before.get(name) != made.get(name)]
    if other:
        raise UnmaskError(path, f"was made with {'; '.join(other)}: use the same options or another folder")


def read_recipe(folder: Path) -> dict[str, Any] | None:
    """What :func:`check_recipe` wrote down; None if no run was here.

    Raises:
        UnmaskError: it cannot be read.
    """
    path = folder / RECIPE_FILE
    try:
        made = json.loads(path.read_text("utf-8"))
        if not isinstance(made, dict):
            raise ValueError("it holds no values by name")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UnmaskError(path, f"cannot be read ({error})") from error
    return made


def _lock(folder: Path, shard: Shard, stack: ExitStack) -> None:
    """Hold a shard until the stack is left; ``UnmaskError`` if somebody is at it."""

    def take(path: Path, stack: ExitStack) -> None:
        if not stack.enter_context(locked(path)):
            where = path.name.removeprefix(".lock-").replace("-of-", "/")
            raise UnmaskError(folder, f"another run is at shard {where} here")

    take(folder / f".lock-{shard}", stack)
    # Shares of another count overlap with this one. Each side takes its own first, so never both go on.
    for path in folder.glob(".lock-*"):
        if not path.name.endswith(f"-of-{shard.count}"):
            with ExitStack() as briefly:
                take(path, briefly)
