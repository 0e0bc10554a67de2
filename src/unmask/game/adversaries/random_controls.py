"""The controls that every attack stands beside: the same change, as strong, in random directions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from unmask.game.adversaries.ascent import RandomDirection
from unmask.game.adversaries.base import Adversary, Attack
from unmask.game.adversaries.blur_gradient import GradientBlur, Rule
from unmask.game.adversaries.flow import Flow
from unmask.game.adversaries.kernel import GradientKernel
from unmask.game.adversaries.restore import Restoration, check_restoration
from unmask.game.adversaries.sigma import Field, check_field, checked_kernel_size, quantiles, uniform_field
from unmask.game.blur import pixelwise_gaussian_blur

#: Parts of the spectrum by radial frequency, in cycles a pixel: (from, below). Nyquist of an axis is 0.5.
BANDS = {"low": (0.0, 0.125), "mid": (0.125, 0.375), "high": (0.375, math.inf), "all": (0.0, math.inf)}

SigmaDistribution = Literal["uniform", "log-uniform"]
NoiseDistribution = Literal["sign", "uniform"]


class RandomBlur(Adversary):
    """Pixel-wise Gaussian blur with sigma drawn at random.

    Args:
        sigma_max: bound of sigma, in pixels.
        sigma_min: lower bound of sigma, in pixels; positive for the log-uniform distribution.
        kernel_size: odd, at least 3; None takes what follows from ``sigma_max`` (:func:`kernel_size_for`).
        field: one sigma an image, a smooth field, or independent pixels.
        cell: distance in pixels over which the smooth field varies.
        distribution: of each pixel's sigma: a name, between the bounds; or quantiles of sigma at evenly
            spaced levels from 0 to 1, ascending, (Q,), or (2, Q) with one row for reals and one
            for fakes. :meth:`matched` takes them from an attacker's map.

    Raises:
        ValueError: an argument outside its range.
    """

    quantiles: Tensor | None

    def __init__(
        self,
        sigma_max: float = 1.0,
        sigma_min: float = 0.0,
        kernel_size: int | None = None,
        field: Field = "pixel",
        cell: int = 16,
        distribution: SigmaDistribution | Tensor | Sequence[float] | Sequence[Sequence[float]] = "uniform",
    ) -> None:
        super().__init__()
        self.kernel_size = checked_kernel_size(kernel_size, sigma_max)
        check_field(field, cell)
        if not 0 <= sigma_min < sigma_max:
            raise ValueError(f"sigma_min must be at least 0 and below sigma_max = {sigma_max} px, got {sigma_min}")
        known = None
        if not isinstance(distribution, str):
            known = _checked_quantiles(torch.as_tensor(distribution, dtype=torch.float32), sigma_max)
        elif distribution not in get_args(SigmaDistribution):
            raise ValueError(
                f"distribution must be quantiles or {' or '.join(get_args(SigmaDistribution))}, got {distribution!r}"
            )
        elif distribution == "log-uniform" and sigma_min == 0:
            raise ValueError("sigma_min must be positive for the log-uniform distribution, got 0")
        self.sigma_max, self.sigma_min = sigma_max, sigma_min
        self.field, self.cell, self.distribution = field, cell, distribution
        self.register_buffer("quantiles", known, persistent=False)

    @classmethod
    def matched(
        cls,
        sigma: Tensor,
        labels: Tensor | None = None,
        kernel_size: int | None = None,
        field: Field = "pixel",
        cell: int = 16,
        levels: int = 101,
    ) -> RandomBlur:
        """The control whose sigma is distributed as in an attacker's map.

        Args:
            sigma: (B, 1, H, W) in pixels, ``Attack.map`` of a blur.
            labels: (B,), 0 is real: match reals and fakes apart. None matches them together.
            kernel_size: the attacker's; None takes what follows from the strongest blur in the map.
            field: how the control varies over the image.
            cell: distance in pixels over which the smooth field varies.
            levels: number of quantiles kept, at least 2.

        Raises:
            ValueError: too few levels, no blur at all, or no row of one class though labels are given.
        """
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}")
        groups = [sigma] if labels is None else [sigma[labels == 0], sigma[labels != 0]]
        if any(group.numel() == 0 for group in groups):
            raise ValueError("sigma must have values of every class that is to be matched")
        rows = torch.stack([quantiles(group, levels) for group in groups])
        return cls(
            sigma_max=float(rows.max()),
            sigma_min=0.0,
            kernel_size=kernel_size,
            field=field,
            cell=cell,
            distribution=rows if labels is not None else rows[0],
        )

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Blurred images; the map is sigma in pixels, (B, 1, H, W)."""
        images = images.detach()
        sigma = self._sigma(images, labels)
        return Attack(pixelwise_gaussian_blur(images, sigma, self.kernel_size).clamp(0, 1), sigma)

    def _sigma(self, images: Tensor, labels: Tensor) -> Tensor:
        """A draw of sigma, (B, 1, H, W): the inverse distribution function of a uniform field, pixel by pixel."""
        uniform = uniform_field(images, self.field, self.cell)
        if self.quantiles is None:
            if self.distribution == "uniform":
                return torch.lerp(torch.full_like(uniform, self.sigma_min), uniform.new_tensor(self.sigma_max), uniform)
            sigma = self.sigma_min * torch.exp(math.log(self.sigma_max / self.sigma_min) * uniform)
            return sigma.clamp(self.sigma_min, self.sigma_max)
        rows = self.quantiles.to(uniform)[(labels != 0).long() if len(self.quantiles) == 2 else labels * 0]
        level = uniform.flatten(1) * (rows.shape[1] - 1)
        below = level.floor().long().clamp(max=rows.shape[1] - 2)
        sigma = torch.lerp(rows.gather(1, below), rows.gather(1, below + 1), level - below)
        return sigma.view_as(uniform)


