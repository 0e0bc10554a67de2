"""Qualities by real codecs: what H.264, H.265, VP9, JPEG, WebP, resizing and sensors leave of a face.

Video codecs predict from frame to frame, and a single crop has no neighbours. So each crop becomes a short clip that
pans by whole pixels over the crop with its border reflected, is coded as a clip, and the middle frame, which is a
predicted one and stands where the crop stood, is taken back. libx264 runs with FF++'s ``-crf 23`` and
``40``, preset medium (Roessler et al., ICCV 2019, arXiv 1901.08971), but for what :func:`h264` says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from unmask.errors import UnmaskError

Image = npt.NDArray[np.uint8]
Step = Callable[[Image, np.random.Generator], Image]

#: Frames of the clip a crop becomes; the middle one is taken back.
FRAMES = 7
#: How far the clip pans away from the crop, pixels.
_REACH = 12
#: Smallest side that is coded, pixels: libx265 refuses less than one of its blocks. A smaller crop is mirrored on.
_SMALLEST = 64


@dataclass(frozen=True)
class Quality:
    """A named chain of steps, each a function of an image and the random numbers of its seed."""

    name: str
    description: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class VideoCodec:
    """One pass through a video encoder and its decoder.

    Attributes:
        encoder, decoder: FFmpeg names.
        options: of the encoder; quality above all.
    """

    encoder: str
    decoder: str
    options: tuple[tuple[str, str], ...]

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        frames = pan(image, rng)
        return self.transcode(frames)[FRAMES // 2][: image.shape[0], : image.shape[1]]

    def transcode(self, frames: Sequence[Image]) -> list[Image]:
        """Frames of one even size, coded as one clip and decoded again."""
        height, width = frames[0].shape[:2]
        encoder = cast(VideoCodecContext, av.CodecContext.create(self.encoder, "w"))
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
        encoder.options, encoder.thread_count = dict(self.options), 1
        packets = []
        for time, image in enumerate(frames):
            frame = VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = time, encoder.time_base
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        decoder = cast(VideoCodecContext, av.CodecContext.create(self.decoder, "r"))
        decoder.thread_count = 1
        if encoder.extradata:
            decoder.extradata = encoder.extradata
        decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
        decoded.sort(key=lambda frame: frame.pts or 0)
        if len(decoded) != len(frames):
            raise ValueError(f"{self.encoder} gave {len(decoded)} of {len(frames)} frames back")
        return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in decoded]


def pan(image: Image, rng: np.random.Generator) -> list[Image]:
    """The clip of a crop: :data:`FRAMES` views of even size, 1 to 3 pixels apart, the middle one in place."""
    height, width = (max(_SMALLEST, length + length % 2) for length in image.shape[:2])
    border = ((_REACH, _REACH + height - image.shape[0]), (_REACH, _REACH + width - image.shape[1]), (0, 0))
    # `symmetric` repeats as often as needed, so that a crop may be smaller than its border.
    wide = np.pad(image, border, mode="symmetric")
    angle, speed = rng.uniform(0, 2 * math.pi), rng.uniform(1, 3)
    views = []
    for time in range(-(FRAMES // 2), FRAMES - FRAMES // 2):
        x = _REACH + round(time * speed * math.cos(angle))
        y = _REACH + round(time * speed * math.sin(angle))
        views.append(np.ascontiguousarray(wide[y : y + height, x : x + width]))
    return views


@dataclass(frozen=True)
class ImageCodec:
    """One pass through an image format: ``.jpg`` (4:2:0, as cameras write it) or ``.webp``, at a quality of 100."""

    suffix: str
    quality: int

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        option = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}[self.suffix]
        done, data = cv2.imencode(self.suffix, image[..., ::-1], [option, self.quality])
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
        if decoded is None:
            raise ValueError(f"{self.suffix} cannot hold {image.shape[1]} x {image.shape[0]} pixels")
        return np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Resized:
    """Scaled down by ``scale``, then the inner steps, then scaled back to where it was."""

    scale: float
    inner: tuple[Step, ...] = ()

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        height, width = image.shape[:2]
        small = (max(1, round(width * self.scale)), max(1, round(height * self.scale)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        for step in self.inner:
            image = step(image, rng)
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class SensorNoise:
    """Shot and read noise in linear light: variance ``shot`` * signal + ``read``^2, signal in [0, 1].

    The heteroscedastic model of Foi et al., IEEE TIP 2008, doi 10.1109/TIP.2008.2001399.
    """

    shot: float
    read: float

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        linear = (image / 255.0) ** 2.2
        noisy = linear + rng.standard_normal(image.shape) * np.sqrt(self.shot * linear + self.read**2)
        return np.rint(255 * noisy.clip(0, 1) ** (1 / 2.2)).astype(np.uint8)


@dataclass(frozen=True)
class Sharpened:
    """Unsharp mask of radius 1 pixel, as networks put it after scaling down."""

    amount: float

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        soft = cv2.GaussianBlur(image, (0, 0), 1.0)
        return cv2.addWeighted(image, 1 + self.amount, soft, -self.amount, 0).astype(np.uint8, copy=False)


def h264(crf: int) -> VideoCodec:
    """libx264 at FF++'s preset (medium) and constant rate factor, but without its macroblock tree.

    With the tree, coding the same clip twice gave different pixels (46 of 120 DFDC crops at 23, 45 at 40; without it
    none). The price: the result is milder than with the tree, by 0.9 dB PSNR at 23 and 1.5 dB at 40 on those crops.
    """
    return VideoCodec("libx264", "h264", (("crf", str(crf)), ("preset", "medium"), ("x264-params", "mbtree=0")))


def h265(crf: int) -> VideoCodec:
    """libx265, preset fast."""
    quiet = "log-level=none:pools=none:frame-threads=1"
    return VideoCodec("libx265", "hevc", (("crf", str(crf)), ("preset", "fast"), ("x265-params", quiet)))


def vp9(crf: int) -> VideoCodec:
    """libvpx-vp9 in constant quality mode."""
    options = (("crf", str(crf)), ("b", "0"), ("deadline", "realtime"), ("cpu-used", "6"), ("lag-in-frames", "0"))
    return VideoCodec("libvpx-vp9", "vp9", options)


jpeg = partial(ImageCodec, ".jpg")
webp = partial(ImageCodec, ".webp")

#: Every quality by name.
QUALITIES: dict[str, Quality] = {
    quality.name: quality
    for quality in (
        Quality("source", "as it is", ()),
        *(Quality(f"h264-{crf}", f"H.264, constant rate factor {crf}", (h264(crf),)) for crf in (23, 28, 32, 36, 40)),
        *(Quality(f"h265-{crf}", f"H.265, constant rate factor {crf}", (h265(crf),)) for crf in (28, 35)),
        *(Quality(f"vp9-{crf}", f"VP9, constant quality {crf}", (vp9(crf),)) for crf in (35, 50)),
        *(Quality(f"jpeg-{q}", f"JPEG, quality {q}, 4:2:0", (jpeg(q),)) for q in (95, 90, 60, 30)),
        Quality("webp-50", "WebP, quality 50", (webp(50),)),
        Quality("half", "half the size and back", (Resized(0.5),)),
        Quality("half-h264-32", "half the size, H.264 at 32, and back", (Resized(0.5, (h264(32),)),)),
        Quality("h264-32-half", "H.264 at 32, then half the size and back", (h264(32), Resized(0.5))),
        Quality("noise", "sensor noise of a dim room", (SensorNoise(0.001, 0.004),)),
        Quality(
            "social-video",
            "as video networks do: H.264 at 23, scaled to 0.6, sharpened, H.264 at 30, scaled back",
            (h264(23), Resized(0.6, (Sharpened(0.4), h264(30)))),
        ),
        Quality(
            "social-photo",
            "as messengers and photo networks do: JPEG 80, scaled to 0.7, JPEG 60, scaled back, WebP 70",
            (jpeg(80), Resized(0.7, (jpeg(60),)), webp(70)),
        ),
    )
}

#: Shorter names: FF++'s, and c32 after their pattern.
ALIASES = {"raw": "source", "c23": "h264-23", "c32": "h264-32", "c40": "h264-40"}


def get_quality(name: str) -> Quality:
    """A quality by its name or its shorter one (:data:`ALIASES`).

    Raises:
        UnmaskError: there is none; the message lists them.
    """
    quality = QUALITIES.get(ALIASES.get(name, name))
    if quality is None:
        raise UnmaskError(f"quality {name!r}", f"expected one of {', '.join((*QUALITIES, *ALIASES))}")
    return quality


def degrade_image(image: Image, quality: str, seed: int | str = 0) -> Image:
    """What a quality leaves of an image.

    Args:
        image: uint8 (H, W, 3) RGB of any size from 2 x 2 on.
        quality: a name of :data:`QUALITIES`.
        seed: of the camera's motion and of noise: the same seed gives the same pixels, on every machine with the
            same codecs.

    Returns:
        uint8 (H, W, 3), not shifted against the input.

    Raises:
        UnmaskError: no such quality. ValueError: a codec cannot take the image.
    """
    chosen = get_quality(quality)
    digest = hashlib.sha256(f"{seed}/{chosen.name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    for step in chosen.steps:
        image = step(image, rng)
    return image


def strength(image: Image, degraded: Image) -> tuple[float, float]:
    """PSNR in dB (infinite for equal images) and SSIM of luma (Wang et al., 2004) between two (H, W, 3) images."""
    from skimage.metrics import structural_similarity

    error = float(np.mean((image.astype(np.float64) - degraded) ** 2))
    psnr = math.inf if error == 0 else 10 * math.log10(255**2 / error)
    luma = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (image, degraded)]
    side = min(7, *(length - (length + 1) % 2 for length in image.shape[:2]))
    ssim = structural_similarity(*luma, win_size=side, data_range=255) if side >= 3 else float(error == 0)
    return psnr, float(ssim)
