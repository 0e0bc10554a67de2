"""Frames in high dynamic range, as phones record them, as an ordinary screen shows them.

Taken as they are their colours are pale, and other scores follow: of nine clips that were written as PQ (HLG) they
moved by up to .31 (.19), and by up to .07 (.06) where the frames are shown so.
"""

from __future__ import annotations

import functools

import numpy as np

#: Transfer functions of high dynamic range, as ITU-T H.273 numbers them.
PQ, HLG = 16, 18
#: Nits of white paper, and of the brightest that HLG is mastered for (ITU-R BT.2408).
_WHITE, _PEAK = 203, 1000
#: Share of white from which light is compressed, so that what is brighter than white does not all become white.
_KNEE = 0.75
_LUMINANCE = np.array([(0.2627, 0.6780, 0.0593)], np.float32)
#: From the primaries of BT.2020 to those of BT.709 (ITU-R BT.2407).
_PRIMARIES = np.array([(1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)], np.float32)
_TOP = 65535
#: So many rows at a time fit into a processor's cache.
_ROWS = 32


def to_sdr(image: np.ndarray, transfer: int) -> np.ndarray:
    """A frame, uint16 (H, W, 3), of :data:`PQ` or :data:`HLG` and BT.2020, as uint8 RGB of BT.709."""
    shown = np.empty(image.shape, np.uint8)
    for top in range(0, len(image), _ROWS):
        rows = slice(top, top + _ROWS)
        shown[rows] = _rows(image[rows], transfer)
    return shown


def _rows(image: np.ndarray, transfer: int) -> np.ndarray:
    import cv2

    light: np.ndarray = np.take(_light(transfer), image)
    if transfer == HLG:
        light *= _PEAK / _WHITE * cv2.pow(cv2.transform(light, _LUMINANCE), 0.2)[..., None]  # BT.2100: system gamma
    light = cv2.transform(light, _PRIMARIES).astype(np.float32, copy=False)
    # Plane by plane: NumPy's maximum over a short last axis takes longer than all else here together.
    brightest = np.maximum(np.maximum(light[..., 0], light[..., 1]), np.maximum(light[..., 2], _KNEE))
    # All three by the same factor: the hue stays.
    light *= ((1 - (1 - _KNEE) * cv2.exp((_KNEE - brightest) / (1 - _KNEE))) / brightest * _TOP)[..., None]
    return np.take(_display(), np.rint(light).clip(0, _TOP).astype(np.uint16))


@functools.cache
def _light(transfer: int) -> np.ndarray:
    """Of each value its light (ITU-R BT.2100): of PQ that of the screen, 1 is white; of HLG that of the scene."""
    value = np.linspace(0, 1, _TOP + 1)
    if transfer == PQ:
        root = value ** (32 / 2523)
        light = (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305) * (
            10_000 / _WHITE
        )
    else:
        light = np.where(value <= 0.5, value**2 / 3, (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return light.astype(np.float32)


@functools.cache
def _display() -> np.ndarray:
    """Of each light the value that an ordinary screen shows so (ITU-R BT.1886)."""
    return np.asarray(np.rint(255 * np.linspace(0, 1, _TOP + 1) ** (1 / 2.4)).astype(np.uint8))
