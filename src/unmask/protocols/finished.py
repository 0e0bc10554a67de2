"""What a finished run leaves behind, and whether it is this protocol's: a folder may hold another version's."""

from __future__ import annotations

import json
from pathlib import Path

from unmask.errors import UnmaskError
from unmask.protocols.protocol import Protocol, Run

RESULT = "result.json"
SCORES = "scores.npz"

#: The parts of a recipe that a detector's card repeats and that its numbers depend on.
_SECTIONS = ("model", "augmentation", "adversary", "game", "optimiser", "run")
#: Where a run was made, and how often it spoke, are no part of what it is.
_FREE = {"run": ("device", "precision", "log_every", "checkpoint_minutes")}


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
        for section in _SECTIONS:
            if section == "adversary" and protocol.method(run.method).matched:
                continue  # its distribution is that of the game it is matched to
            # A card of an older release lacks the keys that came since.
            for key in sorted(made[section].keys() & planned[section].keys() - set(_FREE.get(section, ()))):
                if made[section][key] != planned[section][key]:
                    raise UnmaskError(
                        path,
                        f"was made by another version of this comparison ({section}.{key} was {made[section][key]!r}, "
                        f"is {planned[section][key]!r}): name another --out",
                    )
