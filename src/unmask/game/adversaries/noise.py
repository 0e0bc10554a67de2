"""Additive noise: FGSM and PGD inside an l_inf ball."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unmask.game.adversaries.ascent import Ascent, step_within
from unmask.game.adversaries.base import Attack


class Noise(Ascent):
    """Adversarial noise of at most ``eps`` a pixel and channel.

    One step without a random start is FGSM, x + eps * sign(grad_x L) (Goodfellow et al. 2015, arXiv
    1412.6572); more are PGD (Madry et al. 2018, arXiv 1706.06083), each step projected to ``eps`` round the
    image itself and to [0, 1]. The loss climbed is that of the true label.

    Args:
        eps: bound of the change, in the units of the image ([0, 1]); the published run has 1/255.
        steps: gradient steps.
        step_size: change a step; None takes ``eps`` for one step, 2.5 eps / steps for more (never above eps).
        random_start: start uniformly inside the ball instead of at the image.

    Raises:
        ValueError: ``eps`` outside (0, 1], no steps, or a step size that is not positive.
    """

    def __init__(
        self,
        eps: float = 1 / 255,
        steps: int = 1,
        step_size: float | None = None,
        random_start: bool = False,
    ) -> None:
        super().__init__(steps)
        if not 0 < eps <= 1:
            raise ValueError(f"eps must be in (0, 1], in units of the image, got {eps}")
        self.eps = eps
        self.step_size = step_within(eps, steps, step_size)
        self.random_start = random_start

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Noisy images; the map is the difference to the clean ones, (B, C, H, W)."""
        images = images.detach()
        low, high = (images - self.eps).clamp(0, 1), (images + self.eps).clamp(0, 1)
        start = images
        if self.random_start:
            start = torch.lerp(low, high, torch.rand_like(images))
        noisy = self.climb(
            start,
            lambda current: current,
            lambda current, gradient: (current + self.step_size * gradient.sign()).clamp(low, high),
            labels,
            classifier,
        )
        return Attack(noisy, noisy - images)
