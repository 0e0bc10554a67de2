"""Heat maps are LayerCAM, and hot where the evidence is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unmask.detector.explain import heat_maps
from unmask.errors import UnmaskError
from unmask.game.classifier import Classifier, build_classifier, log_odds

#: Backbones, each with the module whose output the map is taken from.
STAGES = {
    "tf_efficientnet_lite0": "blocks.4",
    "test_resnet": "layer3",
    "mobilenetv3_small_050": "blocks.3",
    "test_convnext": "stages.2",
}


def make(backbone: str) -> Classifier:
    torch.manual_seed(0)
    model = build_classifier(backbone, ("real", "face swap", "reenactment"))
    torch.nn.init.normal_(model.backbone.get_classifier().weight, std=0.3)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return F.interpolate(torch.rand(3, 3, 12, 12), size=(96, 96), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("backbone", STAGES)
def test_the_logits_are_the_classifiers(backbone: str, images: torch.Tensor) -> None:
    model = make(backbone)
    with torch.inference_mode():
        logits, heat = heat_maps(model, images)
        assert torch.allclose(logits, model(images), atol=1e-5)
    assert (heat.dtype, heat.shape) == (torch.float32, (3, 6, 6))
    assert heat.min() >= 0
    assert heat.max() <= 1
    assert not logits.requires_grad
    assert not heat.requires_grad


@pytest.mark.parametrize("backbone", STAGES)
def test_it_is_layer_cam_smoothed_up_to_its_scale(backbone: str, images: torch.Tensor) -> None:
    cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")

    class Reference(cam.LayerCAM):
        """Hands out the map before the library stretches and enlarges it."""

        def get_cam_image(self, *args: object, **kwargs: object) -> np.ndarray:
            self.cells = super().get_cam_image(*args, **kwargs)
            return self.cells

    model = make(backbone)
    with Reference(model, [model.backbone.get_submodule(STAGES[backbone])]) as reference:
        reference(images.clone().requires_grad_(), [lambda logits: log_odds(logits[None])[0]] * len(images))
    expected = _smooth(np.maximum(reference.cells, 0))
    _, heat = heat_maps(model, images)
    assert (heat.amax(dim=(1, 2)) > 0).all()
    for found, wanted in zip(heat.numpy(), expected, strict=True):
        np.testing.assert_allclose(found, wanted * found.max() / wanted.max(), atol=1e-4)


def _smooth(maps: np.ndarray) -> np.ndarray:
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    for axis in (1, 2):
        padded = np.apply_along_axis(np.convolve, axis, padded, [0.25, 0.5, 0.25], mode="valid")
    return padded


def test_an_image_that_is_real_all_over_stays_cold(images: torch.Tensor) -> None:
    model = make("test_resnet")
    weight = model.backbone.get_classifier().weight
    with torch.no_grad():
        weight[1:] = weight[:1]  # log-odds that depend on nothing: log 2
    _, heat = heat_maps(model, images)
    assert heat.max() == 0


def test_the_scale_is_that_of_what_weighs_most_for_either_class(images: torch.Tensor) -> None:
    model = make("test_resnet")
    _, fake = heat_maps(model, images)
    with torch.no_grad():
        weight = model.backbone.get_classifier().weight
        weight[1:] = weight[1:2]
    _, fake = heat_maps(model, images)
    with torch.no_grad():
        weight.copy_(weight.flip(0)[[0, 2, 2]])  # real and fake change places
    _, real = heat_maps(model, images)
    # One of the two maps of an image reaches 1: that of the class for which the weightiest cell speaks.
    assert torch.allclose(torch.maximum(fake.amax(dim=(1, 2)), real.amax(dim=(1, 2))), torch.ones(3))
    assert not torch.allclose(fake, real)


@pytest.mark.parametrize("backbone", ["test_vit"])
def test_a_backbone_without_a_feature_map_is_named(backbone: str) -> None:
    with pytest.raises(UnmaskError, match="no feature map"):
        heat_maps(make(backbone), torch.rand(1, 3, 160, 160))
