"""What a file says in words: XMP, EXIF, the texts of PNG, the tags of a video's container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

#: Characters of all texts of a file, and of the name of one, that are kept: whoever writes a file writes what he likes.
_LONGEST, _NAME = 2_000_000, 80
#: EXIF's fields of text, and the block that holds a comment.
_FIELDS = {270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software"}
_EXIF, _COMMENT = 0x8769, 0x9286
#: What Pillow calls the XMP of a picture, and of a PNG whose text it is.
_PACKETS = ("xmp", "XML:com.adobe.xmp")


@dataclass(frozen=True)
class Text:
    """One text of a file.

    Attributes:
        place: ``XMP``, ``EXIF``, ``PNG`` or ``container``.
        key: what it is called there; empty for XMP, which is one packet.
        text: anything; it was chosen by whoever wrote the file.
    """

    place: str
    key: str
    text: str


def picture_texts(image: Image) -> tuple[Text, ...]:
    """The texts of a Pillow image, those behind the picture only if it is loaded; Pillow may warn of damage."""
    found = []
    packet = next(filter(None, map(image.info.get, _PACKETS)), None)
    if isinstance(packet, str | bytes):
        found.append(Text("XMP", "", _read(packet)))
    try:
        exif = image.getexif()
        found += [Text("EXIF", name, _read(exif[tag])) for tag, name in _FIELDS.items() if tag in exif]
        comment = exif.get_ifd(_EXIF).get(_COMMENT)
        if comment:
            found.append(Text("EXIF", "UserComment", _comment(comment)))
    except Exception:  # damaged EXIF says nothing; the picture may be whole
        pass
    if image.format == "PNG":
        found += [
            Text("PNG", str(key), _read(value))
            for key, value in image.info.items()
            if isinstance(value, str) and key not in _PACKETS
        ]
        # ComfyUI's own chunk, in pictures that move.
        for kind, chunk, *_ in getattr(image, "private_chunks", ()):
            if kind == b"comf":
                key, _, value = chunk.partition(b"\0")
                found.append(Text("PNG", _read(key), _read(value)))
    return _kept(found)


def container_texts(tags: Mapping[str, str]) -> tuple[Text, ...]:
    """The texts of a container's tags as FFmpeg names them, its XMP among them if it was asked for."""
    return _kept(
        Text("XMP", "", value) if key == "xmp" else Text("container", key, value) for key, value in tags.items()
    )


def _kept(texts: Iterable[Text]) -> tuple[Text, ...]:
    kept, left = [], _LONGEST
    for each in texts:
        if left > 0:
            kept.append(Text(each.place, each.key[:_NAME], each.text[:left]))
        left -= len(each.key) + len(each.text)
    return tuple(kept)


def _read(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _comment(value: Any) -> str:
    """EXIF's comment, which begins with eight bytes that name its alphabet (EXIF 2.32, 4.6.5)."""
    if not isinstance(value, bytes):
        return _read(value)
    body = value[8:]
    if value.startswith(b"UNICODE"):
        # In the byte order of the file, says the standard; programs write either.
        little = body[1::2].count(0) >= body[::2].count(0)
        return body.decode("utf-16-le" if little else "utf-16-be", "replace")
    return _read(body if value.startswith((b"ASCII", b"\0\0\0\0", b"JIS")) else value)
