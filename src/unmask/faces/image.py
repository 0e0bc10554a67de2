"""One image file to one upright RGB picture."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.errors import UnmaskError
from unmask.faces.texts import Text, picture_texts

if TYPE_CHECKING:
    from PIL.Image import Image

# Warnings are caught by changing filters that all threads share, so one image is opened at a time.
_warnings_lock = threading.Lock()


@contextmanager
def quietly() -> Iterator[None]:
    """Without Pillow's warnings and bound: ours is checked before anything is decoded."""
    from PIL import Image

    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = bound


def learn_heic(path: str | os.PathLike[str]) -> None:
    """Let Pillow read HEIC, of which it knows nothing by itself.

    Raises:
        UnmaskError: the package for it is missing, which ``path`` needs.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise UnmaskError(path, "HEIC needs pillow-heif: pip install 'unmask[heic]'") from error
    pillow_heif.register_heif_opener()


@contextmanager
def opened_image(path: Path, max_pixels: int) -> Iterator[Image]:
    """An image file, opened and not yet decoded.

    Raises:
        UnmaskError: it has more than ``max_pixels`` pixels, is cut off, or cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with quietly():
            image = Image.open(path)
        with image:
            check_size(path, image.size, max_pixels)
            yield image
    except UnmaskError:
        raise
    except UnidentifiedImageError as error:
        raise UnmaskError(path, "the image is damaged or of an unknown kind") from error
    except MemoryError as error:
        raise UnmaskError(path, "not enough memory for the image") from error
    except Exception as error:  # Pillow's decoders fail with whatever the broken bytes lead them to.
        cut = any(word in str(error).lower() for word in ("truncated", "unexpected end", "incomplete"))
        raise UnmaskError(path, "the image is cut off" if cut else f"the image is damaged ({error})") from error


def read_image(path: Path, max_pixels: int) -> tuple[np.ndarray, tuple[Text, ...]]:
    """The first picture of an image file, uint8 (H, W, 3), sRGB, turned upright by its EXIF tag; and the file's texts.

    Raises:
        UnmaskError: as :func:`opened_image`, or it cannot be decoded.
    """
    with opened_image(path, max_pixels) as image, quietly():
        image.load()
        return picture_to_rgb(image), picture_texts(image)


def pictures_in(path: Path) -> Literal["one", "film", "pages"]:
    """Whether an image file holds one picture, a film (GIF, WebP, PNG, AVIF) or pages (TIFF, HEIC)."""
    from PIL import Image

    held: dict[str | None, Literal["film", "pages"]] = {"TIFF": "pages", "HEIF": "pages"}
    held |= {"GIF": "film", "WEBP": "film", "PNG": "film", "AVIF": "film"}
    with quietly():
        try:
            with Image.open(path) as image:
                return held.get(image.format, "one") if getattr(image, "is_animated", False) else "one"
        except Exception:  # damage is told when the image is read
            return "one"


def picture_to_rgb(picture: Image) -> np.ndarray:
    """A Pillow image as :func:`read_image` gives its picture: uint8 (H, W, 3), sRGB, upright by EXIF, on white."""
    from PIL import ImageOps

    try:
        picture = ImageOps.exif_transpose(picture)
    except Exception:  # EXIF that cannot be read turns nothing; the pixels may be whole
        picture.load()
    return _to_rgb(picture)


def check_size(subject: str | Path, size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a picture of (width, height) that is larger than is allowed, before it is decoded."""
    width, height = size
    if width * height > max_pixels:
        allowed = f"more than the {max_pixels // 1_000_000} megapixels allowed"
        raise UnmaskError(subject, f"{width} x {height} pixels, {allowed}")


def _to_rgb(image: object) -> np.ndarray:
    from PIL import Image

    assert isinstance(image, Image.Image)
    if image.mode.startswith(("I", "F")):
        # Pillow cuts deep greys off at 255 instead of scaling them; floats come in any of three habits.
        grey = np.asarray(image, dtype=np.float32)
        top = float(grey.max(initial=0.0))
        white = 65535.0 if image.mode != "F" or top > 255 else 255.0 if top > 1 else 1.0
        byte = np.rint(np.clip(grey / white, 0, 1) * 255).astype(np.uint8)
        return np.repeat(byte[:, :, None], 3, axis=2)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(_to_srgb(image, profile) if profile else image.convert("RGB"))


def _to_srgb(image: Image, profile: bytes) -> Image:
    """Colours by the profile of a file, as every program shows them: phones record Display P3, cameras Adobe RGB.

    A profile that is damaged, or not for this kind of picture, is passed over.
    """
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" not in ImageCms.getProfileDescription(source):  # else the pixels stay as they are
            space = source.profile.xcolor_space.strip()
            picture = image if (space, image.mode) in {("GRAY", "L"), ("CMYK", "CMYK")} else image.convert("RGB")
            done = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert done is not None
            return done
    except (ImageCms.PyCMSError, OSError):
        pass
    return image.convert("RGB")
