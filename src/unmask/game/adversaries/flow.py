"""Spatial transformation: every pixel is taken from a slightly different place."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.game.adversaries.ascent import Ascent, step_within
from unmask.game.adversaries.base import Attack


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Each pixel taken from where its flow points, by bilinear sampling; borders replicated.

    Args:
        images: (B, C, H, W).
        flow: (B, 2, H, W) displacement (x, y) in pixels; zero is the identity.
    """
    height, width = flow.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    # Pixel centres in the coordinates of grid_sample: pixel p of n lies at (2 p + 1) / n - 1.
    x = (2 * (columns + flow[:, 0]) + 1) / width - 1
    y = (2 * (rows[:, None] + flow[:, 1]) + 1) / height - 1
    return F.grid_sample(images, torch.stack((x, y), dim=-1), padding_mode="border", align_corners=False)


class Flow(Ascent):
    """Adversarial flow field: SAT (stAdv, Xiao et al. 2018, arXiv 1801.02612).

    The field is given by nodes about ``cell`` pixels apart and interpolated bilinearly in between, which
    keeps it smooth without a penalty to weigh (the original adds a total variation term). Each node steps
    along its own gradient, scaled to unit length, and is projected to the disc of radius
    ``max_displacement``; interpolation is a convex combination, so the bound holds at every pixel.

    Args:
        max_displacement: bound of the displacement's length, in pixels.
        steps: gradient steps.
        step_size: way of a node a step, in pixels; None takes the bound for one step, 2.5 bounds / steps
            for more.
        cell: distance of the nodes in pixels; 1 leaves every pixel free.
        random_start: start uniformly in the disc, node by node, instead of at rest. At rest every pixel is
            sampled exactly, where bilinear interpolation has a kink: a single step from there gains less than
            a random displacement does.

    Raises:
        ValueError: a displacement or step that is not positive, no steps, or a cell below one pixel.
    """

    def __init__(
        self,
        max_displacement: float = 1.0,
        steps: int = 1,
        step_size: float | None = None,
        cell: int = 8,
        random_start: bool = True,
    ) -> None:
        super().__init__(steps)
        if not 0 < max_displacement < math.inf:
            raise ValueError(f"max_displacement must be a positive number of pixels, got {max_displacement}")
        if cell < 1:
            raise ValueError(f"cell must be at least 1 pixel, got {cell}")
        self.max_displacement = max_displacement
        self.step_size = step_within(max_displacement, steps, step_size)
        self.cell = cell
        self.random_start = random_start

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Warped images; the map is the displacement (x, y) in pixels, (B, 2, H, W)."""
        images = images.detach()
        nodes = self.climb(
            self._start(images),
            lambda nodes: warp(images, self._flow(nodes, images)),
            self._move,
            labels,
            classifier,
        )
        flow = self._flow(nodes, images)
        return Attack(warp(images, flow).clamp(0, 1), flow)

    def _start(self, images: Tensor) -> Tensor:
        batch, _, height, width = images.shape
        shape = (batch, 2, math.ceil(height / self.cell), math.ceil(width / self.cell))
        if not self.random_start:
            return images.new_zeros(shape)
        angle = 2 * math.pi * torch.rand_like(images.new_empty(batch, *shape[2:]))
        radius = self.max_displacement * torch.rand_like(angle).sqrt()
        return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)

    def _flow(self, nodes: Tensor, images: Tensor) -> Tensor:
        return F.interpolate(nodes, images.shape[-2:], mode="bilinear", align_corners=True)

    def _move(self, nodes: Tensor, gradient: Tensor) -> Tensor:
        # By the larger component first: the squares of a confident classifier's gradient would underflow.
        largest = gradient.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
        nodes = nodes + self.step_size * F.normalize(gradient / largest, dim=1)
        length = nodes.norm(dim=1, keepdim=True)
        return nodes * (self.max_displacement / length).clamp(max=1)
