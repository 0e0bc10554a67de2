"""Open an image or a video, whatever its suffix claims, and take frames out of it."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.errors import UnmaskError
from unmask.faces.choice import Choice
from unmask.faces.noticed import Noticed
from unmask.faces.texts import Text

if TYPE_CHECKING:
    from unmask.faces.animation import Animation
    from unmask.faces.video import Video

#: Suffixes by which media are picked out of a folder; a file that is named itself is told by its content.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"}
    | {".hif"}
)
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"}
    | {".flv", ".ogv", ".wmv", ".asf", ".mxf", ".vob"}
)

# What a file of ISO's kind calls itself where it holds pictures, not a video.
_AVIF = frozenset({b"avif", b"avis"})
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

#: Pictures above this many pixels are refused before they are decoded.
MAX_PIXELS = 100_000_000
#: Videos of more seconds are refused before a frame is decoded.
MAX_DURATION = math.inf
#: So much of the frames of one file is held at once: 40 frames of 8K, 160 of 4K.
MAX_BYTES = 4_000_000_000


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
        index: place in the stream in order of presentation, from 0.
        time: seconds from the start, as players count: of the sound where that begins before the first frame.
        image: uint8 (H, W, 3), RGB, upright.
    """

    index: int
    time: float
    image: np.ndarray


@dataclass(frozen=True)
class Media:
    """What was read from a file.

    Attributes:
        path: as it was given.
        kind: "image" or "video".
        width, height: pixels of the first of the upright frames; a stream may change its size.
        duration: seconds, from the time stamps that are there, not from the header; None for an image.
        frames: at least one, in order of time.
        noticed: what to keep in mind about them.
    """

    path: str
    kind: Literal["image", "video"]
    width: int
    height: int
    duration: float | None
    frames: list[Frame]
    noticed: Noticed = field(default_factory=Noticed)