def _checked_quantiles(quantiles: Tensor, sigma_max: float) -> Tensor:
    """Quantiles as (1, Q) or (2, Q), float32."""
    rows = quantiles.detach()
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or len(rows) not in (1, 2) or rows.shape[1] < 2:
        raise ValueError(f"quantiles must have shape (Q,) or (2, Q) with Q >= 2, got {tuple(quantiles.shape)}")
    if not bool((rows.diff(dim=1) >= 0).all()):
        raise ValueError("quantiles must ascend")
    if not bool((rows[:, 0] >= 0).all() and (rows[:, -1] <= sigma_max).all()):
        raise ValueError(f"quantiles must lie within 0 and sigma_max = {sigma_max} px")
    return rows


class RandomRestore(RandomBlur):
    """Control of :class:`GradientRestore`: random parts of the original are put back, and sigma is drawn at random.

    Args:
        cells, share, strength: as for :class:`GradientRestore`.
        sigma_max, sigma_min, kernel_size, field, cell, distribution: as for :class:`RandomBlur`.

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
        field: Field = "pixel",
        cell: int = 16,
        distribution: SigmaDistribution | Tensor | Sequence[float] | Sequence[Sequence[float]] = "log-uniform",
    ) -> None:
        super().__init__(sigma_max, sigma_min, kernel_size, field, cell, distribution)
        check_restoration(cells, share, strength)
        self.cells, self.share, self.strength = cells, share, strength

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Restored and blurred images; the map is sigma in pixels, (B, 1, H, W)."""
        restoration = Restoration(images.detach(), labels, self.cells, self.share, self.strength)
        sigma = self._sigma(images, labels)
        return restoration.attack(restoration.random_scores(), sigma, self.kernel_size)


