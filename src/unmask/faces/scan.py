"""What the packets of a video tell before anything is decoded: its time stamps, and whether all of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UnmaskError

# Containers whose header says how long they are; of others the end that is there is taken for the end.
_SAY_HOW_LONG = {"mov", "matroska", "avi", "flv", "asf", "mxf", "ivf"}
# What is missing is clear from this share, and these seconds, on: headers round, and sound ends when it will.
_SHARE, _SECONDS = 0.1, 0.25
# So many frames in a row that do not decode are damage; fewer may be packets that show nothing, or the last few.
_ROW = 5


@dataclass(frozen=True)
class Scan:
    """All packets of a video.

    Attributes:
        stamps: time stamps of the frames, sorted, in ticks; empty if some frame has none of its own, or if they start
            over: then two frames may share one.
        keyframes: those of the keyframes, sorted.
        last: duration of the last frame, ticks.
        read, promised: seconds that the packets cover, and that there are by the header; the same if it says nothing
            else. Nothing but a warning rests on them.
    """

    stamps: list[int]
    keyframes: list[int]
    last: int
    read: float = 0.0
    promised: float = 0.0

    def loss(self, decoded: list[int]) -> tuple[float, float] | None:
        """Seconds that could be read, and seconds that there should be, if these are clearly more.

        Args:
            decoded: time stamps of the frames that decode, as far as that is known.
        """
        if not self.stamps:
            return None
        gaps = np.diff(np.searchsorted(self.stamps, decoded), prepend=-1, append=len(self.stamps)) - 1
        read = self.read * (1 - int(gaps[gaps >= _ROW].sum()) / len(self.stamps))
        return (read, self.promised) if self.promised - read > max(_SHARE * self.promised, _SECONDS) else None


def scan(path: Path, container: Any, stream: Any) -> Scan:
    """Go through a container once, without decoding.

    Raises:
        UnmaskError: the video is encrypted.
    """
    stamps: list[int] = []
    keyframes: list[int] = []
    length: dict[int, int] = {}
    latest: int | None = None
    packed, end = 0, 0.0
    promised = _promised(container, stream)
    # Where the header speaks of the file as a whole, another stream may be the one that lasts so long.
    others = [] if promised is None or stream.duration else [each for each in container.streams if each is not stream]
    for packet in packets(container, stream, *others):
        if not packet.size:
            continue
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != stream.index:
            continue
        packed += 1
        if packet.is_discard:
            continue
        if not stamps and packet.has_sidedata("encryption_info"):  # Common Encryption, ISO 23001-7
            raise UnmaskError(path, "the video is encrypted")
        # In order of decoding time only rises, unless recordings were joined.
        joined = latest is not None and packet.dts is not None and packet.dts < latest
        if packet.pts is None or joined:
            return Scan([], [], 0)
        latest = packet.dts if packet.dts is not None else latest
        stamps.append(packet.pts)
        length[packet.pts] = packet.duration or 0
        if packet.is_keyframe:
            keyframes.append(packet.pts)
    if not stamps:
        return Scan([], [], 0)
    stamps = sorted(set(stamps))
    last = length[stamps[-1]]
    # How long the last frame is shown is not always known; as long as the others, perhaps.
    shown = max(last, *np.diff(stamps).tolist(), 0)
    read = float((stamps[-1] + shown - (0 if others else stamps[0])) * stream.time_base)
    if others:
        read = max(read, end)
    # A file that holds all frames of its index is whole, whatever its header says about time.
    whole = promised is None or packed == stream.frames
    return Scan(stamps, sorted(set(keyframes)), last, read, read if whole else max(promised or 0.0, read))


def packets(container: Any, stream: Any, *others: Any) -> Iterator[Any]:
    """The packets of streams, up to the end or to where the file is broken, then an empty one to flush the first."""
    import av

    try:
        yield from container.demux(stream, *others)
    except av.FFmpegError:
        flush = av.Packet()
        flush.stream = stream
        yield flush


def _promised(container: Any, stream: Any) -> float | None:
    """Seconds that the header says there are; None if it says nothing."""
    if container.format.name.split(",")[0] not in _SAY_HOW_LONG:
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None
