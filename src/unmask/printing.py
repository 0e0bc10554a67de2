"""What is printed: names, which stay one line and do nothing whatever is in them, and numbers of things."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text


def forgiving_streams() -> None:
    """Names that the encoding of stdout lacks become escapes: else one of them ends the work on all, as would a stream
    that is closed (``>&-``)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (for as long as we run)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """One line whatever is in a file name: control characters and undecodable bytes become escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in text
    )


def counted(number: int, what: str) -> str:
    """``1 file``, ``1,234 files``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def cell(text: str, style: str = "") -> Text:
    """A name in a table of rich, to which brackets in a plain text would be markup."""
    from rich.text import Text

    return Text(printable(text), style)
