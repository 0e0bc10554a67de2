"""A random change that is drawn several times, and kept where it hurts most: an attack without a gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unmask.game.adversaries.base import Adversary, Attack, attacked, logits_of, per_image_loss


class WorstOf(Adversary):
    """The worst of several draws of a random change, image by image.

    The worst-of-k attack of Engstrom et al. 2019 (arXiv 1712.02779), there for rotations. It makes an adversary of
    every random control, one that plays nothing which its control could not have drawn, and is the weaker the fewer the
    draws. A draw costs a forward pass of the classifier; nothing is differentiated.

    Args:
        random: the change.
        draws: how many are drawn for every image, at least 2.

    Raises:
        ValueError: fewer than two draws, or a ``random`` that learns and so does not draw.
    """

    def __init__(self, random: Adversary, draws: int = 4) -> None:
        super().__init__()
        if not isinstance(draws, int) or draws < 2:
            raise ValueError(f"draws must be a whole number of at least 2, got {draws}")
        if random.learns:
            raise ValueError("an adversary that learns is not drawn: the worst of a random change is meant")
        self.random, self.draws = random, draws
        self.needs_originals = random.needs_originals

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Of each image the draw with the greatest loss; the map is that of the random change."""
        worst = self.random.perturb(images, labels, classifier)
        with torch.no_grad(), attacked(classifier):
            loss = per_image_loss(logits_of(classifier, worst.images), labels)
            for _ in range(self.draws - 1):
                draw = self.random.perturb(images, labels, classifier)
                other = per_image_loss(logits_of(classifier, draw.images), labels)
                worst = _where(other > loss, draw, worst)
                loss = torch.maximum(loss, other)
        return worst


def _where(chosen: Tensor, one: Attack, other: Attack) -> Attack:
    """Image by image, the first attack where ``chosen`` (B,), else the second."""

    def pick(first: Tensor, second: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (first.ndim - 1)), first, second)

    played = None if one.map is None or other.map is None else pick(one.map, other.map)
    restored = None if one.restored is None or other.restored is None else pick(one.restored, other.restored)
    return Attack(pick(one.images, other.images), played, restored=restored)
