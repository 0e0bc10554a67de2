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

    from unmask.detector import Scorer
    from unmask.game.adversaries import Adversary

Array = npt.NDArray[np.float64]

_BATCH = 16


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
    seed: int = 0,
) -> Replay:
    """Attack a detector on faces of a table, reals and fakes.

    Args:
        detector: a folder, or the name of a bundled one.
        adversary: a name of :data:`unmask.game.adversaries.ADVERSARIES`. One that learns is taken from the detector's
            folder, where ``unmask calibrate --adversary`` or ``save_adversary`` put it.
        options: its arguments; those kept with the detector where it learns.
        table: face tables, or folders of them, with both labels between them.
        limit: faces of each class at most, evenly spread over the rows.
        seed: of whatever the adversary draws.

    Raises:
        UnmaskError: the detector or table cannot be used, a class is missing, there is no such adversary, or it
            learns and none is kept with the detector.
    """
    import torch

    from unmask.data.table import FaceTable
    from unmask.detector import Scorer
    from unmask.game.adversaries import ADVERSARIES

    scorer = Scorer.load(detector)
    player = _player(scorer, detector, adversary, dict(options or {}))
    if player.needs_originals:
        raise UnmaskError(f"adversary {adversary!r}", "needs each fake beside its original, which tables do not give")
    faces = FaceTable.read(table)
    kinds = {"real": np.flatnonzero(~faces.fake), "fake": np.flatnonzero(faces.fake)}
    if not all(map(len, kinds.values())):
        raise UnmaskError(str(table), "needs both reals and fakes to be attacked")
    blurs = "blur" in adversary and adversary in ADVERSARIES
    frequency, rows, sigma, clean, removed = np.empty(0), {}, {}, {}, {}
    for kind, found in kinds.items():
        chosen = found[np.linspace(0, len(found) - 1, min(limit, len(found))).round().astype(int)]
        maps, before, change = [], [], []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for start in range(0, len(chosen), _BATCH):
                part = [int(row) for row in chosen[start : start + _BATCH]]
                images = scorer.prepare([faces.image(row) for row in part])
                labels = [_label(scorer.card.classes, str(faces.method[row]), kind) for row in part]
                attack = player(images, torch.tensor(labels, device=scorer.device), scorer.model)
                if blurs and attack.map is not None:
                    maps.append(attack.map.detach()[:, 0].double().cpu().numpy())
                before.append(images)
                change.append((images - attack.images).detach())
        rows[kind] = len(chosen)
        if maps:
            sigma[kind] = np.concatenate(maps).mean(axis=0)
        frequency, clean[kind] = _powers(before)
        _, removed[kind] = _powers(change)
    return Replay(rows, sigma, frequency, clean, removed)


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
        held = json.loads(path.read_text())["adversary"]
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
