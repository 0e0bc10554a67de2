"""Frames spread evenly over a video, decoding no more than needed."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unmask.errors import UnmaskError

# Containers a file may be; playlists, which point to other files and addresses, are not among them. The sound
# formats are there to say what is wrong with them.
_CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,ivf,h264,hevc,mp3,aac,wav,flac"
# Seeking empties the decoder's pipeline; below so many frames it is dearer than decoding through.
_FRAMES_WORTH_A_SEEK = 12
# A single pause or a wrong time stamp must not swallow the share of all other frames.
_LONGEST_PAUSE = 2.0  # seconds

_Taken = list[tuple[int, float, np.ndarray]]


def read_video(path: Path, count: int, max_pixels: int) -> tuple[float, _Taken]:
    """Frames of the first moving picture in a file, upright, in order of time.

    Nothing the header claims about duration or number of frames is believed: the packets are counted first,
    which decodes nothing.

    Args:
        path: the file; its suffix is not looked at.
        count: how many frames, at least 1; all if there are fewer.
        max_pixels: largest picture that is decoded.

    Returns:
        The duration in seconds, and for each frame its place in the stream, its time in seconds from the
        first frame, and uint8 (H, W, 3), RGB.

    Raises:
        UnmaskError: no video, no picture in it, too large a picture, or no frame that decodes.
    """
    with _opened(path, max_pixels) as (container, stream):
        stamps, keyframes, last = _scan(container, stream)
        numbered = not stamps
        tick = float(stream.time_base or 0)
        if numbered:
            # Without time stamps a frame is known by its number, and only a full pass tells how many there
            # are.
            tick = 1 / float(stream.average_rate or stream.base_rate or 25)
    taken: dict[int, np.ndarray] = {}
    if not numbered:
        wanted = _spread(stamps, count, tick)
        taken = _take(path, max_pixels, wanted, _jumps(stamps, keyframes, wanted))
    if numbered or len(taken) < len(wanted):
        # Damage, or packets that show nothing: choose again among the frames that really come out.
        with _opened(path, max_pixels) as (container, stream):
            stamps = sorted({key for key, _ in _decoded(container, stream, numbered)})
        if not stamps:
            raise UnmaskError(path, "no frame of the video can be decoded")
        taken = _take(path, max_pixels, _spread(stamps, count, tick), {}, numbered)
    if not taken:
        raise UnmaskError(path, "no frame of the video can be decoded")
    rank = {stamp: number for number, stamp in enumerate(stamps)}
    duration = (stamps[-1] - stamps[0] + max(last, 1 if numbered else 0)) * tick
    frames = [(rank[stamp], (stamp - stamps[0]) * tick, taken[stamp]) for stamp in sorted(taken)]
    return duration, frames


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream, ready to decode."""
    import av
    from av.stream import Disposition

    with path.open("rb") as file:
        try:
            container = av.open(_Nameless(file), options={"format_whitelist": _CONTAINERS})
        except (av.FFmpegError, ValueError) as error:
            file.seek(0)
            head = file.read(12)
            known = head[4:8] in (b"ftyp", b"moov", b"mdat") or head[:4] in (b"\x1aE\xdf\xa3", b"RIFF")
            reason = "the video is damaged or cut off" if known else "is not an image or video"
            raise UnmaskError(path, reason) from error
        with container:
            streams = [
                stream
                for stream in container.streams.video
                # The cover of a song is no video.
                if not stream.disposition & Disposition.attached_pic
            ]
            if not streams:
                raise UnmaskError(path, "has sound but no picture" if container.streams.audio else "has no picture")
            stream = streams[0]
            context = stream.codec_context
            if context is None:
                raise UnmaskError(path, "its video format cannot be decoded here")
            if context.width * context.height > max_pixels:
                reason = f"{context.width} x {context.height} pixels a frame, more than the"
                raise UnmaskError(path, f"{reason} {max_pixels // 1_000_000} megapixels allowed")
            # The pictures inside may be larger than the container says.
            context.options = {"max_pixels": str(max_pixels)}
            context.thread_type = "AUTO"
            yield container, stream


