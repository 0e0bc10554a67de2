"""A finished detector attacked once more on faces that somebody names: where the blur goes and what it takes away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.data.table import FaceTable
    from unmask.detector import Scorer
    from unmask.game.adversaries import Adversary

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_BATCH = 8  # of each class


@dataclass(frozen=True)
class Replay:
    """What an adversary did to the reals and to the fakes of a table; keys of each mapping are ``real`` and ``fake``.

    Attributes:
        rows: how many faces were attacked.
        sigma: (S, S) mean sigma in pixels; empty if the adversary plays no blur.
        frequency: (K,) radial frequency in cycles a pixel, from 0 to 0.71.
        clean, removed: (rows, K) power of each face, and of clean minus attacked: see :func:`radial_power`.
    """

    rows: Mapping[str, int]
    sigma: Mapping[str, Array]
    frequency: Array
    clean: Mapping[str, Array]
    removed: Mapping[str, Array]


def replay(
    detector: str | Path,
    adversary: str,
    options: Mapping[str, Any] | None,
    table: str | Path | Sequence[str | Path],
    *,
    limit: int = 64,
) -> Replay:
    """Attack a detector on faces of a table, reals and fakes.

    Args:
        detector: a folder, or the name of a bundled one.
        adversary: a name of :data:`unmask.game.adversaries.ADVERSARIES`. One that learns is taken from the detector's
            folder, where ``unmask calibrate --adversary`` or ``save_adversary`` put it.
        options: its arguments; those kept with the detector where it learns.
        table: face tables, or folders of them, with both labels between them; for an adversary that needs the originals
            of fakes, with some of them.
        limit: faces of each class at most, evenly spread over the rows.

    Raises:
        UnmaskError: the detector or table cannot be used, a class is missing, there is no such adversary, or it
            learns and none is kept with the detector.
    """
    import torch

    from unmask.data.table import FaceTable
    from unmask.detector import Scorer

    scorer = Scorer.load(detector)
    player = _player(scorer, detector, adversary, dict(options or {}))
    faces = FaceTable.read(table)
    chosen = (_pairs if player.needs_originals else _spread)(faces, limit)
    if not all(map(len, chosen.values())):
        wanted = "a fake beside its original" if player.needs_originals else "both reals and fakes"
        raise UnmaskError(str(table), f"needs {wanted} to be attacked by {adversary}")
    held: dict[str, list[tuple[Tensor, Tensor, Tensor | None]]] = {kind: [] for kind in chosen}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for start in range(0, max(map(len, chosen.values())), _BATCH):
            part = [(kind, int(row)) for kind, rows in chosen.items() for row in rows[start : start + _BATCH]]
            images = scorer.prepare([faces.image(row) for _, row in part])
            labels = [_label(scorer.card.classes, str(faces.method[row]), kind) for kind, row in part]
            attack = player(images, torch.tensor(labels, device=scorer.device), scorer.model)
            change = (images - attack.images).detach()
            # Of all maps only sigma has one value a pixel.
            sigma = attack.map.detach() if attack.map is not None and attack.map.shape[1] == 1 else None
            for kind, parts in held.items():
                mine = torch.tensor([each == kind for each, _ in part], device=images.device)
                parts.append((images[mine], change[mine], None if sigma is None else sigma[mine]))
    return _summed(chosen, held)


def _spread(faces: FaceTable, limit: int) -> dict[str, Rows]:
    """Rows of each class, evenly spread over the table."""
    kinds = {"real": np.flatnonzero(~faces.fake), "fake": np.flatnonzero(faces.fake)}
    return {kind: _evenly(found, limit) for kind, found in kinds.items()}


def _pairs(faces: FaceTable, limit: int) -> dict[str, Rows]:
    """Fakes, evenly spread over those whose original is there at their quality and frame, and these originals."""
    from unmask.data.originals import Originals

    originals = Originals(faces)
    found = [(originals.exactly_of(fake), fake) for fake in np.flatnonzero(faces.fake).tolist()]
    pairs = [pair for pair in found if pair[0] is not None]
    reals, fakes = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return {"real": _evenly(reals, limit), "fake": _evenly(fakes, limit)}


def _evenly(rows: Rows, limit: int) -> Rows:
    return rows[np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(np.int64)]


def _summed(chosen: Mapping[str, Rows], held: Mapping[str, Sequence[tuple[Tensor, Tensor, Tensor | None]]]) -> Replay:
    frequency, sigma, clean, removed = np.empty(0), {}, {}, {}
    for kind, parts in held.items():
        maps = [each[:, 0].double().cpu().numpy() for *_, each in parts if each is not None]
        if maps:
            sigma[kind] = np.concatenate(maps).mean(axis=0)
        frequency, clean[kind] = _powers([images for images, *_ in parts if len(images)])
        _, removed[kind] = _powers([change for _, change, _ in parts if len(change)])
    return Replay({kind: len(rows) for kind, rows in chosen.items()}, sigma, frequency, clean, removed)


def radial_power(images: Array) -> tuple[Array, Array]:
    """The power spectrum by radial frequency, colours averaged.

    Images are freed of their mean and faded out by a Hann window, without which the borders would fill all
    frequencies. Power is |FFT|^2 over the sum of the squared window: white noise of variance v has power v everywhere.

    Args:
        images: (N, C, H, W).

    Returns:
        (K,) frequencies in cycles a pixel, middles of bins between 0 and 0.71, the corner of the spectrum, where the
        checkerboards of upsampling lie; and (N, K) mean power in each.
    """
    height, width = images.shape[-2:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    centred = images - images.mean(axis=(-2, -1), keepdims=True)
    power = np.abs(np.fft.fft2(centred * window)) ** 2 / np.sum(window**2)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    side = 0.5 / max(4, min(height, width) // 4)
    place = np.floor(radius / side).astype(int)
    bins = int(place.max()) + 1
    middles = (np.arange(bins) + 0.5) * side
    flat = power.mean(axis=1).reshape(len(images), -1)
    return middles, np.stack([flat[:, place.ravel() == each].mean(axis=1) for each in range(bins)], axis=1)


def adversary_of(folder: Path) -> tuple[str, dict[str, Any]]:
    """Name and options of the adversary that a finished run was trained with, by its ``recipe.json``.

    Raises:
        UnmaskError: it cannot be read.
    """
    path = folder / "recipe.json"
    try:
        held = json.loads(path.read_text("utf-8"))["adversary"]
        return str(held["name"]), dict(held["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnmaskError(path, f"does not say which adversary played ({error})") from error


def stand_in(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The gradient attack with a generator's bounds and window: what can be replayed where no generator was kept."""
    kept = {key: options[key] for key in ("sigma_max", "kernel_size") if key in options}
    return "blur-gradient", {**kept, "random_start": False, "steps": 4, "alpha": 0.3}


def _player(scorer: Scorer, detector: str | Path, name: str, options: dict[str, Any]) -> Adversary:
    from unmask.detector.adversary import read_adversary
    from unmask.game.adversaries import build_adversary

    built = build_adversary(name, options)
    if built is None:
        raise UnmaskError(f"adversary {name!r}", "attacks nothing: there is nothing to replay")
    if not built.learns:
        return built.to(scorer.device).eval()
    kept = read_adversary(detector, scorer.card)
    if kept is None:
        raise UnmaskError(detector, f"keeps no adversary, and {name!r} is nothing before it has learned")
    return kept.to(scorer.device)


def _label(classes: Sequence[str], method: str, kind: str) -> int:
    """The class of a face; a forgery that the detector has no class for counts as its first."""
    if kind == "real":
        return 0
    return classes.index(method) if len(classes) > 2 and method in classes else 1


def _powers(parts: Sequence[Tensor]) -> tuple[Array, Array]:
    found = [radial_power(part.double().cpu().numpy()) for part in parts]
    return found[0][0], np.concatenate([power for _, power in found])
