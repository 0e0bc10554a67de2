"""The adversaries, one file each, and the controls of equal strength that stand beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unmask.errors import UnmaskError
from unmask.game.adversaries.base import Adversary, Attack, attacked, per_image_loss
from unmask.game.adversaries.blur_generator import GeneratorBlur, describe_sigma
from unmask.game.adversaries.blur_gradient import GradientBlur
from unmask.game.adversaries.flow import Flow
from unmask.game.adversaries.kernel import GradientKernel
from unmask.game.adversaries.noise import Noise
from unmask.game.adversaries.random_controls import (
    RandomBlur,
    RandomFlow,
    RandomFrequencyMask,
    RandomKernel,
    RandomNoise,
    RandomRestore,
    RandomSignBlur,
)
from unmask.game.adversaries.restore import GradientRestore
from unmask.game.adversaries.worst_of import WorstOf


def _worst_of(random: str = "random-blur", draws: int = 4, **options: Any) -> WorstOf:
    """:class:`WorstOf` a random control of that name; ``options`` are the control's own."""
    drawn = build_adversary(random, options)
    if drawn is None:
        raise ValueError("plain training draws nothing")
    return WorstOf(drawn, draws)


#: What recipes and the command call each adversary; ``plain`` is no adversary.
ADVERSARIES: dict[str, Callable[..., Adversary]] = {
    "noise": Noise,
    "flow": Flow,
    "blur-gradient": GradientBlur,
    "blur-gradient-paper": GradientBlur.paper,
    "blur-gradient-published": GradientBlur.published,
    "blur-generator": GeneratorBlur,
    "blur-generator-published": GeneratorBlur.published,
    "kernel": GradientKernel,
    "restore-gradient": GradientRestore,
    "worst-of": _worst_of,
    "random-blur": RandomBlur,
    "random-sign-blur": RandomSignBlur,
    "random-noise": RandomNoise,
    "random-flow": RandomFlow,
    "random-kernel": RandomKernel,
    "random-restore": RandomRestore,
    "random-frequency-mask": RandomFrequencyMask,
}


def build_adversary(name: str, options: dict[str, Any] | None = None) -> Adversary | None:
    """The adversary of a name with its keyword arguments; None for ``plain``.

    Raises:
        UnmaskError: no such adversary, or an argument it does not take.
    """
    if name == "plain":
        return None
    if name not in ADVERSARIES:
        raise UnmaskError(f"adversary {name!r}", f"expected plain, {', '.join(ADVERSARIES)}")
    try:
        return ADVERSARIES[name](**(options or {}))
    except (TypeError, ValueError, RuntimeError) as error:  # torch's, of a layer that cannot be
        raise UnmaskError(f"adversary {name!r}", str(error)) from error


__all__ = [
    "ADVERSARIES",
    "Adversary",
    "Attack",
    "Flow",
    "GeneratorBlur",
    "GradientBlur",
    "GradientKernel",
    "GradientRestore",
    "Noise",
    "RandomBlur",
    "RandomFlow",
    "RandomFrequencyMask",
    "RandomKernel",
    "RandomNoise",
    "RandomRestore",
    "RandomSignBlur",
    "WorstOf",
    "attacked",
    "build_adversary",
    "describe_sigma",
    "per_image_loss",
]
