"""Artefacts hidden rather than blurred: parts of the original are put back into its forgery, and all is blurred."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.game.adversaries.ascent import Ascent
from unmask.game.adversaries.base import Attack
from unmask.game.adversaries.sigma import checked_kernel_size
from unmask.game.blur import pixelwise_gaussian_blur


class GradientRestore(Ascent):
    """The half of a forgery that gives it away most becomes the original again; and every pixel is blurred.

    A classifier that goes by one artefact is shown the forgery without it, and must find another. The image is
    divided into ``cells`` x ``cells`` parts. A score a part climbs the loss, by steps of ``alpha`` along its gradient
    scaled to unit root mean square; where the score is among the highest ``share``, ``strength`` of the
    difference between forgery and original is taken back, with soft edges in between. How much is restored is
    thus given, and where is the adversary's choice. At the same time sigma climbs as in
    :class:`~unmask.game.adversaries.blur_gradient.GradientBlur`, for originals and forgeries alike: log sigma moves by
    ``blur_alpha`` along the sign of its gradient, from a random start.

    The k-th fake of a batch is laid over its k-th real: they must be a forgery and its original, geometry and colours
    alike, which is what ``data.pairing = "aligned"`` gives.

    Args:
        cells: parts along each side.
        share: of the parts that are restored, in (0, 1).
        strength: of the restoration, in (0, 1]; at 1 nothing of the forgery is left there.
        sigma_max, sigma_min: bounds of sigma, in pixels; the lower one is positive.
        kernel_size: odd, at least 3; None takes what follows from ``sigma_max``.
        steps: gradient steps for both maps together.
        alpha: size of a score's step; scores start from a standard normal draw.
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
        super().__init__(steps)
        check_restoration(cells, share, strength)
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"sigma_min must be positive and below sigma_max = {sigma_max} px, got {sigma_min}")
        if not 0 < alpha < math.inf or not 0 < blur_alpha < math.inf:
            raise ValueError(f"alpha and blur_alpha must be positive, got {alpha} and {blur_alpha}")
        self.cells, self.share, self.strength = cells, share, strength
        self.sigma_max, self.sigma_min = sigma_max, sigma_min
        self.kernel_size = checked_kernel_size(kernel_size, sigma_max)
        self.alpha, self.blur_alpha = alpha, blur_alpha

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Restored and blurred images; the map is sigma in pixels, (B, 1, H, W).

        Raises:
            ValueError: not as many reals as fakes.
        """
        images = images.detach()
        back = to_originals(images, labels)
        scores = torch.randn_like(images[:, :1, :1, :1].expand(-1, -1, self.cells, self.cells))
        span = math.log(self.sigma_max / self.sigma_min)
        sigma = self.sigma_min * torch.exp(span * torch.rand_like(images[:, :1]))

        def parts(both: Tensor) -> tuple[Tensor, Tensor]:
            first, second = both.split([self.cells**2, both.shape[1] - self.cells**2], dim=1)
            return first.view_as(scores), second.view_as(sigma)

        def render(both: Tensor) -> Tensor:
            scores, sigma = parts(both)
            # The step function has no gradient: on the way it is a sigmoid about the same threshold.
            chosen = torch.sigmoid(2 * (scores - threshold(scores, self.share)))
            mask = spread(self.strength * chosen, images)
            return pixelwise_gaussian_blur(images + mask * back, sigma, self.kernel_size)

        def move(both: Tensor, gradient: Tensor) -> Tensor:
            (scores, sigma), (uphill, blurrier) = parts(both), parts(gradient)
            size = uphill.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp(min=1e-12)
            scores = scores + self.alpha * uphill / size
            sigma = (sigma * torch.exp(self.blur_alpha * blurrier.sign())).clamp(self.sigma_min, self.sigma_max)
            return torch.cat([scores.flatten(1), sigma.flatten(1)], dim=1)

        start = torch.cat([scores.flatten(1), sigma.flatten(1)], dim=1)
        scores, sigma = parts(self.climb(start, render, move, labels, classifier))
        return restored_and_blurred(images, back, scores, self.share, self.strength, sigma, self.kernel_size)


def check_restoration(cells: int, share: float, strength: float) -> None:
    """Refuse fewer than two parts a side, or a share or strength outside its range."""
    if cells < 2:
        raise ValueError(f"cells must be at least 2, got {cells}")
    if not 0 < share < 1:
        raise ValueError(f"share must be in (0, 1), got {share}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be in (0, 1], got {strength}")


def to_originals(images: Tensor, labels: Tensor) -> Tensor:
    """What turns each image into its original: the k-th real minus the k-th fake, and zero for reals; as ``images``.

    Raises:
        ValueError: not as many reals as fakes.
    """
    fake = labels > 0
    if 2 * int(fake.sum()) != len(labels):
        raise ValueError(f"needs an original for each fake, got {int(fake.sum())} fakes in a batch of {len(labels)}")
    back = torch.zeros_like(images)
    back[fake] = images[~fake] - images[fake]
    return back


def restored_and_blurred(
    images: Tensor, back: Tensor, scores: Tensor, share: float, strength: float, sigma: Tensor, kernel_size: int
) -> Attack:
    """The attack that scores (B, 1, cells, cells) and sigma (B, 1, H, W) come to; it also says how much is restored."""
    mask = spread((scores >= threshold(scores, share)).to(images.dtype), images)
    change = back.abs().sum(dim=1, keepdim=True)
    restored = (mask * change).sum(dim=(1, 2, 3)) / change.sum(dim=(1, 2, 3)).clamp(min=1e-12)
    out = pixelwise_gaussian_blur(images + strength * mask * back, sigma, kernel_size).clamp(0, 1)
    return Attack(out, sigma, restored=restored)


def threshold(scores: Tensor, share: float) -> Tensor:
    """The lowest of the highest ``share`` of each image's scores, (B, 1, 1, 1)."""
    count = max(1, round(share * scores[0].numel())) if len(scores) else 1
    ordered = scores.detach().flatten(1).sort(dim=1, descending=True).values
    return ordered[:, count - 1].view(-1, 1, 1, 1)


def spread(mask: Tensor, images: Tensor) -> Tensor:
    """A mask of parts (B, 1, cells, cells) over the pixels of the images, bilinear: (B, 1, H, W)."""
    if len(mask) == 0:
        return images[:, :1]
    return F.interpolate(mask, images.shape[-2:], mode="bilinear", align_corners=False)
