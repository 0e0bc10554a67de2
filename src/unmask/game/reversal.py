"""Gradient reversal: one backward pass in which one player descends what the other ascends."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def reverse(x: Tensor, weight: float) -> Tensor:
    """``x`` itself; on the way back its gradient over -``weight``, or none at all where that is zero.

    The classifier's loss carries lambda; the adversary ascends the loss itself. Source: arXiv 1409.7495.
    """
    return _Reverse.apply(x, -1.0 / weight if weight else 0.0)


class _Reverse(torch.autograd.Function):
    """Identity forward; backward the gradient times a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None
