"""How good the picture of a face is: three cheap numbers, by which a detector knows what it was tested on."""

from __future__ import annotations

import numpy as np

#: Side, in pixels, at which sharpness is measured: about what classifiers look at.
_SIDE = 128
#: Side of the blocks that JPEG and most video codecs cut a picture into, pixels.
_BLOCK = 8
#: Smallest side of a picture in which a grid of blocks can be told from chance, pixels.
_SMALLEST = 6 * _BLOCK


def sharpness(image: np.ndarray) -> float:
    """Fine detail as a share of all contrast: standard deviation of the Laplacian over that of the picture.

    Measured on brightness at 128 x 128 pixels, whatever the size of the picture: one that had to be enlarged is as
    blurred as one that was out of focus. The variance of the Laplacian is a classic measure of focus (Pech-Pacheco
    et al., ICPR 2000, https://doi.org/10.1109/ICPR.2000.903548); over the contrast it does not depend on the light.

    Args:
        image: uint8 (H, W, 3), RGB, the crop of a face.

    Returns:
        0 for a flat picture, 0.1 for a face enlarged from 48 pixels, 0.2 to 0.4 for a good one, 4.5 for white noise.
    """
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if min(grey.shape) > _SIDE else cv2.INTER_LINEAR
    grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=how).astype(np.float32)
    contrast = float(grey.std())
    # Below one grey level there is nothing but rounding.
    return float(cv2.Laplacian(grey, cv2.CV_32F).std()) / contrast if contrast >= 1 else 0.0


def blockiness(image: np.ndarray) -> float | None:
    """How far the 8 x 8 grid of a codec stands out: steps of brightness across the grid's lines over steps elsewhere.

    Of the eight places the grid may lie at, the one with the largest steps counts, across and down by themselves;
    the mean of both is the result (after Wang, Bovik and Evans, ICIP 2000, who take the spectrum of the same
    steps). It needs the picture's own pixels: scaling moves the grid.

    Args:
        image: uint8 (H, W, 3), RGB, not scaled since it was decoded.

    Returns:
        About 1 where there is no grid, 1.5 where it can be seen; None for a picture smaller than 48 x 48.
    """
    import cv2

    if min(image.shape[:2]) < _SMALLEST:
        return None
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return (_grid(np.abs(np.diff(grey, axis=1)).mean(axis=0)) + _grid(np.abs(np.diff(grey, axis=0)).mean(axis=1))) / 2


def _grid(steps: np.ndarray) -> float:
    """Largest over median of the eight phases' mean step."""
    whole = steps[: len(steps) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    # The median over the blocks: one edge of the face must not look like a grid.
    phases = np.median(whole, axis=0)
    # A quarter of a grey level keeps the ratio finite where blocks are flat inside, and at 1 where all is flat.
    return float((phases.max() + 0.25) / (np.median(phases) + 0.25))
