"""One process or many: torchrun's world, gradients averaged by one all-reduce a move."""

from __future__ import annotations

import os
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
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


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
    if not buffers:
        return  # on every rank; most adversaries have none, and NCCL takes no tensor of the CPU in their place
    flat = torch.cat([buffer.flatten() for buffer in buffers])
    dist.broadcast(flat, 0)
    for buffer, part in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
        buffer.copy_(part.view_as(buffer))


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
