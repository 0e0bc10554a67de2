"""The learning rate as a pure function of the step: nothing to store, nothing to restore."""

from __future__ import annotations

import math

from unmask.training.recipe import OptimiserConfig


def rate(step: int, steps: int, config: OptimiserConfig) -> float:
    """The share of the base learning rate at ``step`` of ``steps``, in [0, 1]."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "step":
        return float(warm * 0.1 ** (step // config.step_every))
    progress = min(1.0, max(0.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps)))
    return warm * (config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress)))
