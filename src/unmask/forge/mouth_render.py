"""The mouth painted anew by a network that sees what surrounds it and a coarse picture of another mouth.

An image-space stand-in for NeuralTextures (Thies et al., SIGGRAPH 2019, arXiv 1904.12356), which changes the mouth
alone: here a small U-Net fills the hidden mouth so that it agrees with a grey 6 x 6 pixel picture of the wanted one. It
learns on the faces' own mouths, and is then shown a donor's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unmask.forge.classical import Forged, paste
from unmask.forge.faces import Faces
from unmask.forge.geometry import MOUTH, AlignedFace
from unmask.forge.learned import PATCH, Square, built, edge_loss, patch, patches, to_image
from unmask.forge.learned import fitted as fit

#: The square of the template that is rendered: mouth, nostrils and chin.
SQUARE: Square = (32.0, 67.0, 48.0)
STEPS = 1200
#: Pixels of the picture that says what the mouth should do.
CODE = 6


class MouthRenderer(nn.Module):
    """The surroundings with the mouth hidden, where it is hidden, and the code, (B, 5, 64, 64), to (B, 3, 64, 64)."""

    def __init__(self, width: int = 20) -> None:
        super().__init__()

        def conv(inside: int, outside: int, stride: int = 1) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.LeakyReLU(0.1))

        self.first = conv(5, width)
        self.to_half = conv(width, 2 * width, 2)
        self.to_quarter = conv(2 * width, 4 * width, 2)
        self.inner = nn.Sequential(conv(4 * width, 4 * width, 2), nn.ConvTranspose2d(4 * width, 4 * width, 4, 2, 1))
        self.up_half = nn.ConvTranspose2d(8 * width, 2 * width, 4, 2, 1)
        self.up_full = nn.ConvTranspose2d(4 * width, width, 4, 2, 1)
        self.last = nn.Conv2d(2 * width, 3, 3, 1, 1)
        hidden = torch.zeros(1, 1, PATCH, PATCH)
        zoom = PATCH / SQUARE[2]
        (x, y), (a, b) = MOUTH
        rows, columns = torch.meshgrid(torch.arange(PATCH), torch.arange(PATCH), indexing="ij")
        inside = (((columns / zoom + SQUARE[0] - x) / a) ** 2 + ((rows / zoom + SQUARE[1] - y) / b) ** 2) < 1
        hidden[0, 0] = inside.float()
        self.register_buffer("hidden", hidden)

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Patches (B, 3, 64, 64) and their codes (B, 1, 64, 64)."""
        hidden = self.hidden
        assert isinstance(hidden, Tensor)
        shown = torch.cat([images * (1 - hidden), hidden.expand(len(images), -1, -1, -1), codes * hidden], dim=1)
        first = self.first(shown)
        half = self.to_half(first)
        quarter = self.to_quarter(half)
        up = nn.functional.leaky_relu(self.up_half(torch.cat([quarter, self.inner(quarter)], 1)), 0.1)
        up = nn.functional.leaky_relu(self.up_full(torch.cat([half, up], 1)), 0.1)
        return self.last(torch.cat([first, up], 1))


def fitted(
    faces: Faces, models: Path, seed: int, progress: Callable[[int, int], None] | None = None, steps: int = STEPS
) -> MouthForgery:
    """The forgery with its network from ``models/mouth-render.safetensors``, or fitted to the faces and kept there."""
    model = built(MouthRenderer, seed)

    def loss(model: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
        rendered = model(images, code(images))
        # Edges count as much as colours, or lips and teeth would be smeared.
        return nn.functional.l1_loss(rendered, images) + 2 * edge_loss(rendered, images)

    model = fit(model, models / "mouth-render.safetensors", lambda: patches(faces, SQUARE), loss, steps, seed, progress)
    assert isinstance(model, MouthRenderer)
    return MouthForgery(model)


def code(images: Tensor) -> Tensor:
    """What the mouths of (B, 3, S, S) do: light and dark in :data:`CODE` squared cells, spread out again, (B, 1, S, S).

    Of mean 0 and spread 1: complexion and light are the target's own affair.
    """
    grey = images.mean(dim=1, keepdim=True)
    cells = nn.functional.interpolate(grey, (CODE, CODE), mode="area")
    cells = (cells - cells.mean((2, 3), True)) / cells.std((2, 3), keepdim=True).clamp(min=0.02)
    return nn.functional.interpolate(cells, images.shape[-2:], mode="bilinear")


class MouthForgery:
    """``(target, donor, rng)`` to the forged crop and its mask."""

    def __init__(self, model: MouthRenderer) -> None:
        self.model = model

    @torch.inference_mode()
    def __call__(self, target: AlignedFace, donor: AlignedFace, rng: np.random.Generator) -> Forged:
        ours, theirs = patch(target, SQUARE), patch(donor, SQUARE)
        rendered = self.model(ours[None], code(theirs[None]))[0]
        return paste(target, to_image(rendered), SQUARE, MOUTH, rng)
