"""Real encoded media with real faces, made by the tests from a portrait inside scikit-image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image
from skimage.data import astronaut


def portrait(side: int = 256) -> np.ndarray:
    """A face of about a quarter of ``side``: uint8 (side, side, 3), RGB."""
    return np.array(Image.fromarray(astronaut()).resize((side, side)))


def write_video(path: Path, images: Sequence[np.ndarray], rate: int = 10, codec: str = "libx264") -> Path:
    """A video, H.264 if not otherwise said, in whatever container the suffix names."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "20"} if codec == "libx264" else {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def moving(image: np.ndarray, frames: int) -> list[np.ndarray]:
    """The image drifting by two pixels a frame."""
    return [np.roll(image, 2 * number, axis=1) for number in range(frames)]


def write_image(path: Path, image: np.ndarray, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)
    return path
