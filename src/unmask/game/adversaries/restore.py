"""Artefacts hidden rather than blurred: parts of the original are put back into its forgery, and all is blurred."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.game.adversaries.base import Attack
from unmask.game.adversaries.blur_gradient import GradientBlur
from unmask.game.blur import pixelwise_gaussian_blur


class GradientRestore(GradientBlur):
    """The half of a forgery that gives it away most becomes the original again; and every pixel is blurred.

    A classifier that goes by one artefact is shown the forgery without it, and must find another. The image is
    divided into ``cells`` x ``cells`` parts, and a score of each climbs the loss, by steps of ``alpha`` along its
    gradient scaled to unit root mean square. The parts are restored in the order of their scores, until they hold
    ``share`` of all that forging has changed: there ``strength`` of the difference to the original is taken back, with
    soft edges between the parts. How much is restored is thus given, in every image, and where is the adversary's
    choice. At the same time sigma climbs for originals and forgeries alike, as in
    :class:`~unmask.game.adversaries.blur_gradient.GradientBlur` from a random start, by steps of ``blur_alpha``.

    The k-th fake of a batch is laid over its k-th real: they must be a forgery and its original, geometry and colours
    alike, which is what ``data.pairing = "aligned"`` gives.

    Args:
        cells: parts along each side.
        share: of the forgery (its absolute difference to the original, summed) that is restored, in (0, 1).
        strength: of the restoration, in (0, 1]; at 1 nothing of the forgery is left there.
        sigma_max, sigma_min: bounds of sigma, in pixels; the lower one is positive.
        kernel_size: odd, at least 3; None takes what follows from ``sigma_max``.
        steps: gradient steps for both maps together.
        alpha: size of a score's step; scores start from a standard normal draw. With 0 they stay there: what is
            restored is left to chance, and the blur alone is played against the classifier.
        blur_alpha: size of a step of log sigma.

    Raises:
        ValueError: an argument outside its range.
    """

    needs_originals = True

    def __init__(
        self,
        cells: int = 7,
        share: float = 0.5,
        strength: float = 0.9,
        sigma_max: float = 2.0,
        sigma_min: float = 0.3,
        kernel_size: int | None = 5,
        steps: int = 2,
        alpha: float = 2.0,
        blur_alpha: float = 0.6,
    ) -> None:
        if not 0 <= alpha < math.inf or not 0 < blur_alpha < math.inf:
            raise ValueError(f"alpha must be at least 0 and blur_alpha positive, got {alpha} and {blur_alpha}")
        super().__init__(sigma_max, sigma_min, kernel_size, steps, blur_alpha)
        check_restoration(cells, share, strength)
        self.cells, self.share, self.strength, self.score_alpha = cells, share, strength, alpha

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Restored and blurred images; the map is sigma in pixels, (B, 1, H, W).

        Raises:
            ValueError: not as many reals as fakes.
        """
        images = images.detach()
        restoration = Restoration(images, labels, self.cells, self.share, self.strength)
        scores, sigma = restoration.random_scores(), self._start(images)

        def parts(both: Tensor) -> tuple[Tensor, Tensor]:
            first, second = both.split([self.cells**2, both.shape[1] - self.cells**2], dim=1)
            return first.view_as(scores), second.view_as(sigma)

        def render(both: Tensor) -> Tensor:
            scores, sigma = parts(both)
            restored = restoration.soft(scores) if self.score_alpha else restoration.hard(scores)
            return pixelwise_gaussian_blur(restoration.images(restored), sigma, self.kernel_size)

        def move(both: Tensor, gradient: Tensor) -> Tensor:
            (scores, sigma), (uphill, blurrier) = parts(both), parts(gradient)
            size = uphill.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp(min=1e-12)
            scores = scores + self.score_alpha * uphill / size
            sigma = self._move(sigma, blurrier, images, self.alpha)
            return torch.cat([scores.flatten(1), sigma.flatten(1)], dim=1)

        start = torch.cat([scores.flatten(1), sigma.flatten(1)], dim=1)
        scores, sigma = parts(self.climb(start, render, move, labels, classifier))
        return restoration.attack(scores, sigma, self.kernel_size)


