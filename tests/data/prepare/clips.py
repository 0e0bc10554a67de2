"""Clips of a small data set, through real codecs, and clips that no data set should have but every one has."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.clips import moving, portrait
from unmask.data.layouts import Clip, Index


def encode(
    path: Path,
    images: Sequence[np.ndarray],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    milliseconds: Sequence[int] | None = None,
) -> Path:
    """A video of these frames, 10 a second or at the given times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The index first, so that a file that is cut off still has one.
    index_first = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", container_options=index_first) as file:
        stream = file.add_stream(codec, rate=10, options=options or {"crf": "18"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = milliseconds[number] if milliseconds else 100 * number
            frame.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def with_face(path: Path, frames: int = 4) -> Path:
    return encode(path, moving(portrait(), frames))


def without_face(path: Path) -> Path:
    rng = np.random.default_rng(1)
    return encode(path, [np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)] * 3)


def crowd(columns: int, rows: int, side: int = 200) -> np.ndarray:
    """Faces in a grid."""
    return np.tile(portrait(side), (rows, columns, 1))


def cut_off(path: Path, keep: int = 700) -> Path:
    """The head of a video, without a single frame."""
    data = with_face(path).read_bytes()
    path.write_bytes(data[:keep])
    return path


def sound_only(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def lying(path: Path) -> Path:
    """A clip whose pixels lie on their side, and whose container says so, as telephones write them."""
    encode(path, [np.ascontiguousarray(np.rot90(image)) for image in moving(portrait(), 4)])
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in (0, 1, -1, 0))
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def clip_of(*paths: Path, label: str = "real", **facts: object) -> Clip:
    """A clip as a layout would read it."""
    known: dict[str, object] = {
        "paths": paths,
        "method": "real" if label == "real" else "swap",
        "dataset": "made",
        "quality": "c23",
        "split": "train",
        "video": paths[0].stem,
        "source": paths[0].stem,
        "component": paths[0].stem,
    }
    return Clip(**(known | facts))  # type: ignore[arg-type]


def index_of(*clips: Clip) -> Index:
    return Index("folders", tuple(sorted(clips, key=lambda clip: clip.key)))
