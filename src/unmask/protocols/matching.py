"""The control of equal strength: random blur whose sigma is distributed as that of the game it stands beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np

from unmask.errors import UnmaskError
from unmask.game.adversaries.blur_generator import SIGMA_LEVELS
from unmask.protocols.protocol import Protocol, Run


def matched_to_game(protocol: Protocol, run: Run, out: Path) -> list[str]:
    """What a run takes over from the finished game that its method is matched to, as overrides of its recipe.

    Raises:
        UnmaskError: the game's log is not there, or has no sigma.
    """
    game = protocol.game_of(run)
    if game is None:
        return []
    return matched_overrides(out / game.name / "log.jsonl", protocol.method(run.method).match)


def matched_overrides(log: Path, match: Literal["apart", "pooled"]) -> list[str]:
    """Recipe overrides that make ``random-blur`` or ``random-restore`` draw from the sigma a run really played.

    The quantiles of sigma are those of the run's log, averaged over the whole of the training, so that the control is
    as strong as the adversary was on average, at every level from the weakest pixel to the strongest.

    Args:
        log: ``log.jsonl`` of the run.
        match: ``apart``, reals and fakes from their own distributions; ``pooled``, both from the mixture.

    Raises:
        UnmaskError: there is no log; or it has no sigma: the run played no blur.
    """
    rows: dict[str, list[list[float]]] = {"real": [], "fake": []}
    try:
        lines = log.read_text("utf-8").splitlines()
    except OSError as error:
        raise UnmaskError(log, "cannot be read, and a control is matched to it") from error
    for line in lines:
        for name, part in json.loads(line).get("sigma", {}).items():
            rows[name].append([part[f"q{round(100 * level):02d}"] for level in SIGMA_LEVELS])
    if not rows["real"] or not rows["fake"]:
        raise UnmaskError(log, "says nothing about sigma: a control can be matched to a blur only")
    apart = np.stack([np.mean(rows[name], axis=0) for name in ("real", "fake")])
    chosen = apart if match == "apart" else _pooled(apart)
    strongest = float(chosen.max())
    return [
        f"adversary.options.distribution={json.dumps(np.round(chosen, 5).tolist())}",
        f"adversary.options.sigma_max={strongest:.5f}",
    ]


def _pooled(quantiles: np.ndarray) -> np.ndarray:
    """Quantiles (Q,) of the even mixture of the distributions with quantiles (2, Q), read as piecewise linear."""
    values = np.unique(quantiles)
    share = np.mean([np.interp(values, row, SIGMA_LEVELS) for row in quantiles], axis=0)
    return np.interp(SIGMA_LEVELS, share, values)
