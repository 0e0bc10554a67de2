"""Batch normalisation for the game: an auxiliary set for adversarial samples, and one over all processes."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class DualBatchNorm(nn.Module):
    """Two BatchNorms in one place: ``main`` for clean samples, ``auxiliary`` for adversarial ones.

    Source: AdvProp, Xie et al., CVPR 2020 (arXiv 1911.09665). Adversarial samples follow another distribution;
    with their own statistics and affine parameters they no longer blur those of the clean samples.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.main = norm
        self.auxiliary = copy.deepcopy(norm)
        self.use_auxiliary = False

    def forward(self, x: Tensor) -> Tensor:
        return self.auxiliary(x) if self.use_auxiliary else self.main(x)


class ProcessBatchNorm(nn.Module):
    """BatchNorm whose training statistics are those of the batch over all processes, on any device and backend.

    torch.nn.SyncBatchNorm runs on accelerators only; this one sums two moments by a differentiable all-reduce,
    so that two gloo processes train as one process with the double batch does. In eval mode it is ``norm``.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return norm(x)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        channels = x.shape[1]
        wide = x.float()
        moments = torch.cat([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), wide.new_tensor([x[:, 0].numel()])])
        moments = _SumOverProcesses.apply(moments)
        count = moments[-1]
        mean = moments[:channels] / count
        variance = (moments[channels:-1] / count - mean.square()).clamp(min=0)  # rounding may leave less
        with torch.no_grad():
            momentum = norm.momentum if norm.momentum is not None else 0.1
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * count / (count - 1), momentum)
        scale = (variance + norm.eps).rsqrt()
        if norm.affine:
            scale = scale * norm.weight
        shift = -mean * scale + (norm.bias if norm.affine else 0.0)
        out = (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)
        # timm's BatchNormAct2d carries its activation with it.
        act, drop = getattr(norm, "act", None), getattr(norm, "drop", None)
        if drop is not None:
            out = drop(out)
        return act(out) if act is not None else out


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; each process's loss depends on every process's tensor."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def replace_batch_norms(module: nn.Module, wrapper: type[DualBatchNorm] | type[ProcessBatchNorm]) -> int:
    """Wrap every BatchNorm2d below ``module`` in place; returns how many there were."""
    found = 0
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, wrapper(child))
            found += 1
        else:
            found += replace_batch_norms(child, wrapper)
    return found
