"""Training augmentation, after the published run: geometry, colour, noise and JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from torchvision.transforms.v2 import functional as F

Image = npt.NDArray[np.uint8]

_LEVELS = np.arange(256, dtype=np.float32)


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
        if not 0 <= self.degrees < math.inf or not 0 <= self.noise_levels < math.inf:
            raise ValueError("augmentation.degrees and noise_levels are 0 or more")
        low, high = self.jpeg_quality
        if not 1 <= low <= high <= 100:
            raise ValueError(f"augmentation.jpeg_quality needs 1 <= low <= high <= 100, got {self.jpeg_quality}")


class Augment:
    """Turn a decoded crop into a training image of a fixed size.

    Random numbers come from the generator that a call is given: the same numbers, the same image, in any thread.
    """

    def __init__(self, size: int, augmentation: Augmentation) -> None:
        self.size = size
        self.config = augmentation

    def __call__(self, image: Image, generator: torch.Generator) -> Image:
        """uint8 (H, W, 3) to uint8 (size, size, 3), RGB; the crop itself is left as it is."""
        a, draw = self.config, _Draw(generator)
        if not a.enabled:
            return resize(image, self.size)
        if draw.chance(a.geometry):
            angle = draw.uniform(-a.degrees, a.degrees)
            if draw.chance(0.5):
                image = rotate(image, angle)
            image = resize(self._cropped(image, draw), self.size)
        else:
            image = resize(image, self.size)
        if draw.chance(a.flip):
            image = np.asarray(cv2.flip(image, 1), np.uint8)
        if draw.chance(a.colour):
            image = self._recoloured(image, draw)
        if draw.chance(a.grey):
            image = _saturation(image, 0.0)
        if draw.chance(a.rescale):
            small = max(1, round(self.size * draw.uniform(a.min_scale, 1.0)))
            image = resize(resize(image, small), self.size)
        if draw.chance(a.noise):
            levels = draw.uniform(0, a.noise_levels)
            noise = torch.randn((3, self.size, self.size), generator=generator) * levels
            noisy = torch.from_numpy(image).permute(2, 0, 1) + noise
            image = noisy.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        if draw.chance(a.jpeg):
            low, high = a.jpeg_quality
            image = jpeg(image, draw.integer(low, high + 1))
        return image

    def _cropped(self, image: Image, draw: _Draw) -> Image:
        """A part of the image: ``min_area`` to all of its area, 9:10 to 11:10, anywhere."""
        height, width = image.shape[:2]
        for _ in range(10):
            area = height * width * draw.uniform(self.config.min_area, 1.0)
            aspect = math.exp(draw.uniform(math.log(0.9), math.log(1.1)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top, left = draw.integer(0, height - h + 1), draw.integer(0, width - w + 1)
                return image[top : top + h, left : left + w]
        # Only an image far from square gets here: its middle, as square as the bounds allow.
        h, w = min(height, round(width / 0.9)), min(width, round(height * 1.1))
        top, left = (height - h) // 2, (width - w) // 2
        return image[top : top + h, left : left + w]

    def _recoloured(self, image: Image, draw: _Draw) -> Image:
        """Brightness and contrast, or saturation and hue, in random order."""
        light = draw.index(2) == 0
        order = draw.order(4)
        if light:
            brightness, contrast = draw.uniform(0.75, 1.25), draw.uniform(0.75, 1.25)
            if order.index(0) < order.index(1):
                return _contrast(_brightness(image, brightness), contrast)
            return _brightness(_contrast(image, contrast), brightness)
        saturation, hue = draw.uniform(0.7, 1.3), draw.uniform(-0.04, 0.04)
        if order.index(2) < order.index(3):
            return _hue(_saturation(image, saturation), hue)
        return _saturation(_hue(image, hue), saturation)


def resize(image: Image, size: int) -> Image:
    """uint8 (H, W, 3) to (size, size, 3), bilinear with antialiasing: as finished detectors do it."""
    if image.shape[:2] == (size, size):
        return image
    tensor = F.resize(torch.from_numpy(image).permute(2, 0, 1), [size, size], antialias=True)
    return tensor.permute(1, 2, 0).contiguous().numpy()


def rotate(image: Image, degrees: float) -> Image:
    """Counter-clockwise about the middle, bilinear, black where nothing was."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def jpeg(image: Image, quality: int) -> Image:
    """What JPEG of a quality (1 to 100) leaves of an image, uint8 (H, W, 3), RGB; 4:2:0 as cameras write it."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return simplejpeg.decode_jpeg(encoded, "RGB")


# What follows gives torchvision's pixels (functional.adjust_*, which cut fractions off) to about a level, in a tenth of
# the time: on two cores every second of the loader is taken from training.


def _brightness(image: Image, factor: float) -> Image:
    return _levelled(image, _LEVELS * np.float32(factor))


def _contrast(image: Image, factor: float) -> Image:
    mean = np.float32(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] - 0.5)
    return _levelled(image, _LEVELS * np.float32(factor) + mean * np.float32(1 - factor))


def _levelled(image: Image, levels: npt.NDArray[np.float32]) -> Image:
    """Each of the 256 levels becomes another."""
    return np.asarray(cv2.LUT(image, levels.clip(0, 255).astype(np.uint8)), np.uint8)


def _hue(image: Image, turn: float) -> Image:
    """Turn the hue by a share of the circle."""
    hsv = cv2.cvtColor(image.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2HSV)
    # OpenCV takes degrees from 0 to 360 and no others.
    degrees = hsv[..., 0] + np.float32(360 * (turn % 1))
    hsv[..., 0] = degrees - np.float32(360) * (degrees >= 360)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * np.float32(255.999)
    # Rounding can leave a full channel a hair above 1, which would come round as black.
    return np.minimum(rgb, 255, out=rgb).astype(np.uint8)


def _saturation(image: Image, factor: float) -> Image:
    """1 keeps the colours, 0 is grey."""
    grey = (1 - factor) * np.tile(np.array([[0.2989, 0.587, 0.114]]), (3, 1))
    # Half a level less makes OpenCV's rounding a cut.
    matrix = np.hstack([grey + factor * np.eye(3), np.full((3, 1), -0.499)])
    return np.asarray(cv2.transform(image, matrix), np.uint8)


class _Draw:
    """Random numbers of one image."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def uniform(self, low: float, high: float) -> float:
        return float(torch.empty(1).uniform_(low, high, generator=self._generator))

    def chance(self, probability: float) -> bool:
        # Always draws, so that switching one augmentation off leaves the random numbers of the others alone.
        return float(torch.rand(1, generator=self._generator)) < probability

    def integer(self, low: int, end: int) -> int:
        return int(torch.randint(low, end, (1,), generator=self._generator))

    def index(self, count: int) -> int:
        return int(torch.multinomial(torch.ones(count), 1, generator=self._generator))

    def order(self, count: int) -> list[int]:
        return torch.randperm(count, generator=self._generator).tolist()
