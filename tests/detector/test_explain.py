"""Heat maps are Grad-CAM, whichever way they are computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmask.detector.explain import _linear_head, heat_maps
from unmask.errors import UnmaskError
from unmask.game.classifier import Classifier, build_classifier, log_odds

CLOSED, DIFFERENTIATED = ("tf_efficientnet_lite0", "test_resnet"), ("mobilenetv3_small_050", "test_convnext")


def make(backbone: str) -> Classifier:
    torch.manual_seed(0)
    model = build_classifier(backbone, ("real", "face swap", "reenactment"))
    torch.nn.init.normal_(model.backbone.get_classifier().weight, std=0.3)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.nn.functional.interpolate(torch.rand(3, 3, 12, 12), size=(96, 96), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("backbone", CLOSED + DIFFERENTIATED)
def test_the_logits_are_the_classifiers(backbone: str, images: torch.Tensor) -> None:
    model = make(backbone)
    assert (_linear_head(model.backbone) is not None) == (backbone in CLOSED)
    with torch.inference_mode():
        logits, heat = heat_maps(model, images)
        assert torch.allclose(logits, model(images), atol=1e-5)
    assert (heat.dtype, heat.ndim, len(heat)) == (torch.float32, 3, 3)
    assert heat.shape[1] == heat.shape[2] > 1
    assert heat.min() >= 0
    assert heat.max() <= 1


@pytest.mark.parametrize("backbone", CLOSED + DIFFERENTIATED)
def test_it_is_grad_cam_up_to_its_scale(backbone: str, images: torch.Tensor) -> None:
    cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")

    class Reference(cam.GradCAM):
        """Hands out the map before the library clips, stretches and enlarges it."""

        def get_cam_image(self, *args: object, **kwargs: object) -> np.ndarray:
            self.cells = super().get_cam_image(*args, **kwargs)
            return self.cells

    model = make(backbone)
    last = {
        "tf_efficientnet_lite0": lambda net: net.bn2,
        "test_resnet": lambda net: net.layer4,
        "mobilenetv3_small_050": lambda net: net.blocks,
        "test_convnext": lambda net: net.stages,
    }[backbone](model.backbone)
    with Reference(model, [last]) as reference:
        reference(images.clone().requires_grad_(), [lambda logits: log_odds(logits[None])[0]] * len(images))
    expected = reference.cells
    _, heat = heat_maps(model, images)
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(heat.numpy(), np.maximum(expected, 0) / scale, atol=1e-4)


@pytest.mark.parametrize("backbone", CLOSED)
def test_both_ways_agree(backbone: str, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(backbone)
    _, closed = heat_maps(model, images)
    monkeypatch.setattr("unmask.detector.explain._linear_head", lambda backbone: None)
    _, differentiated = heat_maps(model, images)
    assert torch.allclose(closed, differentiated, atol=1e-4)


def test_an_image_that_is_real_all_over_stays_cold(images: torch.Tensor) -> None:
    model = make("test_resnet")
    with torch.no_grad():
        # The features follow a ReLU: with these weights every cell speaks for real.
        model.backbone.get_classifier().weight.copy_(
            torch.tensor([[1.0], [-1.0], [-1.0]]).expand(3, model.backbone.num_features)
        )
    _, heat = heat_maps(model, images)
    assert heat.max() == 0
    with torch.no_grad():
        model.backbone.get_classifier().weight.neg_()
    _, heat = heat_maps(model, images)
    assert torch.allclose(heat.amax(dim=(1, 2)), torch.ones(3))


def test_a_backbone_without_a_feature_map_is_named() -> None:
    with pytest.raises(UnmaskError, match="no last feature map"):
        heat_maps(make("test_vit"), torch.rand(1, 3, 160, 160))


def test_the_closed_form_can_be_exported(images: torch.Tensor) -> None:
    class Both(torch.nn.Module):
        def __init__(self, model: Classifier) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return heat_maps(self.model, images)

    model = make("test_resnet")
    exported = torch.export.export(Both(model), (images,)).module()
    for found, expected in zip(exported(images), heat_maps(model, images), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)
