"""Training augmentation, after the published run: geometry, colour, noise and JPEG, by torchvision v2."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F


@dataclass(frozen=True)
class Augmentation:
    """How strongly a training crop is varied. Each field is a probability in [0, 1] unless it says otherwise.

    The defaults follow the published run (JPEG 60-100, noise .1, flip .5, colour .7, grey .2, geometry .5);
    ``rescale`` goes beyond it: the crop is scaled down and up again, as social networks do.
    """

    enabled: bool = True
    flip: float = 0.5
    #: Shift, scale and rotation; the smallest area share kept is ``min_area``, the angle up to ``degrees``.
    geometry: float = 0.5
    min_area: float = 0.7
    degrees: float = 10.0
    colour: float = 0.7
    grey: float = 0.2
    noise: float = 0.1
    #: Standard deviation of the Gaussian noise at most, in grey levels of 255.
    noise_levels: float = 10.0
    jpeg: float = 0.5
    jpeg_quality: tuple[int, int] = (60, 100)
    rescale: float = 0.0
    #: Smallest scale of ``rescale``, a share of the side.
    min_scale: float = 0.5

    def __post_init__(self) -> None:
        for name in ("flip", "geometry", "colour", "grey", "noise", "jpeg", "rescale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augmentation.{name} is a probability in [0, 1], got {getattr(self, name)}")
        if not 0 < self.min_area <= 1 or not 0 < self.min_scale <= 1:
            raise ValueError("augmentation.min_area and min_scale lie in (0, 1]")
        low, high = self.jpeg_quality
        if not 1 <= low <= high <= 100:
            raise ValueError(f"augmentation.jpeg_quality needs 1 <= low <= high <= 100, got {self.jpeg_quality}")


class Augment:
    """Turn a decoded crop into a training image of a fixed size.

    Random numbers come from torch's global generator: whoever seeds it before a call gets the same image.
    """

    def __init__(self, size: int, augmentation: Augmentation) -> None:
        a = augmentation
        self.size = size
        self.config = a
        self._crop = v2.RandomResizedCrop(size, (a.min_area, 1.0), (0.9, 1.1), antialias=True)
        self._colour = v2.RandomChoice(
            [v2.ColorJitter(brightness=0.25, contrast=0.25), v2.ColorJitter(saturation=0.3, hue=0.04)]
        )

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 (3, H, W) to uint8 (3, size, size)."""
        a, size = self.config, [self.size, self.size]
        if not a.enabled:
            return F.resize(image, size, antialias=True)
        if _chance(a.geometry):
            angle = float(torch.empty(1).uniform_(-a.degrees, a.degrees))
            if _chance(0.5):
                image = F.rotate(image, angle, interpolation=v2.InterpolationMode.BILINEAR)
            image = self._crop(image)
        else:
            image = F.resize(image, size, antialias=True)
        if _chance(a.flip):
            image = F.horizontal_flip(image)
        if _chance(a.colour):
            image = self._colour(image)
        if _chance(a.grey):
            image = F.rgb_to_grayscale(image, num_output_channels=3)
        if _chance(a.rescale):
            small = round(self.size * float(torch.empty(1).uniform_(a.min_scale, 1.0)))
            image = F.resize(F.resize(image, [small, small], antialias=True), size, antialias=True)
        if _chance(a.noise):
            levels = float(torch.empty(1).uniform_(0, a.noise_levels))
            noise = torch.randn(image.shape) * levels
            image = (image + noise).round_().clamp_(0, 255).to(torch.uint8)
        if _chance(a.jpeg):
            low, high = a.jpeg_quality
            image = jpeg(image, int(torch.randint(low, high + 1, (1,))))
        return image


def jpeg(image: Tensor, quality: int) -> Tensor:
    """What JPEG of a quality (1 to 100) leaves of an image, uint8 (3, H, W), RGB; 4:2:0 as cameras write it."""
    bgr = cv2.cvtColor(image.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    rgb = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return torch.from_numpy(rgb).permute(2, 0, 1)


def _chance(probability: float) -> bool:
    # Always draws, so that switching one augmentation off leaves the random numbers of the others alone.
    return float(torch.rand(1)) < probability
