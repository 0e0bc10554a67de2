"""Videos as a player shows them: which of several, since when, turned how, and with pixels of what shape."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from unmask.faces import read_media

from .conftest import number_of, painted

MakeVideo = Callable[..., Path]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("preview", [1, 40])
def test_of_several_videos_the_one_that_players_show(tmp_path: Path, suffix: str, preview: int) -> None:
    path = tmp_path / f"two.{suffix}"
    with av.open(str(path), "w") as file:
        sizes = ((32, 24), preview), ((64, 48), 40)
        streams = [file.add_stream("libx264", rate=25) for _ in sizes]
        for stream, (size, _) in zip(streams, sizes, strict=True):
            (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for stream, (size, count) in zip(streams, sizes, strict=True):
            for index in range(count):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(painted(index, *size), format="rgb24")))
            file.mux(stream.encode())
    media = read_media(path, frames=4)
    assert (media.width, media.height, media.noticed.several, media.noticed.loss) == (64, 48, True, None)
    assert [number_of(frame.image) for frame in media.frames] == [5, 15, 25, 35]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("sound", [True, False])
def test_time_begins_with_the_sound(tmp_path: Path, suffix: str, sound: bool) -> None:
    path = tmp_path / f"late.{suffix}"
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = file.add_stream("aac", rate=48000, layout="mono") if sound else None
        for index in range(141 if audio else 0):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 48000, 1024 * index
            file.mux(audio.encode(samples))
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(painted(index), format="rgb24")
            frame.pts = 25 + index
            file.mux(video.encode(frame))
        for stream in file.streams:
            file.mux(stream.encode())
    media = read_media(path, frames=1)
    start = 1.0 if sound else 0.0
    assert media.frames[0].time == pytest.approx(start + 1.0, abs=0.03)
    assert media.duration == pytest.approx(start + 2.0, abs=0.03)


def test_one_video_is_not_several(make_video: MakeVideo) -> None:
    assert not read_media(make_video(), frames=1).noticed.several


@pytest.mark.parametrize(
    ("matrix", "size", "red"),
    [
        ((0, 1, -1, 0), (48, 64), (8, 40)),  # quarter turn clockwise: red comes to the upper right
        ((-1, 0, 0, -1), (64, 48), (40, 56)),
        ((0, -1, 1, 0), (48, 64), (56, 8)),
        ((-1, 0, 0, 1), (64, 48), (6, 56)),  # mirrored, as some front cameras do
    ],
)
def test_the_rotation_of_the_container_is_applied(
    make_video: MakeVideo, matrix: tuple[int, ...], size: tuple[int, int], red: tuple[int, int]
) -> None:
    path = make_video()
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    media = read_media(path, frames=2)
    assert (media.width, media.height) == size
    image = media.frames[0].image
    assert image.shape == (size[1], size[0], 3)
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image[red], (255, 0, 0), atol=6)


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("clip.mp4", Fraction(64, 45), (91, 48)),
        ("clip.mkv", Fraction(8, 9), (57, 48)),
        ("clip.mp4", Fraction(100, 101), (64, 48)),  # nobody sees that
        ("clip.mp4", Fraction(1000, 1), (64, 48)),  # no camera does that
    ],
)
def test_pixels_that_are_not_square_become_so(
    make_video: MakeVideo, name: str, shape: Fraction, size: tuple[int, int]
) -> None:
    media = read_media(make_video(name, pixel_shape=shape), frames=2)
    assert (media.width, media.height) == size
    image = media.frames[0].image
    assert image.shape == (size[1], size[0], 3)
    np.testing.assert_allclose(image[8, 8], (255, 0, 0), atol=6)
    np.testing.assert_allclose(image[8, -8], (0, 0, 255), atol=6)


def test_pixels_are_made_square_before_the_picture_is_turned(make_video: MakeVideo) -> None:
    path = make_video(pixel_shape=Fraction(2, 1))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    media = read_media(path, frames=1)
    assert (media.width, media.height) == (48, 128)
