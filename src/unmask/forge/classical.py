"""Forgeries without a network: face swap, reenactment, self-blending.

Each takes the face that is forged, a donor and random numbers, and gives the forged crop with its mask, uint8 (H, W):
how much of each pixel was replaced. Where the mask is 0 the crop is as it was, to the bit.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from unmask.forge.geometry import (
    FACE,
    AlignedFace,
    Image,
    Points,
    affine,
    blend,
    displace,
    soft_mask,
    transfer_colour,
    warp,
)

Forged = tuple[Image, Image]


def face_swap(target: AlignedFace, donor: AlignedFace, rng: np.random.Generator) -> Forged:
    """The donor's inner face, aligned by five points, in the target's colours, blended or cloned in.

    As FaceSwap of FF++ (Roessler et al., ICCV 2019, arXiv 1901.08971), without its 3D model; every second one is
    set in by Poisson blending (Perez et al., SIGGRAPH 2003).
    """
    mask = soft_mask(target, _varied_face(rng, 0.06), softness=float(rng.uniform(0.12, 0.35)))
    moved = warp(donor.image, affine(donor.points, target.points), target.image.shape[:2])
    mask *= _covered(donor, target)
    moved = transfer_colour(moved, target.image, mask)
    inside = (mask > 0.35).astype(np.uint8) * 255
    rows, columns = np.nonzero(inside)
    # OpenCV puts the middle of the mask's bounding box at a point, rounded up; the mask must not touch the border.
    if rng.random() < 0.5 and len(rows) > 100 and _clear_of_border(inside):
        middle = (int(columns.min() + columns.max() + 1) // 2, int(rows.min() + rows.max() + 1) // 2)
        # A copy of the mask: OpenCV turns the one it is given inside out.
        cloned = cv2.seamlessClone(moved, target.image, inside.copy(), middle, cv2.NORMAL_CLONE)
        return blend(target.image, cloned, (inside > 0).astype(np.float64)), inside
    return blend(target.image, moved, mask), _mask_image(mask)


def reenact(target: AlignedFace, donor: AlignedFace, rng: np.random.Generator) -> Forged:
    """The target's own pixels pulled to the donor's expression: mouth corners, jaw, lids.

    An image-space stand-in for Face2Face (Thies et al., CVPR 2016): the donor's points, aligned by eyes and nose, say
    where mouth corners go; how far mouth and nose lie apart says how far the jaw drops.
    """
    upper = [np.concatenate([face.points[:3], _above(face.points)]) for face in (donor, target)]
    to_target = affine(*upper)
    expected = donor.points @ to_target[:, :2].T + to_target[:, 2]
    eyes = float(np.linalg.norm(target.points[1] - target.points[0]))
    corners = (expected[3:] - target.points[3:]) * rng.uniform(0.8, 1.3)
    # An expression, not another face: at least visible, at most a fifth of the distance of the eyes.
    length = np.linalg.norm(corners, axis=1, keepdims=True)
    corners *= np.clip(length, 0.06 * eyes, 0.2 * eyes) / np.maximum(length, 1e-6)
    down = target.points[3:].mean(axis=0) - target.points[:2].mean(axis=0)
    down /= np.linalg.norm(down)
    middle = target.points[3:].mean(axis=0)
    jaw, lids = rng.uniform(-0.08, 0.16) * eyes, rng.uniform(-0.07, 0.07) * eyes
    anchors = np.stack([*target.points[3:], middle + 0.28 * eyes * down, *(target.points[:2] - 0.12 * eyes * down)])
    shifts = np.stack([*corners, corners.mean(axis=0) + jaw * down, lids * down, lids * down])
    moved = displace(target.image, anchors, shifts, reach=0.26 * eyes)
    mask = soft_mask(target, FACE, softness=0.25)
    return blend(target.image, moved, mask), _mask_image(mask)


def self_blend(target: AlignedFace, donor: AlignedFace | None, rng: np.random.Generator) -> Forged:
    """Self-blended image: the face over itself after a change of colour, sharpness and place.

    Shiohara and Yamasaki, CVPR 2022, arXiv 2204.08376. Here the changed copy is always the one that is blended in, so
    that outside the mask nothing betrays the fake. The donor is not used.
    """
    source = _recoloured(target.image, rng)
    if rng.random() < 0.5:
        height, width = source.shape[:2]
        factor = int(rng.integers(2, 5))
        small = cv2.resize(source, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_LINEAR)
        source = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    else:
        soft = cv2.GaussianBlur(source, (0, 0), 1.5)
        source = cv2.addWeighted(source, 1.6, soft, -0.6, 0).astype(np.uint8, copy=False)
    height, width = source.shape[:2]
    zoom = rng.uniform(0.95, 1.05)
    shift = rng.uniform(-0.03, 0.03, 2) * (width, height)
    centre = np.array([width, height]) / 2
    matrix = np.array([[zoom, 0, centre[0] * (1 - zoom) + shift[0]], [0, zoom, centre[1] * (1 - zoom) + shift[1]]])
    source = warp(source, matrix, source.shape[:2]).astype(np.uint8, copy=False)
    mask = soft_mask(target, _varied_face(rng, 0.08), softness=float(rng.uniform(0.1, 0.6)))
    mask = mask * rng.choice([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    return blend(target.image, source, mask), _mask_image(mask)


def paste(
    target: AlignedFace,
    rendered: Image,
    region: tuple[float, float, float],
    shape: tuple[tuple[float, float], tuple[float, float]],
    rng: np.random.Generator,
) -> Forged:
    """A rendered square of the template set into the crop: in its colours, under a soft mask of the given shape."""
    moved = target.from_template(rendered, region)
    mask = soft_mask(target, shape, softness=float(rng.uniform(0.2, 0.4)))
    return blend(target.image, transfer_colour(moved, target.image, mask), mask), _mask_image(mask)


def _above(points: Points) -> Points:
    """A fourth point, as far over the eyes as the nose lies under them: three alone may nearly lie on a line."""
    middle = points[:2].mean(axis=0)
    return (2 * middle - points[2])[None]


def _varied_face(rng: np.random.Generator, by: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The inner face with half axes changed by up to ``by`` and its centre moved a little, in few steps."""
    (x, y), (a, b) = FACE
    change = np.round(rng.uniform(-by, by, 4), 2)
    return (x + 10 * change[0], y + 10 * change[1]), (a * (1 + change[2]), b * (1 + change[3]))


def _covered(donor: AlignedFace, target: AlignedFace) -> Points:
    """(H, W): 1 where the donor's crop has pixels for the target's, 0 where its border would be repeated."""
    full = np.zeros(donor.image.shape[:2], np.float32)
    full[2:-2, 2:-2] = 1
    return warp(full, affine(donor.points, target.points), target.image.shape[:2]).astype(np.float64)


def _clear_of_border(mask: Image) -> bool:
    return not (mask[:2].any() or mask[-2:].any() or mask[:, :2].any() or mask[:, -2:].any())


def _recoloured(image: Image, rng: np.random.Generator) -> Image:
    shifted = np.arange(256.0)[:, None] + rng.uniform(-20, 20, 3)
    shifted = (shifted - 128) * rng.uniform(0.85, 1.15) + 128 + rng.uniform(-12, 12)
    table = np.rint(shifted.clip(0, 255)).astype(np.uint8)
    return cv2.LUT(image, table[None]).astype(np.uint8, copy=False)


def _mask_image(mask: npt.NDArray[np.float64]) -> Image:
    # Rounded up: a pixel that was touched at all is not 0.
    return np.ceil(mask * 255).clip(0, 255).astype(np.uint8)
