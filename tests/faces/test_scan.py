"""Videos that are damaged or cut off: what is still taken from them, and that it is said."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from unmask.faces import MediaStream, read_media

from .conftest import number_of

MakeVideo = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("clip.mp4", "libx264", {"movflags": "faststart"}),
        ("clip.mkv", "libx264", {}),
        ("clip.webm", "libvpx", {}),
        ("clip.flv", "libx264", {}),
        ("clip.mxf", "mpeg2video", {}),
        ("clip.avi", "mpeg4", {}),
    ],
)
def test_a_video_says_how_much_of_it_is_missing(
    make_video: MakeVideo, name: str, codec: str, options: dict[str, str]
) -> None:
    path = make_video(name, codec=codec, container_options=options, options={"g": "1"})
    assert read_media(path, frames=6).noticed.loss is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    media = read_media(path, frames=6)
    assert media.noticed.loss is not None
    read, promised = media.noticed.loss
    assert read < 0.9 * promised <= 0.9 * 1.69
    assert media.duration == pytest.approx(read, abs=0.25)


def test_frames_that_do_not_decode_are_missing_as_well(make_video: MakeVideo) -> None:
    path = make_video(count=50, options={"g": "5"}, container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle:] = bytes(len(data) - middle)  # a download that was never finished
    path.write_bytes(data)
    loss = read_media(path, frames=10).noticed.loss
    assert loss is not None
    assert 0.5 < loss[0] < 1.6
    assert loss[1] == pytest.approx(2)


def _edited(path: Path, milliseconds: int, start: float) -> Path:
    """A clip shortened by its edit list alone, as telephones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    data[at : at + 8] = struct.pack(">ii", milliseconds, int(start * 12_800))
    path.write_bytes(data)
    return path


def _with_sound(picture: Path, path: Path, seconds: float) -> Path:
    """The clip with sound that goes on for longer."""
    with av.open(str(picture)) as source, av.open(str(path), "w") as file:
        copy = file.add_stream_from_template(source.streams.video[0])
        sound = file.add_stream("aac", rate=16_000, layout="mono")
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = copy
                file.mux(packet)
        for start in range(0, int(seconds * 16_000), 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 16_000, start
            file.mux(sound.encode(frame))
        file.mux(sound.encode())
    return path


def test_a_whole_video_is_not_called_damaged(make_video: MakeVideo, tmp_path: Path) -> None:
    """Whatever its header says that the frames do not bear out."""
    paused = [40 * i for i in range(20)] + [4000 + 70 * i for i in range(20)]
    whole = [
        make_video("b-frames.mp4", options={"bf": "3"}),
        make_video("uneven.mkv", stamps=paused),
        make_video("uneven.mp4", stamps=paused),
        make_video("slides.mkv", count=2, stamps=[0, 5000]),
        make_video("one.mkv", count=1),
        make_video("live.mkv", container_options={"live": "1"}),
        make_video("raw.h264", container="h264"),
        make_video("clip.ts"),
        make_video("hidden.webm", codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16"}),
        make_video("hidden.avi", codec="mpeg4", options={"bf": "2"}),
        *(_edited(make_video(f"edited-{start}.mp4"), 500, start) for start in (0, 0.3, 1)),
        *(_with_sound(make_video("mute.mp4"), tmp_path / f"sound.{suffix}", 4) for suffix in ("mp4", "mkv", "flv")),
    ]
    assert {path.name: read_media(path, frames=6).noticed.loss for path in whole} == {path.name: None for path in whole}


@pytest.mark.parametrize("kept", [0.5, 0.8])
def test_a_truncated_video_gives_what_decodes(make_video: MakeVideo, kept: float) -> None:
    path = make_video(container_options={"movflags": "faststart"}, options={"g": "5"})
    data = path.read_bytes()
    start = data.index(b"mdat")
    path.write_bytes(data[: start + int(kept * (len(data) - start))])
    media = read_media(path, frames=6)
    assert 1 <= len(media.frames) <= 6
    assert media.frames[-1].index < 39
    for frame in media.frames:
        assert abs(number_of(frame.image) - frame.index) <= 1


def _damaged_in_the_middle(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    return path


def test_damage_in_the_middle_is_stepped_over(make_video: MakeVideo) -> None:
    path = _damaged_in_the_middle(make_video(count=50, options={"g": "5"}))
    media = read_media(path, frames=10)
    assert media.frames[0].index < 10
    assert number_of(media.frames[0].image) == media.frames[0].index
    assert number_of(media.frames[-1].image) > 40


def test_nothing_is_printed_about_damage(make_video: MakeVideo, capfd: pytest.CaptureFixture[str]) -> None:
    path = make_video(container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-800])
    read_media(path)
    assert capfd.readouterr() == ("", "")


def test_a_stream_says_when_damage_makes_another_choice_necessary(make_video: MakeVideo) -> None:
    path = _damaged_in_the_middle(make_video(count=50, options={"g": "5"}))
    stream = MediaStream(path, 50)
    first = [frame.index for frame in stream]
    assert not stream.complete
    again = [frame.index for frame in stream]
    assert stream.complete
    assert again == list(range(len(again)))
    assert len(first) <= len(again) < 50
