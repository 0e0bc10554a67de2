"""Videos: which frames are taken, what they look like, and what is said when there are none."""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unmask.errors import UnmaskError
from unmask.faces import MediaStream, read_media
from unmask.faces.video import check_hwaccel

from .conftest import number_of

MakeVideo = Callable[..., Path]


def _reason(path: Path) -> str:
    with pytest.raises(UnmaskError) as caught:
        read_media(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return caught.value.reason


def test_frames_are_the_middles_of_equal_shares(make_video: MakeVideo) -> None:
    media = read_media(make_video(count=40), frames=8)
    assert (media.kind, media.width, media.height) == ("video", 64, 48)
    assert media.duration == pytest.approx(1.6)
    assert [frame.index for frame in media.frames] == [2, 7, 12, 17, 22, 27, 32, 37]
    assert [number_of(frame.image) for frame in media.frames] == [2, 7, 12, 17, 22, 27, 32, 37]
    assert [frame.time for frame in media.frames] == pytest.approx([i / 25 for i in range(2, 40, 5)])


def test_all_frames_where_there_are_fewer_than_asked_for(make_video: MakeVideo) -> None:
    media = read_media(make_video(count=3), frames=32)
    assert [number_of(frame.image) for frame in media.frames] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("clip.mov", "libx264", "yuv420p"),
        ("clip.mkv", "libx264", "yuv444p"),
        ("clip.webm", "libvpx-vp9", "yuv420p"),
        ("vp8.webm", "libvpx", "yuv420p"),
        ("clip.avi", "mpeg4", "yuv420p"),
        ("clip.ts", "libx264", "yuv420p"),
        ("clip.mxf", "mpeg2video", "yuv420p"),
        ("ten-bit.mp4", "libx265", "yuv420p10le"),
    ],
)
def test_containers_and_codecs(make_video: MakeVideo, name: str, codec: str, pixels: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    media = read_media(make_video(name, codec=codec, pixels=pixels, options=options), frames=4)
    assert [frame.index for frame in media.frames] == [5, 15, 25, 35]
    # Coarse quantisation may cost one step of grey.
    assert all(abs(number_of(frame.image) - frame.index) <= 1 for frame in media.frames)


def test_red_stays_red(make_video: MakeVideo) -> None:
    image = read_media(make_video(), frames=1).frames[0].image
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[6, 8], (255, 0, 0), atol=6)
    np.testing.assert_allclose(image[6, 56], (0, 0, 255), atol=6)


@pytest.mark.parametrize("keyframes_apart", ["1", "10", "250"])
def test_seeking_gives_the_frames_that_decoding_through_gives(make_video: MakeVideo, keyframes_apart: str) -> None:
    path = make_video(count=50, options={"g": keyframes_apart, "bf": "3", "sc_threshold": "0"})
    every = read_media(path, frames=50).frames
    assert [number_of(frame.image) for frame in every] == list(range(50))
    for frame in read_media(path, frames=2).frames:
        np.testing.assert_array_equal(frame.image, every[frame.index].image)


@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", {"bf": "3"}), ("libsvtav1", {"svtav1-params": "hierarchical-levels=3"})]
)
def test_places_give_the_frames_of_these_numbers(make_video: MakeVideo, codec: str, options: dict[str, str]) -> None:
    """Also those that no other frame needs."""
    places = [2, 11, 13, 22, 29, 30, 41]
    taken = list(MediaStream(make_video(codec=codec, options=options, count=45), places=places))
    assert [frame.index for frame in taken] == places
    assert all(abs(number_of(frame.image) - frame.index) <= 1 for frame in taken)


