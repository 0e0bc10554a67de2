"""Batch normalisation with its activation in one pass, for training on a CPU.

torch normalises, copies and clamps in passes of their own, and on a CPU memory is what they wait for: in
EfficientNet-Lite0 they took more time than the convolutions. Here the moments are one pass and the output another;
backward keeps the input alone, and recomputes from it what the activation let through.

The numbers are those of torch up to rounding. Sums are taken block by block in an order that depends on the shape
alone: the same on any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unmask.game.blur_cpu import in_parallel
from unmask.game.norm_cpu_kernels import gradient_rows, gradient_sum_rows, moment_rows, output_rows

#: Numbers of one block of rows, a thread's unit of work.
BLOCK = 262_144
#: Numbers of a row at most: narrow images are laid several pixels to a row.
_WIDTH = 1_024


class FusedBatchNorm(nn.BatchNorm2d):
    """torch's BatchNorm2d, fused where that is possible: float32, channels-last, on a CPU, with gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return _normalise(self, x, -math.inf, math.inf) if _can_fuse(self, x) else super().forward(x)


class FusedBatchNormAct(BatchNormAct2d):
    """timm's BatchNormAct2d, fused with its activation where that is possible: a ReLU, a ReLU6 or none."""

    def forward(self, x: Tensor) -> Tensor:
        bounds = _bounds(self.act)
        if bounds is None or not isinstance(self.drop, nn.Identity) or not _can_fuse(self, x):
            return super().forward(x)
        return _normalise(self, x, *bounds)


def fuse_norms(module: nn.Module) -> int:
    """Let every BatchNorm below ``module`` be fused; returns how many there are. Parameters and names stay."""
    kinds = {nn.BatchNorm2d: FusedBatchNorm, BatchNormAct2d: FusedBatchNormAct}
    found = [child for child in module.modules() if type(child) in kinds]
    for child in found:
        child.__class__ = kinds[type(child)]
    return len(found)


def _bounds(act: nn.Module) -> tuple[float, float] | None:
    """What the activation clamps to; None if it does something else."""
    if isinstance(act, nn.Identity):
        return -math.inf, math.inf
    if isinstance(act, nn.ReLU6):
        return 0.0, 6.0
    return (0.0, math.inf) if isinstance(act, nn.ReLU) else None


def _can_fuse(norm: nn.BatchNorm2d, x: Tensor) -> bool:
    return (
        torch.is_grad_enabled()  # scores of finished detectors stay those of torch, to the bit
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and norm.affine
        and norm.weight.dtype == torch.float32
        and norm.track_running_stats
        and norm.momentum is not None
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def _normalise(norm: nn.BatchNorm2d, x: Tensor, low: float, high: float) -> Tensor:
    count = x.numel() // x.shape[1]
    if not norm.training:
        return _Normalise.apply(
            x, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps, False, low, high
        )
    if count == 1:
        raise ValueError(f"batch normalisation needs more than 1 value per channel in training, got {tuple(x.shape)}")
    mean, variance = _moments(x.detach())
    with torch.no_grad():
        # What _can_fuse has looked at: all of them are there.
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    return _Normalise.apply(x, norm.weight, norm.bias, mean, variance, norm.eps, True, low, high)


class _Normalise(torch.autograd.Function):
    """activation((x - mean) / sqrt(variance + eps) * weight + bias), each channel by itself.

    With ``of_batch`` mean and variance are those of x, and backward goes through them as well.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        of_batch: bool,
        low: float,
        high: float,
    ) -> Tensor:
        deviation = (variance + eps).rsqrt()
        scale = weight * deviation
        out = torch.empty_like(x)
        rows = _Rows(x)
        vectors = rows.vectors(mean, scale, bias)
        rows.over(output_rows, rows.of(x), rows.of(out), *vectors, np.float32(low), np.float32(high))
        ctx.save_for_backward(x, weight, bias, mean, deviation)
        ctx.of_batch, ctx.bounds = of_batch, (np.float32(low), np.float32(high))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight, bias, mean, deviation = ctx.saved_tensors
        grad = gradients[0].contiguous(memory_format=torch.channels_last)
        rows = _Rows(x)
        scale = weight * deviation
        inputs = (rows.of(grad), rows.of(x))
        vectors = (*rows.vectors(mean, scale, bias), *ctx.bounds)
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        total = product = torch.zeros_like(mean)
        if ctx.of_batch or wants_weight or wants_bias:
            total, product = rows.sums(gradient_sum_rows, *inputs, *vectors)
        result = None
        if wants_x:
            result = torch.empty_like(x)
            share = rows.count if ctx.of_batch else math.inf
            offset, slope = scale * total / share, scale * deviation.square() * product / share
            rows.over(gradient_rows, *inputs, rows.of(result), *vectors, *rows.vectors(offset, slope))
        to_weight = product * deviation if wants_weight else None
        return result, to_weight, total if wants_bias else None, None, None, None, None, None, None


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel, float32 (C,)."""
    rows = _Rows(x)
    # Sums of differences from a value that lies among them: nothing is lost where the mean is far from 0.
    shift = x[0, :, 0, 0].clone()
    total, square = rows.sums(moment_rows, rows.of(x), *rows.vectors(shift), precise=True)
    mean = total / rows.count
    variance = (square / rows.count - mean.square()).clamp_(min=0)
    return (mean + shift).float(), variance.float()


class _Rows:
    """Channels-last images (B, C, H, W) as a matrix of ``fold`` pixels a row, and its blocks of rows."""

    def __init__(self, x: Tensor) -> None:
        self._channels = x.shape[1]
        self.count = x.numel() // self._channels
        self._fold = 1
        while self.count % (2 * self._fold) == 0 and 2 * self._fold * self._channels <= _WIDTH:
            self._fold *= 2
        self._width = self._fold * self._channels
        height = self.count // self._fold
        step = max(1, BLOCK // self._width)
        self._blocks = [(first, min(first + step, height)) for first in range(0, height, step)]

    def of(self, x: Tensor) -> np.ndarray:
        """The matrix (rows, width) that shares x's memory."""
        return x.detach().permute(0, 2, 3, 1).reshape(-1, self._width).numpy()

    def vectors(self, *vectors: Tensor) -> tuple[np.ndarray, ...]:
        """Vectors (C,) repeated to the width of a row."""
        return tuple(np.tile(vector.detach().float().numpy(), self._fold) for vector in vectors)

    def over(self, kernel: Callable, *arguments: Any) -> None:
        """Call a kernel for every block of rows."""
        in_parallel(lambda block: kernel(*arguments, *block), self._blocks)

    def sums(self, kernel: Callable, *arguments: Any, precise: bool = False) -> tuple[Tensor, Tensor]:
        """The two vectors (C,) a kernel sums up, block by block, in float32 or, ``precise``, float64."""
        parts = np.zeros((2, len(self._blocks), self._width))

        def add(number: int) -> None:
            kernel(*arguments, parts[0, number], parts[1, number], *self._blocks[number])

        in_parallel(add, list(range(len(self._blocks))))
        whole = torch.from_numpy(parts.sum(axis=1).reshape(2, self._fold, self._channels).sum(axis=1))
        whole = whole if precise else whole.float()
        return whole[0], whole[1]
