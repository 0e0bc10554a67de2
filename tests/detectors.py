"""Detectors on disk, for tests that need one whose verdict does not matter."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from unmask.detector import Card, save_detector
from unmask.detector.file import BUNDLED
from unmask.faces import CropRecipe


def make_card(**changes: Any) -> Card:
    card = Card(
        backbone="tf_efficientnet_lite0",
        classes=["real", "fake"],
        input_size=64,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        crop=CropRecipe(size=64),
        calibration={"method": "platt", "scale": 1.0, "offset": 0.0},
        threshold=0.5,
        threshold_rule="5 % false positives on validation reals",
        training={"data": "none", "steps": 0},
        results={"test": {"auc": {"value": 0.5, "low": 0.4, "high": 0.6}, "rows": 10}},
        licence="Apache-2.0",
        intended_use="tests",
        limits=["It has learned nothing.", "Names like <b>this</b> stay text."],
        version="7",
    )
    return replace(card, **changes)


def make_detector(folder: Path, **changes: Any) -> Path:
    import torch  # here: a worker that imports a test's module loads this one as well, and would wait for torch

    from unmask.game.classifier import build_classifier

    card = make_card(**changes)
    torch.manual_seed(0)
    model = build_classifier(card.backbone, card.classes, card.mean, card.std)
    return save_detector(folder, model.state_dict(), card)


def without_torch(folder: Path) -> Path:
    """The bundled detector as ``unmask export`` leaves it: nothing in the folder needs torch."""
    folder.mkdir()
    for name in ("model.onnx", "heat.onnx"):
        shutil.copy(BUNDLED / "default" / name, folder)
    card = json.loads((BUNDLED / "default" / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"adversary": None, "version": "7"}))
    return folder
