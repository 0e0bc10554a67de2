"""Where a classifier looks: Grad-CAM of the log-odds of fake (Selvaraju et al., arXiv 1610.02391)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.layers import SelectAdaptivePool2d
from timm.models import EfficientNet, ResNet, Xception
from torch import Tensor, nn

from unmask.errors import UnmaskError
from unmask.game.classifier import log_odds

if TYPE_CHECKING:
    from unmask.game.classifier import Classifier

#: Backbones with nothing but dropout between the pooled features and the linear layer.
_POOLED = (EfficientNet, ResNet, Xception)


def heat_maps(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and which parts of each image speak for fake.

    The map is relu(sum_c a_c F_c), where F is the output of the backbone's last stage and a_c the mean over all
    cells of the derivative of log P(fake) / P(real) by F_c (equations 1 and 2 of the paper). Behind a global
    average pool and a linear layer that derivative is a difference of rows of the layer: no backward pass is
    needed, and the function can be exported. Other heads are differentiated.

    Args:
        model: a classifier in eval mode.
        images: (B, 3, S, S) in [0, 1].

    Returns:
        Logits (B, classes), and heat (B, h, w), float32 in [0, 1], h and w those of the last feature map. 1 is the cell
        that weighs most in its image, for fake or for real: an image in which everything speaks for real is
        cold all over, not as hot as any other. Each map has its own scale; how fake the image is, the logits say.

    Raises:
        UnmaskError: the backbone's last stage gives no feature map (B, C, h, w), as with transformers.
    """
    head = _linear_head(model.backbone)
    if head is not None:
        features = _features(model, images)
        logits = model.backbone.forward_head(features)  # type: ignore[operator]
        # d log-odds / d logits: the softmax among the manipulations, and -1 for real.
        slope = torch.cat([-torch.ones_like(logits[:, :1]), torch.softmax(logits[:, 1:], dim=1)], dim=1)
        weights = slope @ head.weight / (features.shape[-2] * features.shape[-1])
    else:
        with torch.inference_mode(False), torch.enable_grad():
            # Neither parameters nor images need a gradient: the features are where differentiation starts.
            features = _features(model, images.clone()).detach().requires_grad_()
            logits = model.backbone.forward_head(features)  # type: ignore[operator]
            (slope,) = torch.autograd.grad(log_odds(logits).sum(), features)
            features, logits, weights = features.detach(), logits.detach(), slope.mean(dim=(2, 3))
    cells = torch.einsum("bc,bchw->bhw", weights.float(), features.float())
    top = cells.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return logits, cells.relu() / top


def _features(model: Classifier, images: Tensor) -> Tensor:
    features: Any = model.backbone.forward_features((images - model.mean) / model.std)  # type: ignore[operator]
    channels = getattr(model.backbone, "num_features", None)
    if not isinstance(features, Tensor) or features.ndim != 4 or features.shape[1] != channels:
        raise UnmaskError(type(model.backbone).__name__, "has no last feature map (B, C, h, w) to take a heat map from")
    return features


def _linear_head(backbone: nn.Module) -> nn.Linear | None:
    """The linear layer of a head that is global average pooling and that layer; None for any other head."""
    pool, head = getattr(backbone, "global_pool", None), backbone.get_classifier()  # type: ignore[operator]
    average = isinstance(pool, SelectAdaptivePool2d) and pool.pool_type == "avg"
    return head if isinstance(backbone, _POOLED) and average and isinstance(head, nn.Linear) else None
