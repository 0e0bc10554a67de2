from __future__ import annotations

import io
from itertools import product

import numpy as np
import pytest
from PIL import Image

from unmask.data.decode import decode_image


def coded(mode: str, size: tuple[int, int], kind: str, **options: object) -> bytes:
    rng = np.random.default_rng(sum(size))
    image = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).resize(size).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def pillow(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(224, 224), (129, 200), (7, 5), (1, 1)])
def test_pixels_are_those_of_pillow(mode: str, size: tuple[int, int]) -> None:
    for subsampling, quality, progressive in product((0, 1, 2), (10, 75, 98), (False, True)):
        encoded = coded(mode, size, "JPEG", subsampling=subsampling, quality=quality, progressive=progressive)
        decoded = decode_image(encoded)
        assert decoded.dtype == np.uint8
        assert decoded.flags.writeable
        assert np.array_equal(decoded, pillow(encoded)), (subsampling, quality, progressive)


def test_orientation_is_left_alone_as_pillow_does() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = coded("RGB", (30, 20), "JPEG", exif=exif)
    assert decode_image(encoded).shape == (20, 30, 3)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("PNG", "P"), ("PNG", "RGBA"), ("WEBP", "RGB")])
def test_other_formats(kind: str, mode: str) -> None:
    encoded = coded(mode, (40, 30), kind)
    assert np.array_equal(decode_image(encoded), pillow(encoded))


@pytest.mark.parametrize("kept", [0, 2, 100, 2000, -3])
def test_what_pillow_refuses_is_refused(kept: int) -> None:
    encoded = coded("RGB", (224, 224), "JPEG", quality=95)[:kept]
    with pytest.raises(Exception, match=r"truncated|Truncated|of no format|broken"):
        decode_image(encoded)


def test_a_damaged_jpeg_that_pillow_reads_is_read() -> None:
    encoded = bytearray(coded("RGB", (224, 224), "JPEG", quality=95))
    middle = len(encoded) // 2
    encoded[middle : middle + 4] = b"\x12\x34\x01\x02"
    assert np.array_equal(decode_image(bytes(encoded)), pillow(bytes(encoded)))