class _Nameless:
    """An open file without its name: the container is told by its content, and no other file is opened."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _scan(container: Any, stream: Any) -> tuple[list[int], list[int], int]:
    """Time stamps of all frames and of the keyframes, sorted, and the duration of the last frame, in ticks.

    All empty if some frame has no time stamp of its own.
    """
    stamps, keyframes, length = [], [], {}
    for packet in _packets(container, stream):
        if not packet.size or packet.is_discard:
            continue
        if packet.pts is None:
            return [], [], 0
        stamps.append(packet.pts)
        length[packet.pts] = packet.duration or 0
        if packet.is_keyframe:
            keyframes.append(packet.pts)
    stamps = sorted(set(stamps))
    return stamps, sorted(set(keyframes)), length[stamps[-1]] if stamps else 0


def _spread(stamps: list[int], count: int, tick: float) -> list[int]:
    """``count`` of the sorted time stamps, spread evenly in time, each one once; all if there are fewer."""
    total = len(stamps)
    if count >= total:
        return stamps
    gaps = np.minimum(np.diff(np.array(stamps, dtype=np.float64)) * tick, _LONGEST_PAUSE)
    starts = np.concatenate([[0.0], np.cumsum(gaps)])
    end = starts[-1] + np.median(gaps)
    shares = np.arange(count)
    ranks = np.searchsorted(starts, (shares + 0.5) * end / count + 1e-9, side="right") - 1
    # Where frames are sparse two shares may meet in one frame: move on to the next free one.
    ranks = np.maximum.accumulate(ranks - shares) + shares
    ranks = np.minimum(ranks, total - count + shares)
    return [stamps[rank] for rank in ranks]


def _jumps(stamps: list[int], keyframes: list[int], wanted: list[int]) -> dict[int, int]:
    """For each wanted frame before which seeking pays: the keyframe to go to."""
    ranks, keys = np.searchsorted(stamps, wanted), np.array(keyframes, dtype=np.int64)
    if not len(keys):
        return {}
    jumps, position = {}, 0
    for stamp, rank in zip(wanted, ranks.tolist(), strict=True):
        key = int(np.searchsorted(keys, stamp, side="right")) - 1
        if key >= 0 and int(np.searchsorted(stamps, keys[key])) - position > _FRAMES_WORTH_A_SEEK:
            jumps[stamp] = int(keys[key])
        position = rank
    return jumps


def _take(
    path: Path, max_pixels: int, wanted: list[int], jumps: dict[int, int], numbered: bool = False
) -> dict[int, np.ndarray]:
    """Decode the wanted frames; where one does not come out, the next one that does stands in for it."""
    import av

    taken: dict[int, np.ndarray] = {}
    todo = deque(wanted)
    with _opened(path, max_pixels) as (container, stream):
        while todo:
            landed = todo[0] not in jumps
            if not landed:
                try:
                    container.seek(jumps[todo[0]], stream=stream)
                except av.FFmpegError:
                    return _take(path, max_pixels, wanted, {})
            for key, frame in _decoded(container, stream, numbered, None if numbered else set(wanted)):
                if key < todo[0]:
                    landed = True
                    continue
                if not landed and key > todo[0]:
                    # The seek went too far (a wrong index): decode from the start.
                    return _take(path, max_pixels, wanted, {})
                taken[key] = _upright(frame)
                while todo and todo[0] <= key:
                    todo.popleft()
                if not todo or todo[0] in jumps:
                    break
            else:
                break
    return taken


def _decoded(container: Any, stream: Any, numbered: bool, wanted: set[int] | None = None) -> Iterator[tuple[int, Any]]:
    """(time stamp or number, frame) from where the container stands; what does not decode is left out.

    With ``wanted``, frames that are neither wanted nor needed by others may be left out too.
    """
    import av

    context, number = stream.codec_context, 0
    for packet in _packets(container, stream):
        if wanted is not None:
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in wanted else "NONREF"
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.is_corrupt or (frame.pts is None and not numbered):
                continue
            yield number if numbered else frame.pts, frame
            number += 1


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, up to the end or to where the file is broken, then an empty one to flush."""
    import av

    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        flush = av.Packet()
        flush.stream = stream
        yield flush


def _upright(frame: Any) -> np.ndarray:
    """The frame as uint8 (H, W, 3), RGB, turned and mirrored as its display matrix says."""
    from av.sidedata.sidedata import Type

    # One thread: else every picture keeps the threads that converted it, and their stacks, for as long as it is held.
    image: np.ndarray = frame.to_ndarray(format="rgb24", threads=1)
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return image
    # x' = a x + c y, y' = b x + d y (ISO 14496-12, 6.2.2); only quarter turns and mirrors are applied.
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(b) > abs(a):
        image = image.transpose(1, 0, 2)
        a, d = c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
