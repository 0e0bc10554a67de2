"""Pixel-wise Gaussian blur by gradient ascent on sigma: BAT."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from unmask.game.adversaries.ascent import Ascent
from unmask.game.adversaries.base import Attack
from unmask.game.adversaries.sigma import Field, check_field, checked_kernel_size, uniform_field
from unmask.game.blur import pixelwise_gaussian_blur

#: What is climbed and how: see :class:`GradientBlur`.
Rule = Literal["log-sign", "raw", "precision"]

#: Side in pixels of the images for which the published norm is meant.
PUBLISHED_SIZE = 256

#: Floor of the precision 1 / sigma^2 (sigma = 1,000 px): a raw step may overshoot into the negative.
SMALLEST_PRECISION = 1e-6


class GradientBlur(Ascent):
    """Each pixel blurred as much as hurts the classifier, sigma found by gradient ascent (BAT of the paper).

    Rules:
        ``log-sign``: log sigma moves by ``alpha`` along the sign of its gradient, projected to
        [``sigma_min``, ``sigma_max``]. Where the field is not that of pixels, ``cell`` x ``cell`` pixels, or the
        whole image, move together: what one lens or one codec would do, rather than a pattern of pixels.
        ``raw``: sigma + ``alpha`` * gradient, projected to the same bounds: the paper's equation.
        ``precision``: the map is 1 / sigma^2 and moves by ``alpha`` * gradient; its L2 norm over all pixels
        and colours of a sample stays ``norm`` (at 256 x 256; it grows with the root of the number of
        pixels), so the adversary only redistributes a fixed strength and the bounds on sigma do not apply.

    Gradients are those of each image's own loss, whatever the batch size.

    Args:
        sigma_max: bound of sigma, in pixels.
        sigma_min: lower bound of sigma, in pixels. Below about 0.2 px the kernel is the identity to float
            precision and the gradient is gone: a pixel that got there would never come back.
        kernel_size: odd, at least 3; None takes what follows from ``sigma_max`` (:func:`kernel_size_for`).
        steps: gradient steps, each from where the last one ended.
        alpha: size of a step, in the units of the rule.
        rule: see above.
        random_start: start log-uniformly between the bounds; else from a constant map.
        field: how the random start varies over the image, and what moves together in a ``log-sign`` step.
        cell: distance in pixels over which the smooth field varies.
        start: sigma of the constant start, in pixels; None takes the geometric mean of the bounds. The
            precision rule starts at the constant that has the norm.
        norm: L2 norm of the precision map of a 256 x 256 sample; only the precision rule reads it.
        vary: each image is attacked with a strength of its own: ``alpha`` times a draw from [0, 1]. A classifier that
            has learned little learns from the weak attacks, one that has learned much from the strong ones.
        friendly: images that the classifier already takes for the other class are moved no further.

    Raises:
        ValueError: an argument outside its range, or a random start for the precision rule.
    """

    #: The rules that the class knows.
    rules: ClassVar[tuple[Rule, ...]] = get_args(Rule)

    def __init__(
        self,
        sigma_max: float = 1.0,
        sigma_min: float = 0.2,
        kernel_size: int | None = None,
        steps: int = 1,
        alpha: float = 0.3,
        rule: Rule = "log-sign",
        random_start: bool = True,
        field: Field = "pixel",
        cell: int = 16,
        start: float | None = None,
        norm: float = 100.0,
        vary: bool = False,
        friendly: bool = False,
    ) -> None:
        super().__init__(steps, friendly)
        self.kernel_size = checked_kernel_size(kernel_size, sigma_max)
        if not 0 <= sigma_min < sigma_max:
            raise ValueError(f"sigma_min must be at least 0 and below sigma_max = {sigma_max} px, got {sigma_min}")
        if rule not in self.rules:
            raise ValueError(f"rule must be one of {', '.join(self.rules)}, got {rule!r}")
        if rule == "precision" and random_start:
            raise ValueError("random_start must be off with the precision rule, which starts constant")
        if sigma_min == 0 and (rule == "log-sign" or random_start or start is None) and rule != "precision":
            raise ValueError("sigma_min must be positive for a logarithmic step or start, got 0")
        if start is not None and not sigma_min <= start <= sigma_max:
            raise ValueError(f"start must lie within {sigma_min} and {sigma_max} px, got {start}")
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be positive, got {alpha}")
        if not 0 < norm < math.inf:
            raise ValueError(f"norm must be positive, got {norm}")
        check_field(field, cell)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.alpha, self.rule, self.norm = alpha, rule, norm
        self.random_start, self.field, self.cell, self.vary = random_start, field, cell, vary
        self.start = math.sqrt(sigma_min * sigma_max) if start is None else start

    @classmethod
    def paper(cls, eps: float = 1.0, start: float = 0.5, sigma_max: float = 1.0) -> GradientBlur:
        """The rule as the paper states it: sigma_adv = sigma + eps * grad_sigma L (arXiv 2103.13567).

        Args:
            eps: step, in square pixels a nat of loss; the paper does not give it.
            start: the constant sigma it starts from, in pixels; nor does it give that.
            sigma_max: bound of sigma in pixels; the lower bound is 0.
        """
        return cls(sigma_max, 0.0, alpha=eps, rule="raw", random_start=False, start=start)

    @classmethod
    def published(cls, steps: int = 1, alpha: float = 10.0, norm: float = 100.0) -> GradientBlur:
        """The rule of the published run: constant precision, its norm kept, one raw step of size 10, 3 x 3.

        At 256 px the map starts at 100 / sqrt(3 * 256 * 256), which is sigma = 2.1 px inside the 3 x 3
        window.
        """
        return cls(kernel_size=3, steps=steps, alpha=alpha, rule="precision", random_start=False, norm=norm)

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Blurred images; the map is sigma in pixels, (B, 1, H, W)."""
        images = images.detach()
        start = self._start(images)
        alpha = self.alpha * torch.rand_like(images[:, :1, :1, :1]) if self.vary else self.alpha
        played = self.climb(
            start,
            lambda played: pixelwise_gaussian_blur(images, self._sigma(played), self.kernel_size),
            lambda played, gradient: self._move(played, gradient, images, alpha),
            labels,
            classifier,
        )
        sigma = self._sigma(played)
        return Attack(pixelwise_gaussian_blur(images, sigma, self.kernel_size).clamp(0, 1), sigma)

    def _start(self, images: Tensor) -> Tensor:
        if self.random_start:
            spread = math.log(self.sigma_max / self.sigma_min)
            field = uniform_field(images, self.field, self.cell)
            return (self.sigma_min * torch.exp(spread * field)).clamp(self.sigma_min, self.sigma_max)
        constant = torch.full_like(images[:, :1], self.start)
        return self._with_norm(constant, images) if self.rule == "precision" else constant

    def _sigma(self, played: Tensor) -> Tensor:
        return played.rsqrt() if self.rule == "precision" else played

    def _move(self, played: Tensor, gradient: Tensor, images: Tensor, alpha: Tensor | float) -> Tensor:
        if self.rule == "precision":
            return self._with_norm((played + alpha * gradient).clamp(min=SMALLEST_PRECISION), images)
        # Sigma is positive: its gradient and that of its logarithm have the same sign.
        moved = played + alpha * gradient if self.rule == "raw" else played * torch.exp(alpha * self._up(gradient))
        return moved.clamp(self.sigma_min, self.sigma_max)

    def _up(self, gradient: Tensor) -> Tensor:
        """The direction of ascent, within [-1, 1], as fine as the field."""
        if self.field == "pixel":
            return gradient.sign()
        if self.field == "image":
            return gradient.mean(dim=(2, 3), keepdim=True).sign().expand_as(gradient)
        cells = nn.functional.avg_pool2d(gradient, self.cell, ceil_mode=True, count_include_pad=False).sign()
        return nn.functional.interpolate(cells, size=gradient.shape[2:], mode="bilinear", align_corners=False)

    def _with_norm(self, precision: Tensor, images: Tensor) -> Tensor:
        """The map scaled to the norm, which counts it once for each colour that it blurs."""
        _, channels, height, width = images.shape
        norm = self.norm * math.sqrt(height * width / channels) / PUBLISHED_SIZE
        return precision * (norm / precision.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
