"""Files that are broken on purpose: real media, damaged by a seed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.clips import moving, portrait, write_video

#: Containers by suffix, and the codec that goes into each.
VIDEOS = {"mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx-vp9", "avi": "mpeg4"}
IMAGES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF"}
FORMATS = (*VIDEOS, *IMAGES)


def whole(suffix: str, folder: Path) -> bytes:
    """A sound file of a format: a face of 256 x 256 pixels, in a video for 12 frames."""
    if suffix in IMAGES:
        buffer = io.BytesIO()
        Image.fromarray(portrait()).save(buffer, IMAGES[suffix])
        return buffer.getvalue()
    return write_video(folder / f"whole.{suffix}", moving(portrait(), 12), codec=VIDEOS[suffix]).read_bytes()


def damaged(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``count`` broken versions of a file, each with the name of what was done to it; the same for the same seed.

    Cut off; a few bits turned over; a block of noise or zeros; a block missing or there twice; bits turned over in the
    first hundred bytes, where the sizes and names of formats are.
    """
    ways = ("cut", "bits", "noise", "zeros", "missing", "twice", "head")
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        way, content = ways[number % len(ways)], bytearray(data)
        start = int(rng.integers(len(data)))
        end = min(len(data), start + int(rng.integers(1, max(2, len(data) // 10))))
        if way == "cut":
            del content[start:]
        elif way in ("bits", "head"):
            among = len(data) if way == "bits" else min(100, len(data))
            for place in rng.integers(among, size=int(rng.integers(1, 30))):
                content[place] ^= 1 << int(rng.integers(8))
        elif way == "noise":
            content[start:end] = rng.bytes(end - start)
        elif way == "zeros":
            content[start:end] = bytes(end - start)
        elif way == "missing":
            del content[start:end]
        else:
            content[start:start] = content[start:end]
        yield f"{number:03d}-{way}", bytes(content)
