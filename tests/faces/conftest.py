"""Media made on the spot: what a test needs to know about a picture is painted into it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

#: Grey level of frame i in the lower half is GREY_STEP * i.
GREY_STEP = 5


def painted(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Pure red in the upper left quarter, blue in the upper right, the number of the frame as grey below."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 0, 255)
    image[height // 2 :] = GREY_STEP * index
    return image


def number_of(image: np.ndarray) -> int:
    """The number painted into an upright frame."""
    return round(float(image[3 * image.shape[0] // 4 :].mean()) / GREY_STEP)


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip of painted frames."""

    def make(
        name: str = "clip.mp4",
        count: int = 40,
        size: tuple[int, int] = (64, 48),
        codec: str = "libx264",
        pixels: str = "yuv420p",
        options: dict[str, str] | None = None,
        stamps: list[int] | None = None,
        container: str | None = None,
        container_options: dict[str, str] | None = None,
        pixel_shape: Fraction = Fraction(0),
    ) -> Path:
        import av

        path = tmp_path / name
        with av.open(str(path), "w", format=container, options=container_options or {}) as file:
            stream = file.add_stream(codec, rate=25, options=options or {})
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            stream.codec_context.sample_aspect_ratio = pixel_shape
            tick = Fraction(1, 1000 if stamps else 25)
            stream.codec_context.time_base = stream.time_base = tick
            for index in range(count):
                frame = av.VideoFrame.from_ndarray(painted(index, *size), format="rgb24")
                frame.pts = stamps[index] if stamps else index
                frame.time_base = tick
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        return path

    return make
