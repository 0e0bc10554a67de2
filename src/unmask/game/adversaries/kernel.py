"""A free kernel at every pixel: all k * k weights by gradient ascent."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unmask.game.adversaries.ascent import Ascent
from unmask.game.adversaries.base import Attack
from unmask.game.adversaries.sigma import checked_kernel_size
from unmask.game.blur_reference import reflected


def pixelwise_filter(images: Tensor, kernels: Tensor) -> Tensor:
    """Each pixel filtered with its own kernel, the same for all colours; borders reflected.

    Args:
        images: (B, C, H, W).
        kernels: (B, k * k, H, W), weights row by row of the k x k window, k odd.

    Returns:
        (B, C, H, W). Extra memory beside the kernels does not grow with k.
    """
    height, width = images.shape[-2:]
    size = math.isqrt(kernels.shape[1])
    rows = reflected(height, size // 2, images.device)
    columns = reflected(width, size // 2, images.device)
    padded = images[:, :, rows[:, None], columns]
    out = torch.zeros_like(images)
    for index in range(size * size):
        row, column = divmod(index, size)
        window = padded[:, :, row : row + height, column : column + width]
        out = torch.addcmul(out, window, kernels[:, index : index + 1])
    return out


class GradientKernel(Ascent):
    """General per-pixel kernel: all k * k weights, a softmax of logits that climb the classifier's loss.

    The kernel is ``keep`` of the identity plus the rest of the softmax, so the centre weighs at least
    ``keep`` and no pixel changes by more than 1 - keep, whatever the logits (the paper's general kernel
    variant, with a bound). All weights are positive and sum to 1: an adversarial image stays within the
    range of its pixels. Each step moves every logit by ``alpha`` along the sign of its gradient.

    Args:
        kernel_size: side of the window in pixels, odd, at least 3.
        keep: lower bound of the centre's weight, in [0, 1).
        start: the centre's weight at the start, in (keep, 1); its neighbours share the rest evenly.
        steps: gradient steps, each from where the last one ended.
        alpha: size of a step of a logit: one step multiplies the ratio of two weights by up to exp(2 alpha).
        random_start: add standard normal noise to the logits of the start.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        kernel_size: int = 3,
        keep: float = 0.3,
        start: float = 0.8,
        steps: int = 1,
        alpha: float = 1.0,
        random_start: bool = False,
    ) -> None:
        super().__init__(steps)
        self.kernel_size = checked_kernel_size(kernel_size, 1.0)
        if not 0 <= keep < 1:
            raise ValueError(f"keep must be in [0, 1), got {keep}")
        if not keep < start < 1:
            raise ValueError(f"start must be above keep = {keep} and below 1, got {start}")
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.keep, self.start, self.alpha, self.random_start = keep, start, alpha, random_start

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Filtered images; the map is the kernels, (B, k * k, H, W), row by row of the window."""
        images = images.detach()
        logits = self.climb(
            self._start(images),
            lambda logits: pixelwise_filter(images, self._kernels(logits)),
            lambda logits, gradient: logits + self.alpha * gradient.sign(),
            labels,
            classifier,
        )
        kernels = self._kernels(logits)
        return Attack(pixelwise_filter(images, kernels).clamp(0, 1), kernels)

    def _start(self, images: Tensor) -> Tensor:
        batch, _, height, width = images.shape
        weights = self.kernel_size**2
        logits = images.new_zeros(batch, weights, height, width)
        centre = (self.start - self.keep) / (1 - self.keep)
        logits[:, weights // 2] = math.log((weights - 1) * centre / (1 - centre))
        return logits + torch.randn_like(logits) if self.random_start else logits

    def _kernels(self, logits: Tensor) -> Tensor:
        kernels = (1 - self.keep) * logits.softmax(dim=1)
        identity = torch.zeros_like(kernels[:1])
        identity[:, identity.shape[1] // 2] = self.keep
        return kernels + identity
