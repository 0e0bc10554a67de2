"""The adversary beside a finished detector: ``adversary.safetensors`` and an entry in the card."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch.nn import functional as F

from unmask.detector.file import CARD, card_text, find_detector, read_weights, stored_weights
from unmask.errors import UnmaskError
from unmask.game import pixelwise_gaussian_blur
from unmask.game.adversaries import GeneratorBlur, attacked, build_adversary
from unmask.writing import replacing, write_text

if TYPE_CHECKING:
    from unmask.data.table import FaceTable
    from unmask.detector import Card, Scorer

ADVERSARY = "adversary.safetensors"


def save_adversary(
    folder: str | os.PathLike[str],
    card: Card,
    adversary: GeneratorBlur,
    name: str,
    options: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> None:
    """Put an adversary into a detector's folder, its weights as float16, and an entry into the card there.

    Args:
        folder: of the detector, as ``save_detector`` wrote it.
        card: of that detector.
        adversary: the generator.
        name, options: what :func:`unmask.game.adversaries.build_adversary` makes it from.
        origin: how it learned; goes into the card beside the name.

    Raises:
        UnmaskError: the folder cannot be written.
    """
    target = Path(folder)
    state = stored_weights(adversary.state_dict())
    data = safetensors.torch.save({key: t.detach().cpu().contiguous() for key, t in state.items()})
    entry = {"name": name, "options": dict(options), "sha256": hashlib.sha256(data).hexdigest(), **origin}
    with replacing(target / ADVERSARY) as file:
        file.write(data)
    write_text(target / CARD, card_text(replace(card, adversary=entry)))


def read_adversary(name_or_path: str | os.PathLike[str], card: Card) -> GeneratorBlur | None:
    """The adversary of a detector, in eval mode, frozen; None if its card names none.

    Raises:
        UnmaskError: the card names one, but its file is missing, damaged, another one, or does not fit.
    """
    if card.adversary is None:
        return None
    path = find_detector(name_or_path) / ADVERSARY
    state = read_weights(path, card.adversary.get("sha256", ""))
    adversary = build_adversary(card.adversary["name"], dict(card.adversary.get("options", {})))
    if not isinstance(adversary, GeneratorBlur):
        raise UnmaskError(path, f"{card.adversary['name']!r} is no generator of blur: it has no map to show")
    try:
        adversary.load_state_dict(state)
    except RuntimeError as error:
        raise UnmaskError(path, f"does not fit the card's adversary ({error})") from error
    return adversary.float().eval().requires_grad_(False)


def fit_adversary(
    scorer: Scorer,
    table: FaceTable,
    *,
    steps: int = 150,
    batch_size: int = 16,
    lr: float = 2e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[GeneratorBlur, dict[str, float]]:
    """Let a new blur generator play against a finished detector, which does not move: only the attack learns.

    Each step takes as many reals as fakes at random, ascends the detector's cross entropy on the blurred images,
    and pays the game's barrier for sigma close to a bound: otherwise the strongest blur everywhere would do.

    Args:
        scorer: the detector, a torch one.
        table: validation rows.
        steps, batch_size, lr, seed: of the fit, by Adam.
        progress: called with steps done and steps in all.

    Returns:
        The generator in eval mode, and mean cross entropies over the last quarter of the steps: ``loss_before`` of the
        images as they are, ``loss_after`` of the blurred ones, and ``loss_control`` under the map of another
        image of the class, a blur of equal strength. A map means something if only its own image suffers.

    Raises:
        UnmaskError: a class is missing.
    """
    if steps < 1:
        raise UnmaskError("adversary", f"needs at least one step, got {steps}")
    fakes, reals = np.flatnonzero(table.fake), np.flatnonzero(~table.fake)
    if not len(fakes) or not len(reals):
        raise UnmaskError("adversary", "the table needs both reals and fakes to play on")
    rng = np.random.default_rng(seed)
    half, losses = max(1, batch_size // 2), []
    with torch.random.fork_rng(devices=[]), attacked(scorer.model):
        torch.manual_seed(seed)
        adversary = GeneratorBlur()
        adversary.to(scorer.device).train()
        optimiser = torch.optim.Adam(adversary.parameters(), lr, (0.5, 0.99))
        for step in range(steps):
            images = scorer.prepare([*_drawn(table, reals, half, rng), *_drawn(table, fakes, half, rng)])
            labels = torch.arange(2, device=scorer.device).repeat_interleave(half)
            attack = adversary(images, labels, scorer.model)
            assert attack.map is not None
            after = _loss(scorer.model(attack.images), labels)
            optimiser.zero_grad()
            (adversary.barrier(attack.map) - after).backward()
            optimiser.step()
            if step >= steps - max(1, steps // 4):
                with torch.no_grad():
                    other = attack.map.unflatten(0, (2, half)).roll(1, dims=1).flatten(0, 1).contiguous()
                    control = pixelwise_gaussian_blur(images, other, adversary.kernel_size)
                    before, swapped = (_loss(scorer.model(each), labels).item() for each in (images, control))
                    losses.append((before, after.item(), swapped))
            if progress is not None:
                progress(step + 1, steps)
    names = ("loss_before", "loss_after", "loss_control")
    told = {name: round(float(value), 4) for name, value in zip(names, np.mean(losses, axis=0), strict=True)}
    return adversary.eval().requires_grad_(False), told


def _drawn(
    table: FaceTable, rows: npt.NDArray[np.intp], count: int, rng: np.random.Generator
) -> list[npt.NDArray[np.uint8]]:
    """Images of ``count`` of the rows, drawn with replacement; in the place of one that cannot be decoded another."""
    images: list[npt.NDArray[np.uint8]] = []
    problem: UnmaskError | None = None
    for _ in range(100 * count):
        try:
            images.append(table.image(int(rng.choice(rows))))
        except UnmaskError as error:
            problem = error
        if len(images) == count:
            return images
    assert problem is not None
    raise problem


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of real against fake, the manipulations folded into one; a scalar."""
    from unmask.game.classifier import log_odds

    return F.binary_cross_entropy_with_logits(log_odds(logits.float()), labels.float())
