"""From chosen weights to a detector file: calibration and threshold on validation rows, and the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import Tensor

from unmask import __version__
from unmask.detector import Calibration, Card, calibrated, save_detector
from unmask.errors import UnmaskError
from unmask.evaluation.calibration import choose_threshold, fit_platt
from unmask.game.classifier import HALF
from unmask.training.recipe import Recipe


def stored_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a classifier as a detector file keeps them: float16, half the size of float32.

    Calibration and threshold must be fitted to the scores of these, not of those in memory.
    """
    return {name: t.half() if t.is_floating_point() else t for name, t in state.items()}


def export_detector(
    folder: Path,
    recipe: Recipe,
    stored: dict[str, Tensor],
    odds: np.ndarray,
    fake: np.ndarray,
    history: dict[str, Any],
) -> Card:
    """Write a detector folder.

    Args:
        folder: where ``model.safetensors`` and ``card.json`` go.
        recipe: of the run.
        stored: the weights as :func:`stored_weights` gives them.
        odds: (N,) raw log-odds of the validation rows under the stored weights.
        fake: (N,) their labels.
        history: what the run knows and the recipe does not.
    """
    data, model = recipe.data, recipe.model
    limits = list(recipe.card.limits)
    auc = float(roc_auc_score(fake, odds))
    calibration: Calibration = {"method": "temperature", "scale": 1.0, "offset": 0.0}
    try:
        calibration = fit_platt(odds, fake)
    except UnmaskError as error:
        # A run that learned nothing still ends with a file that says so, not with hours of work thrown away.
        limits.insert(0, f"It is not calibrated, for it did not learn to tell fakes from reals: {error.reason}.")
    threshold, rule = choose_threshold(calibrated(odds, calibration), fake)
    plain = recipe.to_dict()
    card = Card(
        backbone=model.backbone,
        classes=list(data.classes),
        input_size=data.size,
        mean=list(HALF),
        std=list(HALF),
        crop=data.crop,
        calibration=calibration,
        threshold=threshold,
        threshold_rule=rule,
        training={
            "data": [Path(path).name for path in data.train],
            "validation": [Path(path).name for path in data.validation],
            **history,
            **{name: plain[name] for name in ("model", "augmentation", "adversary", "game", "optimiser", "run")},
            "batch_size": data.batch_size,
            "pairing": data.pairing,
        },
        results={"validation": {"auc": round(auc, 5), "rows": len(odds)}},
        licence=recipe.card.licence,
        intended_use=recipe.card.intended_use,
        limits=limits,
        version=f"{recipe.card.name} {__version__}",
    )
    save_detector(folder, stored, card)
    return card
