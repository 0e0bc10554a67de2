"""What can be judged: a file by its path, the bytes of one, or a picture that is in memory already."""

from __future__ import annotations

import tempfile
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from PIL.Image import Image

    from unmask.faces import Media

#: A path, the bytes of an image or video file, a Pillow image, or an RGB array, uint8 (H, W, 3).
Source: TypeAlias = Union[str, PathLike[str], bytes, bytearray, memoryview, "Image", np.ndarray]


def source_name(source: Source, name: str | None = None) -> str:
    """What results and errors call a source: ``name`` if it is given, the path, else ``bytes`` or ``image``."""
    if name is not None:
        return name
    if isinstance(source, str | PathLike):
        return fspath(source)
    return "bytes" if isinstance(source, bytes | bytearray | memoryview) else "image"


def open_source(source: Source, frames: int = 32, name: str | None = None, threads: int = 0) -> Media:
    """Read a source as :func:`unmask.faces.read_media` reads a file.

    Bytes pass through a file in a temporary folder that only this user can read and that is gone on return: the
    codecs seek in it, and see no difference.

    Args:
        source: see :data:`Source`.
        frames: how many to take out of a video.
        name: what the media and errors are called.
        threads: of the decoder of a video; 0 for as many as it thinks good.

    Raises:
        UnmaskError: it cannot be used; the subject is the name of the source.
        TypeError: it is nothing that can be judged.
    """
    from unmask.faces import Frame, Media, Noticed, read_media
    from unmask.faces.image import quietly
    from unmask.faces.texts import picture_texts

    called = source_name(source, name)
    if isinstance(source, str | PathLike):
        return read_media(source, frames, threads=threads)
    if isinstance(source, bytes | bytearray | memoryview):
        with tempfile.TemporaryDirectory(prefix="unmask-") as room:
            file = Path(room) / "bytes"
            file.write_bytes(source)
            try:
                return read_media(file, frames, threads=threads)
            except UnmaskError as error:
                raise UnmaskError(called, error.reason) from error
    image = _rgb(source, called)
    with quietly():
        texts = () if isinstance(source, np.ndarray) else picture_texts(source)
    return Media(called, "image", image.shape[1], image.shape[0], None, [Frame(0, 0.0, image)], Noticed(texts=texts))


def _rgb(source: Image | np.ndarray, called: str) -> np.ndarray:
    """A picture in memory as uint8 (H, W, 3)."""
    from PIL.Image import Image

    from unmask.faces.image import check_size, picture_to_rgb
    from unmask.faces.media import MAX_PIXELS

    if isinstance(source, Image):
        shape: tuple[int, ...] = (source.height, source.width, 3)
    elif isinstance(source, np.ndarray):
        shape = source.shape
        if source.dtype != np.uint8 or source.ndim != 3 or shape[2] != 3:
            raise UnmaskError(called, f"an array must be uint8 (H, W, 3) in RGB, got {source.dtype} {shape}")
    else:
        raise TypeError(f"a path, bytes, a Pillow image or an RGB array is needed, got {type(source).__name__}")
    height, width = shape[:2]
    if not height * width:
        raise UnmaskError(called, f"the image is empty ({width} x {height} pixels)")
    check_size(called, (width, height), MAX_PIXELS)
    if isinstance(source, np.ndarray):
        return source
    try:
        return picture_to_rgb(source)
    except (OSError, ValueError) as error:
        raise UnmaskError(called, f"the image cannot be decoded ({error})") from error
