"""The face as a shared-encoder auto-encoder renders it: low resolution, and the grid of its transposed convolutions.

As the first deepfakes: one encoder, a decoder for either of two groups of people, trained to undo a warp; a face of
one group decoded by the other (https://github.com/deepfakes/faceswap describes the scheme). With one frame a person
there are groups in place of persons, and the code of the target is moved towards the donor's.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from unmask.forge.classical import Forged, paste
from unmask.forge.faces import Faces
from unmask.forge.geometry import FACE, AlignedFace
from unmask.forge.learned import Square, built, distorted, group, patch, patches, places, to_image
from unmask.forge.learned import fitted as fit

#: The square of the template that is rendered: the inner face with a rim.
SQUARE: Square = (15.0, 31.0, 82.0)
STEPS = 1500


class AutoEncoder(nn.Module):
    """64 px in, 64 px out; a code of 192 numbers between, and two decoders."""

    def __init__(self, width: int = 24, code: int = 192) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width, 8 * width]

        def down(inside: int, outside: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inside, outside, 4, 2, 1), nn.LeakyReLU(0.1))

        def up(inside: int, outside: int) -> nn.Module:
            return nn.Sequential(nn.ConvTranspose2d(inside, outside, 4, 2, 1), nn.LeakyReLU(0.1))

        self.encoder = nn.Sequential(
            *[down(a, b) for a, b in pairwise(sizes)],
            nn.Flatten(),
            nn.Linear(16 * sizes[-1], code),
        )
        back = sizes[::-1]
        self.decoders = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Linear(code, 16 * back[0]),
                    nn.Unflatten(1, (back[0], 4, 4)),
                    *[up(a, b) for a, b in pairwise(back[:-1])],
                    nn.ConvTranspose2d(back[-2], 3, 4, 2, 1),
                )
                for _ in range(2)
            ]
        )

    def decode(self, code: Tensor, groups: Tensor) -> Tensor:
        """Codes (B, C) by the decoders of groups (B,)."""
        both = torch.stack([decoder(code) for decoder in self.decoders])
        return both[groups, torch.arange(len(code))]


def fitted(
    faces: Faces, models: Path, seed: int, progress: Callable[[int, int], None] | None = None, steps: int = STEPS
) -> AutoEncoderForgery:
    """The forgery with its network from ``models/autoencoder.safetensors``, or fitted to the faces and kept there."""
    model = built(AutoEncoder, seed)
    groups = torch.tensor([group(faces, place) for place in places(faces)])

    def loss(model: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
        assert isinstance(model, AutoEncoder)
        return nn.functional.l1_loss(model.decode(model.encoder(distorted(images)), groups[rows]), images)

    model = fit(model, models / "autoencoder.safetensors", lambda: patches(faces, SQUARE), loss, steps, seed, progress)
    assert isinstance(model, AutoEncoder)
    return AutoEncoderForgery(model)


class AutoEncoderForgery:
    """``(target, donor, rng)`` to the forged crop and its mask."""

    def __init__(self, model: AutoEncoder) -> None:
        self.model = model

    @torch.inference_mode()
    def __call__(self, target: AlignedFace, donor: AlignedFace, rng: np.random.Generator) -> Forged:
        codes = self.model.encoder(torch.stack([patch(target, SQUARE), patch(donor, SQUARE)]))
        code = torch.lerp(codes[:1], codes[1:], float(rng.uniform(0.15, 0.4)))
        decoder = torch.tensor([int(rng.integers(2))])
        rendered = to_image(self.model.decode(code, decoder)[0])
        # Every tool sharpens what comes out of the decoder.
        soft = cv2.GaussianBlur(rendered, (0, 0), 1.5)
        amount = float(rng.uniform(0.5, 1.5))
        rendered = cv2.addWeighted(rendered, 1 + amount, soft, -amount, 0).astype(np.uint8, copy=False)
        return paste(target, rendered, SQUARE, FACE, rng)
