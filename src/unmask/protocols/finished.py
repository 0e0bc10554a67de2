"""What a finished run leaves behind, and whether it is this protocol's: a folder may hold another version's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.protocols.matching import matched_to_game
from unmask.protocols.protocol import Protocol, Run

RESULT = "result.json"

#: The parts of a recipe that a detector's card repeats and that its numbers depend on.
_SECTIONS = ("model", "augmentation", "adversary", "game", "optimiser", "run")
#: Where a run was made, and how often it spoke, are no part of what it is.
_FREE = {"run": ("device", "log_every", "checkpoint_minutes")}


def is_finished(run: Run, out: Path) -> bool:
    """Whether the run's result is there."""
    return (out / run.name / RESULT).is_file()


def _data_of(card: dict[str, Any]) -> dict[str, Any]:
    """The part of a recipe's ``data`` that a detector's card repeats; older cards have less of it."""
    made = card["training"]
    kept = {key: made[key] for key in ("batch_size", "pairing", "self_blend", "validation") if key in made}
    return {**kept, "train": made["data"], "size": card["input_size"], "crop": card["crop"], "classes": card["classes"]}


def _names_of_tables(data: dict[str, Any]) -> dict[str, Any]:
    """``data`` as a card has it: tables without their folders, which are another machine's business."""
    return data | {key: [Path(path).name for path in data[key]] for key in ("train", "validation")}


def rows_of_tests(protocol: Protocol) -> dict[str, Any]:
    """What decides which rows of a data set the runs of a protocol are tested on, as ``result.json`` has it."""
    return {
        each.dataset: {name: getattr(each, name) for name in ("tables", "real", "every", "recrop")}
        for each in protocol.tests
    }


def check_finished(protocol: Protocol, out: Path) -> None:
    """Every finished run was made, and tested, as the protocol says now.

    Raises:
        UnmaskError: one was not, as after ``--quick`` or an edit of the file; the message names the run and the key.
    """
    for run in protocol.runs():
        if not is_finished(run, out):
            continue
        path = out / run.name / RESULT
        try:
            result = json.loads(path.read_text("utf-8"))
            card = result["detector"]
            made = card["training"]
        except (ValueError, KeyError, TypeError) as error:
            raise UnmaskError(
                path, f"is no result of a run ({error!r}): delete it, and the run is done again"
            ) from error
        planned = json.loads(json.dumps(protocol.recipe_of(run, Path(), matched_to_game(protocol, run, out)).to_dict()))
        sections = {name: (made[name], planned[name]) for name in _SECTIONS}
        sections["data"] = _data_of(card), _names_of_tables(planned["data"])
        # What "auto" came to is in the card; a plan that says "auto" takes either.
        precision = planned["run"]["precision"]
        came_to = precision if precision == "auto" else made.get("precision", precision)
        sections["run"] = ({**made["run"], "precision": came_to}, planned["run"])
        # Not in results of an older release.
        sections["tests"] = (result.get("tests", {}), rows_of_tests(protocol))
        for section, (was, now) in sections.items():
            # A card of an older release lacks the keys that came since.
            for key in sorted(was.keys() & now.keys() - set(_FREE.get(section, ()))):
                if was[key] != now[key]:
                    raise UnmaskError(
                        path,
                        f"was made by another version of this comparison ({section}.{key} was {was[key]!r}, "
                        f"is {now[key]!r}): name another --out",
                    )
