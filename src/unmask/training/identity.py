"""What the numbers of a run depend on: a checkpoint of another recipe, other rows or another precision is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.data.table import FaceTable
from unmask.errors import UnmaskError
from unmask.training.recipe import Recipe

#: Keys that may change when a run is resumed. The number of steps may: the learning rate follows the new plan from
#: there on, and the card tells. What precision "auto" came to is compared by itself.
_FREE = (
    "data.crop",
    "data.workers",
    "data.cache_mb",
    "run.log_every",
    "run.checkpoint_minutes",
    "run.precision",
    "run.steps",
)


def identity(recipe: Recipe, table: FaceTable, precision: str) -> dict[str, str]:
    """What a checkpoint says of its run: ``recipe``, ``precision``, and ``rows``, which tells the training rows apart.

    A batch is a function of the rows' order: a table that has grown gives other ones.
    """
    names = zip(table.video_key(), table.frame, table.fake, strict=True)
    rows = hashlib.sha256("\n".join(f"{key} {frame} {fake}" for key, frame, fake in names).encode())
    return {
        "recipe": json.dumps(recipe.to_dict(), sort_keys=True),
        "precision": precision,
        "rows": rows.hexdigest(),
    }


def check_identity(path: Path, was: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Refuse a checkpoint of another run.

    Args:
        path: the checkpoint, for the error.
        was: its content; one of an older release may lack ``precision`` or ``rows``.
        now: :func:`identity` of the run that is to go on.

    Raises:
        UnmaskError: the first thing that differs.
    """
    before, after = (_keys(json.loads(each["recipe"])) for each in (was, now))
    for key, value in after.items():
        if before.get(key, value) != value:
            raise UnmaskError(path, f"was written by another recipe: {key} was {before[key]!r}, is {value!r}")
    if was.get("rows", now["rows"]) != now["rows"]:
        raise UnmaskError(path, f"was written when the rows of {', '.join(after['data.train'])} were others")
    precision = was.get("precision", now["precision"])
    if precision != now["precision"]:
        reason = f"was written in {precision}, here it is {now['precision']}: --set run.precision={precision}"
        raise UnmaskError(path, reason)


def _keys(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Section and key of all that must not change."""
    kept = {
        f"{name}.{key}": value
        for name, section in recipe.items()
        if name != "card"
        for key, value in section.items()
        if f"{name}.{key}" not in _FREE
    }
    for key in ("data.train", "data.validation"):  # however they are written
        kept[key] = [str(Path(path).resolve()) for path in kept[key]]
    return kept
