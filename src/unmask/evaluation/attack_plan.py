"""Which attacks a finished detector is put to, how strong, and the random control beside each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from unmask.errors import UnmaskError
from unmask.game.adversaries import (
    Adversary,
    Attack,
    Flow,
    GradientBlur,
    GradientKernel,
    Noise,
    RandomBlur,
    RandomFlow,
    RandomNoise,
)
from unmask.game.adversaries.ascent import step_within
from unmask.game.adversaries.kernel import pixelwise_filter

#: Qualities of ``unmask degrade`` that stand for what happens to a file on its way, mildest of each codec first.
COMPRESSION = ("jpeg-90", "jpeg-60", "jpeg-30", "webp-50", "h264-23", "h264-32", "h264-40", "social-photo")
#: Bounds of the attacks: of 255 levels, px, px, and the least weight of a kernel's centre.
NOISE_LEVELS, SIGMAS, DISPLACEMENTS, KEEPS = (1, 2, 4, 8), (0.5, 1.0, 2.0), (0.5, 1.0, 2.0), (0.7, 0.3)
#: Lower bound of sigma, px: the kernel is the identity there, and its gradient not yet gone.
_SIGMA_MIN = 0.2
_PGD_STEPS, _STEPS = 10, 5


@dataclass(frozen=True)
class Trial:
    """One attack at one strength.

    Attributes:
        attack: its family, a name of :data:`FAMILIES`.
        method, strength: in words.
        adversary: who plays; None where a codec does.
        control: from what the adversary did and the labels (B,) to its random control of equal strength.
        quality: a name of :data:`unmask.data.degrade.QUALITIES`, where no adversary plays.
    """

    attack: str
    method: str
    strength: str
    adversary: Adversary | None = None
    control: Callable[[Attack, Tensor], Adversary] | None = None
    quality: str | None = None

    @property
    def name(self) -> str:
        return f"{self.attack}/{self.method}/{self.strength}"


def _always(control: Adversary) -> Callable[[Attack, Tensor], Adversary]:
    return lambda attack, labels: control


def _noise() -> Iterator[Trial]:
    for level in NOISE_LEVELS:
        eps = level / 255
        control = _always(RandomNoise(eps))
        yield Trial("noise", "FGSM", f"{level}/255", Noise(eps), control)
        pgd = Noise(eps, steps=_PGD_STEPS, random_start=True)
        yield Trial("noise", f"PGD, {_PGD_STEPS} steps", f"{level}/255", pgd, control)


def _blur() -> Iterator[Trial]:
    for sigma in SIGMAS:
        # From the geometric mean: one step reaches either bound, more of them by the rule of PGD.
        way = math.log(sigma / _SIGMA_MIN) / 2
        for steps in (1, _STEPS):
            adversary = GradientBlur(
                sigma, _SIGMA_MIN, steps=steps, alpha=step_within(way, steps, None), random_start=False
            )
            name = f"{steps} step{'s' if steps > 1 else ''}"
            yield Trial("blur", name, f"{sigma:g} px", adversary, partial(_matched_blur, adversary.kernel_size))


def _matched_blur(kernel_size: int, attack: Attack, labels: Tensor) -> Adversary:
    """The control of a blur: its sigmas of this batch, reals and fakes apart, at pixels drawn at random."""
    assert attack.map is not None
    both = 0 < int(labels.sum()) < len(labels)
    return RandomBlur.matched(attack.map, labels if both else None, kernel_size)


def _flow() -> Iterator[Trial]:
    for bound in DISPLACEMENTS:
        control = _always(RandomFlow(bound, _STEPS))
        yield Trial("flow", f"{_STEPS} steps", f"{bound:g} px", Flow(bound, _STEPS), control)


def _kernel() -> Iterator[Trial]:
    for keep in KEEPS:
        adversary = GradientKernel(keep=keep, start=(1 + keep) / 2, steps=_STEPS)
        name = f"3 x 3, {_STEPS} steps"
        yield Trial("kernel", name, f"centre >= {keep:g}", adversary, lambda attack, _: ShuffledKernels(attack))


class ShuffledKernels(Adversary):
    """The control of a free kernel: the very kernels that were played, each at a pixel of its image drawn at random.

    ``RandomKernel``, as strong in the logits, would change the image less.
    """

    def __init__(self, played: Attack) -> None:
        super().__init__()
        assert played.map is not None
        self.register_buffer("kernels", played.map, persistent=False)

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Filtered images; the map is the kernels, (B, k * k, H, W)."""
        kernels = self.get_buffer("kernels")
        places = torch.rand_like(kernels[:, :1].flatten(2)).argsort(dim=2).expand(-1, kernels.shape[1], -1)
        shuffled = kernels.flatten(2).gather(2, places).view_as(kernels)
        return Attack(pixelwise_filter(images, shuffled).clamp(0, 1), shuffled)


def _compression() -> Iterator[Trial]:
    for quality in COMPRESSION:
        yield Trial("compression", quality, "", quality=quality)


#: What ``--attack`` takes.
FAMILIES: dict[str, Callable[[], Iterator[Trial]]] = {
    "noise": _noise,
    "blur": _blur,
    "flow": _flow,
    "kernel": _kernel,
    "compression": _compression,
}


def plan(attacks: Sequence[str] | None = None) -> list[Trial]:
    """The trials of the named attacks, in the order of :data:`FAMILIES`; of all for None.

    Raises:
        UnmaskError: there is no such attack.
    """
    wanted = list(FAMILIES) if attacks is None else list(attacks)
    for name in wanted:
        if name not in FAMILIES:
            raise UnmaskError(f"attack {name!r}", f"expected one of {', '.join(FAMILIES)}")
    return [trial for name, trials in FAMILIES.items() if name in wanted for trial in trials()]
