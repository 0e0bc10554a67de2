"""Frames spread evenly over a video, decoding no more than needed."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unmask.errors import UnmaskError
from unmask.faces.choice import Choice, worthwhile_seeks
from unmask.faces.hdr import HLG, PQ, to_sdr
from unmask.faces.interlace import is_combed, one_field
from unmask.faces.noticed import Noticed
from unmask.faces.scan import packets, scan
from unmask.faces.texts import container_texts

# Containers a file may be; playlists, which point to other files and addresses, are not among them. The sound
# formats are there to say what is wrong with them.
_CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,mxf,flv,ogg,asf,ivf,h264,hevc,mp3,aac,wav,flac"
_OPTIONS = {"format_whitelist": _CONTAINERS, "export_xmp": "1"}

Picture = tuple[int, float, np.ndarray]


class Video:
    """Frames of the moving picture in a file (of several, the one that players show), upright, one after the other.

    Nothing the header claims about duration or number of frames is believed, save for a warning: the packets are
    counted first, which decodes nothing. Iterating decodes up to the last wanted frame and holds one at a time. If
    :attr:`complete` is False afterwards, some of the frames did not decode; the choice has then been made again among
    those that do, and iterating once more gives them.

    Args:
        path: the file; its suffix is not looked at.
        choice: which frames; those at given places that do not decode are left out.
        max_pixels: largest picture that is decoded.
        threads: of the decoder; 0 for as many as it thinks good.
        hwaccel: a device as :func:`check_hwaccel` takes it; what it cannot decode the processor does.

    Raises:
        UnmaskError: no video, no picture in it, too large a picture, an encrypted one, or (also on iterating) no frame
            that decodes.
    """

    def __init__(
        self,
        path: Path,
        choice: Choice,
        max_pixels: int,
        *,
        threads: int = 0,
        hwaccel: str | None = None,
    ) -> None:
        self._path, self._choice = path, choice
        self._open = partial(_opened, path, max_pixels, threads, hwaccel)
        self.complete = self._chosen_again = False
        self._combed = 0
        with self._open() as (container, stream):
            self._scan = scan(path, container, stream)
            self._stamps = self._scan.stamps
            self._tick = float(stream.time_base or 0)
            self._several = len(_moving(container)) > 1
            began = container.start_time
            self._texts = container_texts(container.metadata)
            self._numbered = not self._stamps
            if self._numbered:
                # Without time stamps to go by a frame is known by its number, and only a full pass tells how many
                # there are.
                self._tick = 1 / float(stream.average_rate or stream.base_rate or 25)
        # Players count from where the first of all streams begins: sound may be there before the picture.
        begins = max(0, began or 0) / 1e6
        self._before = 0.0 if self._numbered else max(0.0, self._stamps[0] * self._tick - begins)
        if self._numbered:
            self._choose_again()
        else:
            self._wanted = choice.among(self._stamps, self._tick)
            self._jumps = worthwhile_seeks(self._stamps, self._scan.keyframes, self._wanted)

    @property
    def duration(self) -> float:
        """Seconds from the start, of the sound if it begins earlier, to the end of the last frame, by time stamps."""
        length = self._stamps[-1] - self._stamps[0] + max(self._scan.last, 1 if self._numbered else 0)
        return self._before + length * self._tick

    @property
    def noticed(self) -> Noticed:
        """What to keep in mind about the frames, once they have been taken."""
        return Noticed(self._scan.loss(self._stamps), self._several, self._combed, self._texts)

    @property
    def places(self) -> list[int]:
        """Of the frames that are to be taken, in the stream."""
        return [bisect_left(self._stamps, stamp) for stamp in self._wanted]

    def __iter__(self) -> Iterator[Picture]:
        """Of each frame its place in the stream, its time in seconds from the start, and uint8 (H, W, 3), RGB."""
        taken = self._combed = 0
        for stamp, image in self._take(deque(self._wanted), self._jumps):
            taken += 1
            yield bisect_left(self._stamps, stamp), self._before + (stamp - self._stamps[0]) * self._tick, image
        if taken < len(self._wanted) and not self._chosen_again and self._choice.places is None:
            # Damage, or packets that show nothing.
            self._choose_again()
            return
        if self._wanted and not taken:
            raise UnmaskError(self._path, "no frame of the video can be decoded")
        self.complete = True

    def _choose_again(self) -> None:
        """Choose among the frames that really come out."""
        with self._open() as (container, stream):
            self._stamps = sorted({key for key, _ in _decoded(container, stream, self._numbered)})
        if not self._stamps:
            raise UnmaskError(self._path, "no frame of the video can be decoded")
        self._wanted, self._jumps = self._choice.among(self._stamps, self._tick), {}
        self._chosen_again = True

    def _take(self, todo: deque[int], jumps: dict[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode the wanted frames; where one does not come out, the next one that does stands in for it."""
        import av

        wanted = None if self._numbered else set(todo)
        matrix: tuple[int, ...] | None = None
        with self._open() as (container, stream):
            astray, shape = False, _pixel_shape(stream)
            while todo and not astray:
                landed = todo[0] not in jumps
                if not landed:
                    try:
                        container.seek(jumps[todo[0]], stream=stream)
                    except av.FFmpegError:
                        astray = True
                        break
                for key, frame in _decoded(container, stream, self._numbered, wanted):
                    if key < todo[0]:
                        landed = True
                        continue
                    if not landed and key > todo[0]:
                        # The seek went too far (a wrong index).
                        astray = True
                        break
                    while todo and todo[0] <= key:
                        todo.popleft()
                    if matrix is None:
                        # Of one frame only: asking binds frame and answer to each other until Python's collector
                        # comes by, and frames are large.
                        matrix = _display_matrix(frame)
                    yield key, self._upright(frame, matrix, shape)
                    if not todo or todo[0] in jumps:
                        break
                else:
                    break
        if astray:  # decode what is left from the start
            yield from self._take(todo, {})

    def _upright(self, frame: Any, matrix: tuple[int, ...], shape: float) -> np.ndarray:
        """The frame as uint8 (H, W, 3), RGB of an ordinary screen, with square pixels and of one moment, turned and
        mirrored as its display matrix says."""
        width = max(1, round(frame.width * shape))
        # One thread: else every picture keeps the threads that converted it, and their stacks, as long as it is held.
        high = frame.color_trc in (PQ, HLG)
        image: np.ndarray = frame.to_ndarray(format="rgb48" if high else "rgb24", width=width, threads=1)
        if high:
            image = to_sdr(image, frame.color_trc)
        if is_combed(image):
            self._combed += 1
            image = one_field(image)
        if not matrix:
            return image
        a, b, c, d = matrix  # only quarter turns and mirrors are applied
        if abs(b) > abs(a):
            image = image.transpose(1, 0, 2)
            a, d = c, b
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def check_hwaccel(device: str) -> None:
    """Make sure that frames can be decoded on a kind of device: ``cuda``, ``vaapi``, ``qsv``, ``videotoolbox``, ...

    Raises:
        UnmaskError: this PyAV knows no such device, or there is none in this machine.
    """
    import av
    from av.codec.hwaccel import HWAccel, hwdevices_available

    known = hwdevices_available()
    if device not in known:
        raise UnmaskError(f"hwaccel {device}", f"not known to this PyAV, which has {', '.join(known) or 'none'}")
    try:
        HWAccel(device).create(av.Codec("h264", "r"))
    except (av.FFmpegError, NotImplementedError) as error:
        raise UnmaskError(f"hwaccel {device}", f"cannot be used on this machine ({error})") from error


