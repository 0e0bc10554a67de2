"""The rows of a face table that can be read, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from unmask.errors import UnmaskError

T = TypeVar("T")


def readable(rows: Iterable[int], read: Callable[[int], T], left_out: list[dict[str, str]]) -> Iterator[tuple[int, T]]:
    """Each row and what ``read`` makes of it, such as ``table.image``.

    A row of which it makes an ``UnmaskError`` is passed over: ``left_out`` gets its ``row``, file and number, and the
    ``reason``.
    """
    for row in map(int, rows):
        try:
            found = read(row)
        except UnmaskError as error:
            left_out.append({"row": error.subject, "reason": error.reason})
        else:
            yield row, found
