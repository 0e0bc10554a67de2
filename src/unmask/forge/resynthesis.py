"""The whole crop as a generator's decoder renders it: nothing is blended in, all is rendered.

Faces that a network makes as a whole carry the marks of how it enlarges a small code to a picture. AutoGAN (Zhang,
Karaman and Chang, WIFS 2019, arXiv 1907.06515) puts such marks on photographs by an auto-encoder trained against a
discriminator, with no generator of faces at hand; so it is done here. There are an encoder, a decoder for each of the
usual ways to enlarge, and a discriminator of patches (hinge loss). The spectrum of the result is brought back to that
of the photograph, up to the size in which it is rendered, so that a mere loss of sharpness does not give it away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.forge.classical import Forged
from unmask.forge.faces import Faces
from unmask.forge.geometry import AlignedFace, Image
from unmask.forge.learned import PATCH, built, edge_loss, places, to_image, to_tensor
from unmask.forge.learned import fitted as fit

STEPS = 1500
#: Sides to which a crop is brought before it is rendered, pixels: about those of the pictures that classifiers take.
SIDES = (128, 176)
#: Pixels of a side that one cell of the code stands for.
CELL = 4
#: Patches of each face to learn from.
_PATCHES = 2
#: The discriminator's part in the loss, and the share of the steps after which it has one: colours come first.
_ADVERSARIAL, _BEGIN = 0.03, 0.3
#: Rings of the spectrum, from 0 to the Nyquist frequency of a side, and the gains that a ring may get.
_RINGS, _GAINS = 32, (0.25, 4.0)


class Resynthesiser(nn.Module):
    """Pictures (B, 3, H, W), H and W multiples of :data:`CELL`, to a code of 6 numbers a cell, and back."""

    def __init__(self, width: int = 24, code: int = 6) -> None:
        super().__init__()
        wide = 2 * width
        self.encoder = nn.Sequential(
            _conv(3, width, 2), _conv(width, wide, 2), _conv(wide, wide), nn.Conv2d(wide, code, 1)
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(
                _conv(code, wide), _conv(wide, wide), up(wide, width), up(width, width), nn.Conv2d(width, 3, 3, 1, 1)
            )
            for up in UPSAMPLING.values()
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, 0.1)

    def forward(self, images: Tensor, decoder: int) -> Tensor:
        return self.decoders[decoder](self.encoder(4 * images - 2)) / 4 + 0.5


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.LeakyReLU(0.1))


def _nearest(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2), _conv(inside, outside))


def _transposed(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(inside, outside, 4, 2, 1), nn.LeakyReLU(0.1))


def _shuffled(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inside, 4 * outside, 3, 1, 1), nn.PixelShuffle(2), nn.LeakyReLU(0.1))


#: The usual ways to double the sides of a feature map, each the making of a layer from its channels.
UPSAMPLING: dict[str, Callable[[int, int], nn.Module]] = {
    "nearest": _nearest,
    "transposed": _transposed,
    "shuffled": _shuffled,
}


class Discriminator(nn.Module):
    """Pictures (B, 3, H, W) to a map of logits, one a patch: large for photographs."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        layers: list[nn.Module] = []
        for inside, outside, stride in ((3, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 1)):
            layers += [norm(nn.Conv2d(inside, outside, 3, stride, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, norm(nn.Conv2d(4 * width, 1, 3, 1, 1)))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(4 * images - 2)


def fitted(
    faces: Faces, models: Path, seed: int, progress: Callable[[int, int], None] | None = None, steps: int = STEPS
) -> Resynthesis:
    """The forgery with its network from ``models/resynthesis.safetensors``, or fitted to the faces and kept there."""
    model, critic = built(Resynthesiser, seed), built(Discriminator, seed)
    optimiser = torch.optim.Adam(critic.parameters(), 1e-3, (0.5, 0.99))
    step = 0

    def loss(model: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
        nonlocal step
        step += 1
        parts = images.chunk(len(UPSAMPLING))
        rendered = torch.cat([model(part, decoder) for decoder, part in enumerate(parts)])
        faithful = F.l1_loss(rendered, images) + 2 * edge_loss(rendered, images)
        if step < _BEGIN * steps:
            return faithful
        optimiser.zero_grad(set_to_none=True)
        (F.relu(1 - critic(images)).mean() + F.relu(1 + critic(rendered.detach())).mean()).backward()
        optimiser.step()
        critic.requires_grad_(False)
        adversarial = -critic(rendered).mean()
        critic.requires_grad_(True)
        return faithful + _ADVERSARIAL * adversarial

    model = fit(model, models / "resynthesis.safetensors", lambda: _patches(faces, seed), loss, steps, seed, progress)
    assert isinstance(model, Resynthesiser)
    return Resynthesis(model)


def _patches(faces: Faces, seed: int) -> Tensor:
    """(N, 3, PATCH, PATCH) uint8: some patches of every face, in the sizes in which faces are rendered."""
    rng = np.random.default_rng(seed)
    patches = []
    for place in places(faces):
        crop = faces.face(place).image
        for _ in range(_PATCHES):
            image = _sized(crop, rng)
            y, x = (int(rng.integers(side - PATCH + 1)) for side in image.shape[:2])
            patches.append(torch.from_numpy(image[y : y + PATCH, x : x + PATCH].transpose(2, 0, 1).copy()))
    return torch.stack(patches)


def _sized(image: Image, rng: np.random.Generator) -> Image:
    side = CELL * int(rng.integers(SIDES[0] // CELL, SIDES[1] // CELL + 1))
    return _resized(image, side, side)


def _resized(image: Image, height: int, width: int) -> Image:
    how = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8, copy=False)


class Resynthesis:
    """``(target, donor, rng)`` to the forged crop and its mask, which is all of it. The donor is not used."""

    def __init__(self, model: Resynthesiser) -> None:
        self.model = model

    @torch.inference_mode()
    def __call__(self, target: AlignedFace, donor: AlignedFace | None, rng: np.random.Generator) -> Forged:
        height, width = target.image.shape[:2]
        image = _sized(target.image, rng)
        rendered = to_image(self.model(to_tensor(image)[None], int(rng.integers(len(UPSAMPLING))))[0])
        forged = _resized(match_spectrum(rendered, image), height, width)
        return forged, np.full((height, width), 255, np.uint8)


def match_spectrum(image: Image, like: Image) -> Image:
    """An image (H, W, 3) with the radial power spectrum of another of its size, by channel; gains are bounded."""
    rows, columns = np.fft.fftfreq(image.shape[0]), np.fft.rfftfreq(image.shape[1])
    ring = np.rint(np.hypot(rows[:, None], columns) * 2 * _RINGS).astype(int)
    ours, theirs = (np.fft.rfft2(picture.astype(np.float64), axes=(0, 1)) for picture in (image, like))
    for channel in range(3):
        power, wanted = (
            np.bincount(ring.ravel(), np.abs(spectrum[..., channel]).ravel() ** 2) for spectrum in (ours, theirs)
        )
        gain = np.sqrt(wanted / np.maximum(power, 1e-9)).clip(*_GAINS)
        ours[..., channel] *= gain[ring]
    return np.rint(np.fft.irfft2(ours, image.shape[:2], axes=(0, 1)).clip(0, 255)).astype(np.uint8)
