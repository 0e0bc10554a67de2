"""From chosen weights to a detector file: calibration and threshold on validation rows, and the card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from unmask import __version__
from unmask.data.table import FaceTable
from unmask.detector import Card, save_detector
from unmask.detector.file import CARD, card_text, read_card
from unmask.errors import UnmaskError
from unmask.evaluation.recalibrate import fit_verdicts, with_calibration
from unmask.evaluation.tested import measure_tested
from unmask.game.adversaries import GeneratorBlur
from unmask.game.classifier import HALF
from unmask.training.recipe import Recipe


def draft_card(recipe: Recipe) -> Card:
    """What the recipe alone says of the detector; calibration, threshold and results are still to be filled in.

    Raises:
        UnmaskError: there can be no detector file of it. Asked before the training, not after it.
    """
    data, plain = recipe.data, recipe.to_dict()
    try:
        card = Card(
            backbone=recipe.model.backbone,
            classes=list(data.classes),
            input_size=data.size,
            mean=list(HALF),
            std=list(HALF),
            crop=data.crop,
            calibration={"method": "temperature", "scale": 1.0, "offset": 0.0},
            threshold=0.5,
            threshold_rule="",
            training={
                "data": [Path(path).name for path in data.train],
                "validation": [Path(path).name for path in data.validation],
                **{name: plain[name] for name in ("model", "augmentation", "adversary", "game", "optimiser", "run")},
                "batch_size": data.batch_size,
                "pairing": data.pairing,
                "self_blend": data.self_blend,
            },
            results={},
            licence=recipe.card.licence,
            intended_use=recipe.card.intended_use,
            limits=recipe.card.limits,
            version=f"{recipe.card.name} {__version__}",
        )
        card_text(card)
    except (TypeError, ValueError) as error:
        raise UnmaskError("recipe", f"of this no detector file can be written: {error}") from error
    return card


def export_detector(
    folder: Path,
    recipe: Recipe,
    stored: dict[str, Tensor],
    odds: np.ndarray,
    fake: np.ndarray,
    history: dict[str, Any],
    *,
    cluster: np.ndarray,
    table: FaceTable,
    adversary: nn.Module | None,
) -> None:
    """Write a detector folder.

    Args:
        folder: where ``model.safetensors`` and ``card.json`` go.
        recipe: of the run.
        stored: the weights as :func:`unmask.detector.file.stored_weights` gives them.
        odds: (N,) raw log-odds of the validation rows under the stored weights.
        fake: (N,) their labels.
        history: what the run knows and the recipe does not.
        cluster: (N,) their groups, held out as a whole where calibrations are compared.
        table: the validation rows, for the tested ranges.
        adversary: the other player; a generator goes into the folder, for the report to show its maps.
    """
    draft = draft_card(recipe)
    limits = list(draft.limits)
    auc = float(roc_auc_score(fake, odds))
    try:
        found = fit_verdicts(odds, fake, cluster)
    except UnmaskError as error:
        # A run that learned nothing still ends with a file that says so, not with hours of work thrown away.
        limits.insert(0, f"It is not calibrated, for it did not learn to tell fakes from reals: {error.reason}.")
        # Log-odds beyond 30 or so would all be a score of 1, which no threshold lies above.
        scale = 30 / max(30.0, float(np.abs(odds).max()))
        found = with_calibration({"method": "temperature", "scale": scale, "offset": 0.0}, odds, fake)
    card = replace(
        draft,
        **vars(found),
        tested=measure_tested(table),
        training={**draft.training, **history},
        results={"validation": {"auc": round(auc, 5), "rows": len(odds)}},
        limits=limits,
    )
    save_detector(folder, stored, card)
    if isinstance(adversary, GeneratorBlur):
        from unmask.detector.adversary import save_adversary

        # The card on disk names its weights; the one here does not.
        written = read_card(folder / CARD)
        origin = {"fitted": "by playing against the detector while it learned", "steps": recipe.run.steps}
        save_adversary(folder, written, adversary, recipe.adversary.name, recipe.adversary.options, origin)