class RandomNoise(Adversary):
    """Random noise inside the l_inf ball of :class:`Noise`, clamped to [0, 1].

    Args:
        eps: bound of the change, in the units of the image.
        distribution: ``sign``: plus or minus ``eps``, as strong as FGSM; ``uniform``: between them.

    Raises:
        ValueError: ``eps`` outside (0, 1], or an unknown distribution.
    """

    def __init__(self, eps: float = 1 / 255, distribution: NoiseDistribution = "sign") -> None:
        super().__init__()
        if not 0 < eps <= 1:
            raise ValueError(f"eps must be in (0, 1], in units of the image, got {eps}")
        if distribution not in get_args(NoiseDistribution):
            raise ValueError(f"distribution must be {' or '.join(get_args(NoiseDistribution))}, got {distribution!r}")
        self.eps, self.distribution = eps, distribution

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Noisy images; the map is the difference to the clean ones, (B, C, H, W)."""
        images = images.detach()
        noise = 2 * torch.rand_like(images) - 1
        if self.distribution == "sign":
            noise = torch.where(noise < 0, -1.0, 1.0).to(images)
        noisy = (images + self.eps * noise).clamp(0, 1)
        return Attack(noisy, noisy - images)


class RandomFrequencyMask(Adversary):
    """Random frequencies removed: the masking of arXiv 2401.06506 (Doloriel and Cheung, ICASSP 2024).

    Each frequency of the band is removed with probability ``ratio``, the same for all colours, another draw
    for each image. A frequency and its mirror image go together, so the image stays real; the mean is
    always kept.

    Args:
        ratio: share of the band's frequencies that are removed, in [0, 1]; the source has 0.15.
        band: ``low`` (below 0.125 cycles a pixel), ``mid`` (to 0.375), ``high`` (the rest) or ``all``.

    Raises:
        ValueError: a ratio outside [0, 1], or an unknown band.
    """

    def __init__(self, ratio: float = 0.15, band: str = "all") -> None:
        super().__init__()
        if not 0 <= ratio <= 1:
            raise ValueError(f"ratio must be in [0, 1], got {ratio}")
        if band not in BANDS:
            raise ValueError(f"band must be one of {', '.join(BANDS)}, got {band!r}")
        self.ratio, self.band = ratio, band

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Masked images, clamped to [0, 1]; the map is the difference to the clean ones, (B, C, H, W)."""
        images = images.detach()
        if len(images) == 0:
            return Attack(images, images)
        size = images.shape[-2:]
        wide = images if images.dtype == torch.float64 else images.float()  # there is no FFT in half precision
        masked = torch.fft.irfft2(torch.fft.rfft2(wide) * self._mask(wide), s=size).clamp(0, 1).to(images)
        return Attack(masked, masked - images)

    def _mask(self, images: Tensor) -> Tensor:
        """What stays of the half spectrum, (B, 1, H, W // 2 + 1) of 0 and 1."""
        height, width = images.shape[-2:]
        rows = torch.fft.fftfreq(height, device=images.device)
        columns = torch.fft.rfftfreq(width, device=images.device)
        radius = torch.hypot(rows[:, None], columns)
        draw = torch.rand(len(images), 1, *radius.shape, device=images.device)
        # Only its first and, for even widths, last column hold both twins of a frequency.
        twin = torch.arange(height, device=images.device)
        twin = torch.minimum(twin, -twin % height)
        for column in {0, width // 2} if width % 2 == 0 else {0}:
            draw[..., column] = draw[:, :, twin, column]
        lowest, highest = BANDS[self.band]
        inside = (radius >= lowest) & (radius < highest) & (radius > 0)
        return (~(inside & (draw < self.ratio))).to(images.dtype)


class RandomSignBlur(RandomDirection, GradientBlur):
    """Control of :class:`GradientBlur`: the same start, steps and bounds, random signs for the gradient's.

    Takes the arguments of :class:`GradientBlur`; only its log-sign rule has a counterpart of equal strength.
    """

    rules: ClassVar[tuple[Rule, ...]] = ("log-sign",)


class RandomFlow(RandomDirection, Flow):
    """Control of :class:`Flow`: the same arguments, each node displaced in a random direction."""


class RandomKernel(RandomDirection, GradientKernel):
    """Control of :class:`GradientKernel`: the same arguments, random signs for the gradient's.

    As strong in the logits. The gradient's signs agree over neighbouring weights more than random ones do,
    so the image changes less: for equal change of the image let ``start`` be lower here.
    """