class Restoration:
    """A batch of originals and forgeries, and what becomes of it when parts of the forgeries are restored.

    Args:
        images, labels: (B, C, H, W) and (B,); the k-th fake's original is the k-th real.
        cells, share, strength: as for :class:`GradientRestore`.

    Raises:
        ValueError: not as many reals as fakes.
    """

    def __init__(self, images: Tensor, labels: Tensor, cells: int, share: float, strength: float) -> None:
        fake = labels > 0
        if 2 * int(fake.sum()) != len(labels):
            raise ValueError(
                f"needs an original for each fake, got {int(fake.sum())} fakes in a batch of {len(labels)}"
            )
        self._images, self._share, self._strength = images, share, strength
        #: What turns each image into its original: zero for reals.
        self._back = torch.zeros_like(images)
        self._back[fake] = images[~fake] - images[fake]
        self._rows, self._columns = (_weights(cells, length, images) for length in images.shape[2:])
        with torch.autocast(images.device.type, enabled=False):
            held = self._rows @ self._back.abs().sum(dim=1, keepdim=True) @ self._columns.mT
        #: (B, 1, cells, cells) share of the forgery that each part holds.
        self._held = held / held.sum(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(held.dtype).tiny)

    def random_scores(self) -> Tensor:
        """Standard normal scores of the parts, (B, 1, cells, cells)."""
        return torch.randn_like(self._held)

    def hard(self, scores: Tensor) -> Tensor:
        """How far each part is restored, in [0, 1]: the highest scores wholly, up to ``share``; reals not at all."""
        return self._filled(scores)[0]

    def soft(self, scores: Tensor) -> Tensor:
        """The same with a gradient: a sigmoid about the score at which the share is used up."""
        return torch.sigmoid(2 * (scores - self._filled(scores.detach())[1]))

    def _filled(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        order = scores.flatten(1).argsort(dim=1, descending=True)
        held = self._held.flatten(1).gather(1, order)
        before = held.cumsum(dim=1) - held
        ordered = ((self._share - before) / held.clamp(min=torch.finfo(held.dtype).tiny)).clamp(0, 1) * (held > 0)
        last = (before < self._share).sum(dim=1, keepdim=True).clamp(min=1) - 1
        threshold = scores.flatten(1).gather(1, order).gather(1, last)
        return torch.zeros_like(ordered).scatter(1, order, ordered).view_as(scores), threshold.view(-1, 1, 1, 1)

    def images(self, restored: Tensor) -> Tensor:
        """The batch with its parts (B, 1, cells, cells) restored as far as that says."""
        with torch.autocast(restored.device.type, enabled=False):
            mask = self._rows.mT @ restored @ self._columns
        return self._images + self._strength * mask * self._back

    def attack(self, scores: Tensor, sigma: Tensor, kernel_size: int) -> Attack:
        """What scores and sigma (B, 1, H, W), in pixels, come to."""
        restored = self.hard(scores)
        blurred = pixelwise_gaussian_blur(self.images(restored), sigma, kernel_size).clamp(0, 1)
        return Attack(blurred, sigma, restored=(restored * self._held).sum(dim=(1, 2, 3)))


def _weights(cells: int, length: int, like: Tensor) -> Tensor:
    """(cells, length): how much each part along an axis counts at each pixel, linear in between; columns sum to 1."""
    parts = torch.eye(cells, device=like.device, dtype=like.dtype)
    return F.interpolate(parts[None], length, mode="linear", align_corners=False)[0]


def check_restoration(cells: int, share: float, strength: float) -> None:
    """Refuse fewer than two parts a side, or a share or strength outside its range."""
    if not isinstance(cells, int) or cells < 2:
        raise ValueError(f"cells must be a whole number, at least 2, got {cells}")
    if not 0 < share < 1:
        raise ValueError(f"share must be in (0, 1), got {share}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be in (0, 1], got {strength}")