def test_reading_twice_gives_the_same_bytes(make_video: MakeVideo) -> None:
    path = make_video()
    first, second = (read_media(path, frames=5).frames for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_variable_frame_rate_is_spread_over_time(make_video: MakeVideo) -> None:
    # Thirty frames in the first second, ten in the nine that follow.
    stamps = [round(1000 * i / 30) for i in range(30)] + [1000 + 900 * i for i in range(10)]
    media = read_media(make_video("clip.mkv", stamps=stamps), frames=10)
    times = [frame.time for frame in media.frames]
    assert len(set(times)) == 10
    assert times == sorted(times)
    assert sum(time < 1 for time in times) <= 2
    assert [number_of(frame.image) for frame in media.frames] == [frame.index for frame in media.frames]


def test_one_wrong_time_stamp_does_not_take_all_shares(make_video: MakeVideo) -> None:
    path = make_video("clip.mkv", stamps=[40 * i for i in range(39)] + [90_000_000])
    taken = [frame.index for frame in read_media(path, frames=4).frames]
    assert taken[0] < 20
    assert len(taken) == 4


def test_no_duration_and_no_frame_count_in_the_container(make_video: MakeVideo) -> None:
    live = make_video("live.mkv", container_options={"live": "1"})
    assert [frame.index for frame in read_media(live, frames=4).frames] == [5, 15, 25, 35]
    raw = make_video("raw.bin", container="h264")
    media = read_media(raw, frames=4)
    assert [number_of(frame.image) for frame in media.frames] == [5, 15, 25, 35]
    assert media.duration is not None


@pytest.mark.parametrize(("suffix", "codec"), [("ts", "libx264"), ("vob", "mpeg2video"), ("mkv", "libx264")])
def test_joined_recordings_are_looked_at_to_the_end(make_video: MakeVideo, suffix: str, codec: str) -> None:
    """In the second the time stamps start over: its frames must not pass for those of the first."""
    first, second = make_video(f"a.{suffix}", codec=codec), make_video(f"b.{suffix}", count=20, codec=codec)
    both = first.with_name(f"both.{suffix}")
    both.write_bytes(first.read_bytes() + second.read_bytes())
    media = read_media(both, frames=6)
    assert media.duration == pytest.approx(2.4)
    assert [frame.index for frame in media.frames] == [5, 15, 25, 35, 45, 55]
    assert all(abs(number_of(frame.image) - frame.index % 40) <= 1 for frame in media.frames)


def test_a_header_that_lies_about_the_duration(make_video: MakeVideo) -> None:
    path = make_video()
    data = bytearray(path.read_bytes())
    for box, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = data.index(box) + offset
        data[at : at + 4] = struct.pack(">I", 900_000_000)
    path.write_bytes(data)
    media = read_media(path, frames=4)
    assert (media.duration, media.noticed.loss) == (pytest.approx(1.6), None)
    assert [number_of(frame.image) for frame in media.frames] == [5, 15, 25, 35]


@pytest.mark.parametrize("size", [(33, 17), (63, 65), (2, 2)])
def test_odd_sizes(make_video: MakeVideo, size: tuple[int, int]) -> None:
    media = read_media(make_video("clip.mkv", size=size, pixels="yuv444p", count=4), frames=2)
    assert (media.width, media.height) == size


def test_nothing_that_decodes(make_video: MakeVideo) -> None:
    path = make_video(container_options={"movflags": "faststart"})
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    path.write_bytes(data[:start] + bytes(len(data) - start))
    assert _reason(path) == "no frame of the video can be decoded"


def test_an_encrypted_video_is_called_so(make_video: MakeVideo) -> None:
    key = {"encryption_key": "0123456789abcdef" * 2, "encryption_kid": "fedcba9876543210" * 2}
    assert (
        _reason(make_video(container_options={"encryption_scheme": "cenc-aes-ctr", **key})) == "the video is encrypted"
    )


def test_an_mp4_without_its_index(make_video: MakeVideo) -> None:
    path = make_video()
    path.write_bytes(path.read_bytes()[:600])
    assert _reason(path) == "the video is damaged or cut off"


def test_sound_without_a_picture(tmp_path: Path) -> None:
    import av

    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    assert _reason(path) == "has sound but no picture"


def test_the_suffix_does_not_matter(make_video: MakeVideo) -> None:
    path = make_video()
    renamed = path.rename(path.with_name("clip 100%d.jpg"))
    assert read_media(renamed, frames=3).kind == "video"


def test_playlists_are_not_followed(make_video: MakeVideo, tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:10,\n{make_video()}\n")
    assert _reason(playlist) == "is not an image or video of a kind that is read here"


def test_frames_by_rate(make_video: MakeVideo) -> None:
    path = make_video(count=50)  # two seconds
    assert [frame.index for frame in read_media(path, rate=2).frames] == [6, 18, 31, 43]
    assert len(read_media(path, rate=0.01).frames) == 1
    assert len(read_media(path, rate=25).frames) == len(read_media(path, rate=1e9).frames) == 50
    with pytest.raises(UnmaskError, match="rate: must be above 0"):
        read_media(path, rate=0)


def test_one_wrong_time_stamp_does_not_ask_for_a_million_frames(make_video: MakeVideo) -> None:
    path = make_video("clip.mkv", stamps=[40 * i for i in range(39)] + [90_000_000])
    assert len(read_media(path, rate=5).frames) <= 18


def test_a_stream_gives_the_same_frames_one_at_a_time(make_video: MakeVideo) -> None:
    path = make_video()
    stream = MediaStream(path, 5, threads=1)
    taken = list(stream)
    assert stream.complete
    assert stream.duration == pytest.approx(1.6)
    for one, other in zip(taken, read_media(path, 5).frames, strict=True):
        assert (one.index, one.time) == (other.index, other.time)
        np.testing.assert_array_equal(one.image, other.image)


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(UnmaskError, match="hwaccel abacus: not known to this PyAV"):
        check_hwaccel("abacus")


def test_frames_are_freed_without_waiting_for_the_collector(make_video: MakeVideo) -> None:
    path, alive = make_video(count=40), []
    gc.collect()
    gc.disable()
    try:
        for number, _ in enumerate(MediaStream(path, 40)):
            if number % 10 == 9:
                alive.append(sum(type(each).__name__ == "VideoFrame" for each in gc.get_objects()))
    finally:
        gc.enable()
    assert max(alive) <= 8
