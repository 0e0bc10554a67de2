"""One process or many: torchrun's world, gradients averaged by one all-reduce a move."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from unmask.errors import UnmaskError


def start(device: str) -> tuple[torch.device, int, int]:
    """Join torchrun's process group where there is one; returns (device, rank, world size).

    ``device`` is ``auto``, ``cpu``, ``cuda`` or any name torch knows; under torchrun each process takes the CUDA
    device of its local rank.
    """
    name = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UnmaskError("run.device", f"cannot use {name!r} ({str(error).splitlines()[0]})") from error
    if "RANK" not in os.environ:
        return chosen, 0, 1
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return chosen, dist.get_rank(), dist.get_world_size()


def stop() -> None:
    """Leave the process group, if this process joined one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace the gradients by their mean over all processes, in one all-reduce; nothing with one process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            # A rank without an image of one class has no gradient for that class's generator, but must take part.
            parameter.grad = torch.zeros_like(parameter)

    def average(flat: Tensor) -> None:
        dist.all_reduce(flat)
        flat /= dist.get_world_size()

    _as_one([parameter.grad for parameter in parameters if parameter.grad is not None], average)


def same_start(module: nn.Module) -> None:
    """Give every process rank 0's parameters and buffers."""
    if dist.is_initialized():
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


def same_buffers(module: nn.Module) -> None:
    """Give every process rank 0's running statistics, in one broadcast; nothing with one process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    if buffers:  # alike on every rank; most adversaries have none, and NCCL takes no tensor of the CPU in their place
        _as_one(buffers, partial(dist.broadcast, src=0))


def _as_one(tensors: list[Tensor], collective: Callable[[Tensor], Any]) -> None:
    """Change tensors in place by one collective call on all of them, laid end to end."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    collective(flat)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def mean(value: Tensor) -> float:
    """The mean of a scalar over all processes."""
    value = value.detach().double().clone()
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value.item()


def gather(values: np.ndarray, rank: int, world: int, total: int) -> np.ndarray:
    """Put together what each rank computed for its rows ``rank::world`` of ``total``, on every rank."""
    if world == 1:
        return values
    parts: list[Any] = [None] * world
    dist.all_gather_object(parts, values)
    whole = np.empty(total, dtype=values.dtype)
    for place, part in enumerate(parts):
        whole[place::world] = part
    return whole
