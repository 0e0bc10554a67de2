from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from unmask.detector import Card, save_detector
from unmask.faces.crop import CropRecipe
from unmask.game.classifier import build_classifier

BACKBONE = "test_efficientnet"

# A busy machine must not fail a test that is right.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def card() -> Card:
    return Card(
        backbone=BACKBONE,
        classes=["real", "face swap", "reenactment"],
        input_size=48,
        mean=[0.5, 0.5, 0.5],
        std=[0.5, 0.5, 0.5],
        crop=CropRecipe(margin=1.3, shift_y=0.02, size=64),
        calibration={"method": "platt", "scale": 0.7, "offset": -0.2},
        threshold=0.62,
        threshold_rule="by hand",
        training={"data": "none", "steps": 0},
        results={},
        licence="Apache-2.0",
        intended_use="tests",
        limits=["knows nothing"],
        version="0.1",
        uncertain=(0.5, 0.62),
    )


@pytest.fixture(scope="session")
def state() -> dict[str, torch.Tensor]:
    """Weights of an untrained classifier whose scores still differ from image to image."""
    torch.manual_seed(0)
    model = build_classifier(BACKBONE, ["real", "face swap", "reenactment"], pretrained="none")
    model.train()
    with torch.no_grad():
        for _ in range(30):  # BatchNorm statistics that belong to images
            model(torch.rand(16, 3, 6, 6).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3))
        for parameter in model.backbone.get_classifier().parameters():
            parameter.mul_(20)
    return model.state_dict()


@pytest.fixture
def folder(tmp_path: Path, card: Card, state: dict[str, torch.Tensor]) -> Path:
    return save_detector(tmp_path / "detector", state, card)
