"""What spoils an experiment without anybody noticing: leaks between splits, doubled rows, contradicting labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from unmask.data.duplicates import near_pairs
from unmask.data.table import FaceTable
from unmask.printing import counted

Rows = npt.NDArray[np.int64]

#: Images narrower than this, px, say little about a face.
SMALLEST = 48


@dataclass(frozen=True)
class Flag:
    """One kind of fault.

    Attributes:
        kind: its name.
        message: how much of it there is, in words.
        rows: each finding by itself, naming its rows.
    """

    kind: str
    message: str
    rows: tuple[str, ...]


class Columns:
    """The columns of one or more tables as integers: equal values, equal numbers."""

    TEXT = ("label", "method", "dataset", "family", "quality", "split", "video", "source", "component")

    def __init__(self, tables: Sequence[FaceTable]) -> None:
        self._tables = tables
        self._ends = np.cumsum([len(table) for table in tables])
        self._codes: dict[str, Rows] = {}
        self._values: dict[str, list[str]] = {}

        def whole(name: str) -> np.ndarray:
            return np.concatenate([getattr(table, name) for table in tables])

        for name in self.TEXT:
            column = np.where(whole("fake"), "fake", "real") if name == "label" else whole(name)
            coded = pa.array(column, pa.large_string()).dictionary_encode()
            self._codes[name] = coded.indices.to_numpy().astype(np.int64)
            self._values[name] = coded.dictionary.to_pylist()
        for name in ("frame", "track"):
            self._codes[name] = whole(name)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def where(self, row: int) -> str:
        part = int(np.searchsorted(self._ends, row, side="right"))
        return self._tables[part].where(row - (int(self._ends[part - 1]) if part else 0))

    def code(self, *names: str) -> Rows:
        """(N,) a number for each combination of the columns."""
        combined = self._codes[names[0]]
        for name in names[1:]:
            codes = np.unique(self._codes[name], return_inverse=True)[1]
            combined = np.unique(combined * (int(codes.max()) + 1) + codes, return_inverse=True)[1]
        return combined

    def value(self, name: str, row: int) -> str:
        return self._values[name][self._codes[name][row]] if name in self._values else str(self._codes[name][row])

    def groups(self, *names: str) -> tuple[list[tuple[str, ...]], list[Rows]]:
        """Every combination of the columns that occurs, and its rows."""
        code = self.code(*names)
        order = np.argsort(code, kind="stable")
        rows = np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
        return [tuple(self.value(name, int(part[0])) for name in names) for part in rows], rows


def check_rows(columns: Columns) -> Iterator[Flag]:
    """What can be told without looking at an image."""
    for name in ("source", "component"):
        yield _in_two_splits(columns, name)
    yield _one_class(columns)
    yield _twice(columns)
    yield _contradiction(columns)


def _in_two_splits(columns: Columns, name: str) -> Flag:
    whole, split = columns.code("family", name), columns.code("split")
    pairs, first = np.unique(np.stack([whole, split]), axis=1, return_index=True)
    leaking = np.flatnonzero(np.bincount(pairs[0]) > 1)
    findings = []
    for code in leaking:
        rows = first[pairs[0] == code]
        places = ", ".join(f"{columns.where(int(row))} ({columns.value('split', int(row))!r})" for row in rows)
        findings.append(f"{name} {columns.value(name, int(rows[0]))!r}: {places}")
    return Flag(f"{name} in two splits", f"{len(findings)} {name}s lie in more than one split", tuple(findings))


def _one_class(columns: Columns) -> Flag:
    findings = []
    for (split,), rows in zip(*columns.groups("split"), strict=True):
        if len(np.unique(columns.code("label")[rows])) == 1:
            findings.append(f"split {split!r}: all {len(rows)} rows are {columns.value('label', int(rows[0]))}")
    return Flag("one-class split", f"{counted(len(findings), 'split')} of one class only", tuple(findings))


def _twice(columns: Columns) -> Flag:
    key = columns.code("dataset", "method", "quality", "video", "frame", "track")
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(np.diff(key[order]) == 0)
    findings = [f"{columns.where(int(order[place]))} and {columns.where(int(order[place + 1]))}" for place in again]
    what = "data set, manipulation, quality, video, frame and track"
    return Flag("key twice", f"{len(findings)} rows share {what} with another", tuple(findings))


def _contradiction(columns: Columns) -> Flag:
    kinds = zip(*columns.groups("label", "method"), strict=True)
    wrong = [rows for (label, method), rows in kinds if (label == "real") != (method == "real")]
    findings = [
        f"{columns.where(row)}: label {columns.value('label', row)!r}, method {columns.value('method', row)!r}"
        for row in sorted(np.concatenate(wrong).tolist() if wrong else [])
    ]
    return Flag("label against method", f"{len(findings)} rows contradict themselves", tuple(findings))


def check_images(
    columns: Columns,
    rows: Rows,
    sizes: list[tuple[int, int]],
    hashes: npt.NDArray[np.uint32],
    digests: npt.NDArray[np.uint64],
) -> Iterator[Flag]:
    """What the images tell.

    Args:
        rows: (N,) the rows that could be decoded; the rest is of them.
        sizes: (height, width), px.
        hashes: (N, 8) perceptual.
        digests: (N,) of the encoded bytes.
    """
    yield _odd_sizes(columns, rows, sizes)
    if not len(rows):
        return
    # A picture counts once a video: the still clip is no fault.
    _, picture = np.unique(hashes, axis=0, return_inverse=True)
    video = columns.code("dataset", "method", "quality", "video", "split", "label")[rows]
    _, kept = np.unique(np.stack([picture.ravel(), video]), axis=1, return_index=True)
    pairs = kept[near_pairs(hashes[kept])]
    first, second = rows[pairs[:, 0]], rows[pairs[:, 1]]
    same_file = digests[pairs[:, 0]] == digests[pairs[:, 1]]
    other = video[pairs[:, 0]] != video[pairs[:, 1]]
    split, label, component = (
        columns.code(*names)[first] != columns.code(*names)[second]
        for names in (("split",), ("label",), ("dataset", "component"))
    )
    # A forgery looks like its source: of one component only the very same file with both labels is wrong.
    for kind, chosen, what in (
        ("duplicate across splits", split, "show one picture in two splits"),
        ("duplicate across labels", ~split & label & (component | same_file), "show one picture as real and as fake"),
        ("duplicate", ~split & ~label & same_file, "are the same file, in two videos"),
        ("duplicate across components", ~split & ~label & component & ~same_file, "show one picture in two components"),
    ):
        places = [
            f"{_told(columns, int(one))} and {_told(columns, int(two))}"
            for one, two in zip(first[chosen & other], second[chosen & other], strict=True)
        ]
        yield Flag(kind, f"{len(places)} pairs of rows {what}", tuple(places))


def _told(columns: Columns, row: int) -> str:
    return f"{columns.where(row)} ({columns.value('split', row) or 'no split'}, {columns.value('method', row)})"


def _odd_sizes(columns: Columns, rows: Rows, sizes: list[tuple[int, int]]) -> Flag:
    """Small or far from square; or of another size than nine in ten of their data set."""
    dataset = columns.code("dataset")[rows].tolist()
    whole, shares = Counter(dataset), Counter(zip(dataset, sizes, strict=True))
    usual = {code: size for (code, size), share in shares.items() if share >= 0.9 * whole[code]}
    findings = []
    for row, code, (height, width) in zip(rows.tolist(), dataset, sizes, strict=True):
        small, long = min(height, width) < SMALLEST, max(height, width) > 2 * min(height, width)
        if small or long or usual.get(code, (height, width)) != (height, width):
            findings.append(f"{columns.where(row)}: {width} x {height}")
    message = f"{len(findings)} images are small, far from square, or of another size than those of their data set"
    return Flag("odd size", message, tuple(findings))
