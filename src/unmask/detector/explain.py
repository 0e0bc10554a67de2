"""Where a classifier looks: LayerCAM of the log-odds of fake.

Jiang et al., *LayerCAM*, IEEE TIP 2021, doi 10.1109/TIP.2021.3089943.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.errors import UnmaskError
from unmask.game.classifier import log_odds

if TYPE_CHECKING:
    from unmask.game.classifier import Classifier

#: The map is taken where a cell is so many pixels wide. In the last stage, twice as coarse, each cell has seen the
#: whole face already, and the hottest one says next to nothing about the place (``unmask evaluate --where``).
STRIDE = 16


def heat_maps(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and which parts of each image speak for fake.

    The map is relu(sum_c relu(g_c) F_c), cell by cell, where F is the backbone's last feature map whose cells are at
    most :data:`STRIDE` pixels wide, and g the derivative of log P(fake) / P(real) by it; then smoothed by [1 2 1] / 4
    in both directions. What speaks for real, the same with -g, only sets the scale.

    Args:
        model: a classifier in eval mode.
        images: (B, 3, S, S) in [0, 1].

    Returns:
        Logits (B, classes), and heat (B, h, w), float32 in [0, 1], h and w those of the feature map. 1 is the cell that
        weighs most in its image, for fake or for real: an image in which everything speaks for real is cold all over,
        not as hot as any other. Each map has its own scale; how fake the image is, the logits say.

    Raises:
        UnmaskError: the backbone has no feature map (B, C, h, w) on the way to its logits, as with transformers.
    """
    with torch.inference_mode(False), torch.enable_grad():
        logits, features = _forward(model, images.clone().requires_grad_())
        (slope,) = torch.autograd.grad(log_odds(logits).sum(), features, allow_unused=True)
    if slope is None or features.ndim != 4:
        raise _no_map(model)
    features, slope = features.detach().float(), slope.float()
    fake, real = ((side.relu() * features).sum(dim=1).relu() for side in (slope, -slope))
    line = torch.tensor([0.25, 0.5, 0.25], device=features.device)
    cells = F.pad(torch.stack([fake, real], dim=1), (1, 1, 1, 1), mode="replicate")
    cells = F.conv2d(cells, (line[:, None] * line).expand(2, 1, 3, 3), groups=2)
    return logits.detach(), cells[:, 0] / cells.amax(dim=(1, 2, 3)).clamp(min=1e-12)[:, None, None]


def _forward(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the feature map on the way to them."""
    backbone: Any = model.backbone
    try:
        widths = [stage["reduction"] for stage in backbone.feature_info]
        place = max(place for place, width in enumerate(widths) if width <= STRIDE)
        final, (features,) = backbone.forward_intermediates((images - model.mean) / model.std, indices=[place])
    except (AttributeError, ValueError) as error:
        raise _no_map(model) from error
    return backbone.forward_head(final), features


def _no_map(model: Classifier) -> UnmaskError:
    name = type(model.backbone).__name__
    return UnmaskError(name, "has no feature map (B, C, h, w) on the way to its logits to take a heat map from")
