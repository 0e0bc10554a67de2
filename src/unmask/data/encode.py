"""How crops are coded in face tables, whoever writes them: a difference would tell reals and fakes apart."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

ImageFormat = Literal["jpeg", "png"]

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # larger than 6 by a tenth, in a third of the time


def encode_image(image: np.ndarray, format: ImageFormat) -> bytes:
    """uint8 (H, W, 3), RGB, or (H, W) as JPEG of quality 95 or as PNG."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    suffix, options = (".jpg", _JPEG) if format == "jpeg" else (".png", _PNG)
    return bytes(cv2.imencode(suffix, pixels, options)[1])
