"""How the faces of a table were cut, where ``unmask prepare`` left word of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unmask.data.table_files import parquet_files
from unmask.errors import UnmaskError
from unmask.faces.crop import CropRecipe
from unmask.parts import read_recipe


def other_cuts(paths: str | Path | Sequence[str | Path], crop: CropRecipe) -> list[str]:
    """Of each folder whose faces were cut with another margin or shift than ``crop``, one line that says so.

    A classifier that gets faces cut wider or tighter than those it learned from gives scores without meaning. Tables
    that ``unmask prepare`` did not make say nothing of it and are taken as they are; sizes do not matter, crops are
    resized.

    Raises:
        UnmaskError: as :func:`parquet_files` does.
    """
    found = []
    for folder in sorted({file.parent for file in parquet_files(paths)}):
        try:
            there = CropRecipe.from_dict((read_recipe(folder) or {})["crop"])
        except (UnmaskError, ValueError, TypeError, KeyError):
            continue
        if (there.margin, there.shift_y) != (crop.margin, crop.shift_y):
            found.append(f"{folder}: its faces were cut with {_words(there)}, not with {_words(crop)}")
    return found


def _words(crop: CropRecipe) -> str:
    return f"margin {crop.margin:g} and shift {crop.shift_y:g}"
