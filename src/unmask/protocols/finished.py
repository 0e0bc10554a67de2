"""What a finished run leaves behind, and whether it is this protocol's: a folder may hold another version's."""

from __future__ import annotations

import json
from pathlib import Path

from unmask.errors import UnmaskError
from unmask.protocols.protocol import Protocol, Run

RESULT = "result.json"

#: The parts of a recipe that a detector's card repeats and that its numbers depend on.
_SECTIONS = ("model", "augmentation", "adversary", "game", "optimiser", "run")
#: Where a run was made, and how often it spoke, are no part of what it is.
_FREE = {"run": ("device", "log_every", "checkpoint_minutes")}
#: The part of ``data`` that a card has, at its top.
_DATA = ("batch_size", "pairing", "self_blend")


def is_finished(run: Run, out: Path) -> bool:
    """Whether the run's result is there."""
    return (out / run.name / RESULT).is_file()


def check_finished(protocol: Protocol, out: Path) -> None:
    """Every finished run was made as the protocol says now.

    Raises:
        UnmaskError: one was not, as after ``--quick`` or an edit of the file; the message names the run and the key.
    """
    for run in protocol.runs():
        if not is_finished(run, out):
            continue
        path = out / run.name / RESULT
        made = json.loads(path.read_text())["detector"]["training"]
        planned = json.loads(json.dumps(protocol.recipe_of(run, Path()).to_dict()))
        sections = {name: (made[name], planned[name]) for name in _SECTIONS}
        sections["data"] = ({key: made[key] for key in _DATA if key in made}, planned["data"])
        # What "auto" came to is in the card; a plan that says "auto" takes either.
        precision = planned["run"]["precision"]
        came_to = precision if precision == "auto" else made.get("precision", precision)
        sections["run"] = ({**made["run"], "precision": came_to}, planned["run"])
        for section, (was, now) in sections.items():
            if section == "adversary" and protocol.method(run.method).matched:
                continue  # its distribution is that of the game it is matched to
            # A card of an older release lacks the keys that came since.
            for key in sorted(was.keys() & now.keys() - set(_FREE.get(section, ()))):
                if was[key] != now[key]:
                    raise UnmaskError(
                        path,
                        f"was made by another version of this comparison ({section}.{key} was {was[key]!r}, "
                        f"is {now[key]!r}): name another --out",
                    )
