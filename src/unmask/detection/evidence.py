"""The pictures of a report: the most telling faces, where in them the reasons lie, and the frame they are from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unmask.detection.result import Evidence, FaceScore, ScoredTrack, Still
from unmask.detector.pixels import resize_crops
from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from unmask.detector.onnx_scorer import OnnxScorer
    from unmask.detector.scorer import Scorer
    from unmask.faces import Media
    from unmask.game.adversaries import GeneratorBlur

#: Sides of the pictures of faces and of frames, pixels.
_FACE, _FRAME = 224, 720
#: From cold to hot; brightness rises all along, so the order is seen without colours too.
_RAMP = np.array([[20, 10, 60], [125, 30, 110], [225, 90, 50], [255, 225, 90]], dtype=np.float32)
#: A generator draws noise from torch's one random state: threads take turns.
_NOISE = threading.Lock()


def choose(tracks: Sequence[ScoredTrack]) -> list[tuple[int, FaceScore]]:
    """The most telling faces: of the deciding track the three highest and the lowest, of five others the highest."""
    chosen: list[tuple[int, FaceScore]] = []
    for number, track in enumerate(tracks[:6]):
        by_score = sorted(track.faces, key=lambda face: -face.score)
        if number > 0:
            chosen.append((number, by_score[0]))
        else:
            chosen += [(0, face) for face in by_score[:3] + by_score[3:][-1:]]
    return chosen


def collect(
    media: Media,
    tracks: Sequence[ScoredTrack],
    scorer: Scorer | OnnxScorer,
    adversary: Callable[[], GeneratorBlur | None],
) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """Crops, heat maps and sigma maps of the most telling faces, and what could not be had of them and why.

    ``media`` are turned as they were judged. The adversary is asked for here: a verdict does not depend on one that is
    damaged.
    """
    chosen = choose(tracks)
    recipe = scorer.card.crop
    crops = [recipe.crop(media.frames[face.position].image, face.seen or face.box) for _, face in chosen]
    found = [Evidence(number, face, jpeg(crop, _FACE)) for (number, face), crop in zip(chosen, crops, strict=True)]
    if not crops:
        return (), ()
    notes: list[str] = []
    try:
        heat = scorer.heat(crops)
        for place, (crop, cells) in enumerate(zip(crops, heat, strict=True)):
            rows = tuple(tuple(round(float(value), 4) for value in row) for row in cells)
            found[place] = replace(found[place], cells=rows, heat=overlay(crop, cells))
    except UnmaskError as error:
        notes.append(f"No heat map: {error}.")
    try:
        player = adversary()
        if player is None:
            notes.append("No map of the adversary: this detector comes without one, or torch is not installed.")
        else:
            sigmas = _sigma(scorer.card.input_size, player, crops)
            for place, (crop, sigma) in enumerate(zip(crops, sigmas, strict=True)):
                found[place] = replace(found[place], sigma=overlay(crop, sigma / player.sigma_max))
    except UnmaskError as error:
        notes.append(f"No map of the adversary: {error}.")
    return tuple(found), tuple(notes)


def still(media: Media, tracks: Sequence[ScoredTrack]) -> Still:
    """The frame of the highest-scoring face of the deciding track, or the first frame."""
    best = max(tracks[0].faces, key=lambda face: face.score).position if tracks else 0
    image = media.frames[best].image  # whose size may not be that of the first: streams may change it
    return Still(image.shape[1], image.shape[0], best, jpeg(image, _FRAME))


def overlay(crop: np.ndarray, share: np.ndarray) -> bytes:
    """JPEG of a crop (H, W, 3) in grey with a map (h, w) in [0, 1] over it, from dark violet to yellow."""
    import cv2

    size = (_FACE, _FACE)
    grey = cv2.cvtColor(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.resize(share.astype(np.float32), size, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    levels = np.linspace(0, 1, len(_RAMP))
    colour = np.stack([np.interp(smooth, levels, _RAMP[:, channel]) for channel in range(3)], axis=2)
    # The hotter, the less of the face shows through; it never vanishes.
    weight = (0.15 + 0.5 * smooth)[..., None]
    return jpeg(((1 - weight) * grey[..., None] + weight * colour).round().astype(np.uint8), _FACE)


def jpeg(image: np.ndarray, side: int) -> bytes:
    """JPEG of an RGB image (H, W, 3), scaled down so that its longer side is at most ``side`` pixels."""
    import cv2

    scale = side / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        raise ValueError("OpenCV could not encode a picture for the report")
    return bytes(data)


def _sigma(size: int, adversary: GeneratorBlur, crops: Sequence[np.ndarray]) -> np.ndarray:
    """The blur, in pixels, that the adversary would play on these crops if they were fakes: (N, S, S)."""
    import torch

    images = torch.from_numpy(resize_crops(crops, size)).permute(0, 3, 1, 2).float() / 255
    labels = torch.ones(len(images), dtype=torch.long)
    # One seed: the same bytes give the same picture.
    with _NOISE, torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        return adversary.sigma(images, labels)[:, 0].cpu().numpy()