class MediaStream:
    """An image, or frames spread evenly over a video, decoded one after the other: no more than one is held.

    JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF and HEIC give one frame, of several pages the first; EXIF rotation and colour
    profiles are applied, transparent parts become white, more than 8 bits become 8. MP4, MOV, MKV, WebM, AVI, MPEG-TS
    and MXF, and GIF, WebP, PNG and AVIF that move, give as many frames as asked for, or all if there are fewer, each
    the middle of its share of the time; the rotation of the container is applied, pixels that are shown wide or tall
    are made square, of frames that show two moments one is taken, and high dynamic range (PQ, HLG) becomes what an
    ordinary screen shows.

    Args:
        path: the file.
        frames: at least 1; how many to take out of a video.
        rate: frames a second, in the place of ``frames``; at least one frame.
        places: of the frames of a video to take, as :class:`~unmask.faces.video.Video` takes them.
        threads: of the decoder of a video; 0 for as many as it thinks good.
        hwaccel: device that decodes videos, as :func:`unmask.faces.video.check_hwaccel` takes it.

    Raises:
        UnmaskError: the file is missing, empty, no file, no image or video, damaged, without a picture, or
            has more than ``MAX_PIXELS`` pixels or lasts longer than ``MAX_DURATION``, or is HEIC and the package for it
            is missing; damage may show only on iterating.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        frames: int = 32,
        rate: float | None = None,
        *,
        places: Sequence[int] | None = None,
        threads: int = 0,
        hwaccel: str | None = None,
    ) -> None:
        if frames < 1:
            raise UnmaskError("frames", f"must be at least 1, got {frames}")
        if rate is not None and not rate > 0:
            raise UnmaskError("rate", f"must be above 0, got {rate}")
        self.path = str(path)
        self._file = Path(path)
        self._video: Video | Animation | None = None
        self._pages = False
        self._texts: tuple[Text, ...] = ()
        choice, head = Choice(frames, rate, places), _head(path)
        if not _is_image(head):
            from unmask.faces.video import Video

            self._video = Video(self._file, choice, MAX_PIXELS, threads=threads, hwaccel=hwaccel)
        elif _may_hold_more(head):
            from unmask.faces.image import pictures_in

            held = pictures_in(self._file)
            self._pages = held == "pages"
            if held == "film":
                from unmask.faces.animation import Animation

                self._video = Animation(self._file, choice, MAX_PIXELS)
        self.kind: Literal["image", "video"] = "image" if self._video is None else "video"
        if self._video is not None and self._video.duration > MAX_DURATION:
            reason = f"lasts {self._video.duration:.0f} s, more than the {MAX_DURATION:.0f} s allowed"
            raise UnmaskError(self.path, reason)

    @property
    def duration(self) -> float | None:
        """Seconds, from the time stamps that are there, not from the header; None for an image."""
        return None if self._video is None else self._video.duration

    @property
    def places(self) -> list[int]:
        """Of the frames that are to be taken: 0 for an image."""
        return [0] if self._video is None else self._video.places

    @property
    def complete(self) -> bool:
        """Whether all wanted frames came out. If not, the video is damaged: iterating again gives other frames, as
        many as wanted, spread over those that decode."""
        return self._video is None or self._video.complete

    @property
    def noticed(self) -> Noticed:
        """What to keep in mind about the frames, once they have been taken."""
        return Noticed(several=self._pages, texts=self._texts) if self._video is None else self._video.noticed

    def __iter__(self) -> Iterator[Frame]:
        """The frames in order of time."""
        if self._video is None:
            from unmask.faces.image import read_image

            image, self._texts = read_image(self._file, MAX_PIXELS)
            yield Frame(0, 0.0, image)
        else:
            for frame in self._video:
                yield Frame(*frame)


def read_media(path: str | os.PathLike[str], frames: int = 32, rate: float | None = None, *, threads: int = 0) -> Media:
    """All frames of a :class:`MediaStream` at once. A damaged video gives the frames that decode, and says so.

    Raises:
        UnmaskError: as there; or the frames take more than ``MAX_BYTES``.
    """
    stream = MediaStream(path, frames, rate, threads=threads)
    taken = _held(stream)
    if not stream.complete:
        taken = _held(stream)
    height, width = taken[0].image.shape[:2]
    return Media(str(path), stream.kind, width, height, stream.duration, taken, stream.noticed)


def _held(stream: MediaStream) -> list[Frame]:
    frames, size = [], 0
    for frame in stream:
        frames.append(frame)
        size += frame.image.nbytes
        if size > MAX_BYTES:
            height, width = frame.image.shape[:2]
            reason = f"more than {len(frames) - 1} frames of {width} x {height} pixels do not fit: ask for fewer"
            raise UnmaskError(stream.path, reason)
    return frames


def _head(path: str | os.PathLike[str]) -> bytes:
    """The first bytes of a file that may be an image or a video."""
    file = Path(path)
    try:
        if file.is_dir():
            raise UnmaskError(path, "is a folder, not an image or video")
        if not file.exists():
            raise UnmaskError(path, "no such file")
        if not file.is_file():
            raise UnmaskError(path, "is not a regular file")
        with file.open("rb") as opened:
            head = opened.read(256)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnmaskError(path, f"cannot be read ({reason})") from error
    if not head:
        raise UnmaskError(path, "the file is empty")
    brands = _brands(head)
    if brands & _HEIC and not brands & _AVIF:
        from unmask.faces.image import learn_heic

        learn_heic(path)
    return head


def _brands(head: bytes) -> frozenset[bytes]:
    """The kinds that a file of ISO's kind (MP4, MOV, HEIC, AVIF and others) says it belongs to; else none."""
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return frozenset(head[start : start + 4] for start in (8, *range(16, end, 4)))


def is_media(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix is that of an image or video; the file is not opened."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def find_media(
    folder: str | os.PathLike[str],
    unreadable: Callable[[str, str], None] | None = None,
    left_out: Callable[[str], None] | None = None,
) -> Iterator[Path]:
    """Image and video files below a folder by suffix, in order, folder by folder: there may be millions.

    Hidden files and linked folders are left out.

    Args:
        folder: where to look.
        unreadable: called with the path of a folder or file that cannot be read or a link that leads nowhere, and the
            reason; it is left out, and the rest goes on.
        left_out: called with every other file's path, hidden ones excepted.

    Raises:
        UnmaskError: there is no such folder (when the first file is asked for).
    """
    if not Path(folder).is_dir():
        raise UnmaskError(folder, "no such folder")

    def failed(error: OSError) -> None:
        if unreadable is not None:
            unreadable(str(error.filename), f"cannot be read ({error.strerror})")

    for parent, folders, names in os.walk(folder, onerror=failed, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if not is_media(name):
                if left_out is not None:
                    left_out(str(path))
                continue
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    failed(error)  # such as a folder that may be listed but not entered, or a link into one
                elif path.is_symlink() and unreadable is not None:
                    unreadable(str(path), "is a link that leads nowhere")
                continue
            if regular:
                yield path


def _may_hold_more(head: bytes) -> bool:
    """Whether the first bytes are those of an image format that can hold a film, or pages."""
    return head.startswith((b"GIF8", b"\x89PNG", b"II", b"MM")) or head[8:12] == b"WEBP" or bool(_brands(head))


def _is_image(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an image format."""
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    return (
        head.startswith(starts)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or not _brands(head).isdisjoint(_AVIF | _HEIC)
    )