@contextmanager
def _opened(path: Path, max_pixels: int, threads: int, hwaccel: str | None) -> Iterator[tuple[Any, Any]]:
    """The container and the video stream that is looked at, ready to decode."""
    import av
    from av.codec.hwaccel import HWAccel

    device = HWAccel(hwaccel, allow_software_fallback=True) if hwaccel else None
    with path.open("rb") as file:
        try:
            # Tags in an old encoding are no reason to refuse a video.
            container = av.open(_Nameless(file), options=_OPTIONS, metadata_errors="replace", hwaccel=device)
        except (av.FFmpegError, ValueError) as error:
            file.seek(0)
            head = file.read(12)
            known = head[4:8] in (b"ftyp", b"moov", b"mdat") or head[:4] in (b"\x1aE\xdf\xa3", b"RIFF")
            reason = (
                "the video is damaged or cut off" if known else "is not an image or video of a kind that is read here"
            )
            raise UnmaskError(path, reason) from error
        with container:
            streams = _moving(container)
            if not streams:
                raise UnmaskError(path, "has sound but no picture" if container.streams.audio else "has no picture")
            best = container.streams.best("video")
            stream: Any = best if best in streams else streams[0]
            context = stream.codec_context
            if context is None:
                raise UnmaskError(path, "its video format cannot be decoded here")
            if context.width * context.height * _pixel_shape(stream) > max_pixels:
                reason = f"{context.width} x {context.height} pixels a frame, more than the"
                raise UnmaskError(path, f"{reason} {max_pixels // 1_000_000} megapixels allowed")
            # The pictures inside may be larger than the container says.
            context.options = {"max_pixels": str(max_pixels)}
            context.thread_type = "AUTO"
            context.thread_count = threads
            yield container, stream


def _moving(container: Any) -> list[Any]:
    """The video streams of a container; the cover of a song is none."""
    from av.stream import Disposition

    return [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]


class _Nameless:
    """An open file without its name: the container is told by its content, and no other file is opened."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _decoded(container: Any, stream: Any, numbered: bool, wanted: set[int] | None = None) -> Iterator[tuple[int, Any]]:
    """(time stamp or number, frame) from where the container stands; what does not decode is left out.

    With ``wanted``, frames that are neither wanted nor needed by others may be left out too.
    """
    import av

    context, number = stream.codec_context, 0
    if context.codec.canonical_name == "av1":
        wanted = None  # its decoder asks only once, when it opens, what may be left out
    for packet in packets(container, stream):
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


def _display_matrix(frame: Any) -> tuple[int, ...]:
    """a, b, c, d of x' = a x + c y, y' = b x + d y (ISO 14496-12, 6.2.2); empty if there is no such matrix."""
    from av.sidedata.sidedata import Type

    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return ()
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return a, b, c, d


def _pixel_shape(stream: Any) -> float:
    """Width over height of a pixel as it is shown; 1 where nobody sees the difference or no player would believe it."""
    shape = float(stream.sample_aspect_ratio or 1)
    return shape if 1.02 < max(shape, 1 / shape) <= 4 else 1.0
