"""Gradient ascent on the classifier's loss, shared by the adversaries that climb it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unmask.game.adversaries.base import Adversary, attacked, logits_of, per_image_loss


class Ascent(Adversary):
    """An adversary that climbs the loss in ``steps`` steps, each from where the last one ended.

    Attributes:
        steps: number of steps, one forward and one backward pass of the classifier each.
        friendly: an image that the classifier already takes for the other class is moved no further (friendly
            adversarial training, arXiv 2002.11242): what is not yet learned is not attacked.
    """

    def __init__(self, steps: int, friendly: bool = False) -> None:
        super().__init__()
        self.friendly = friendly
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps must be a whole number of at least 1, got {steps}")
        self.steps = steps

    def climb(
        self,
        variable: Tensor,
        render: Callable[[Tensor], Tensor],
        move: Callable[[Tensor, Tensor], Tensor],
        labels: Tensor,
        classifier: nn.Module,
    ) -> Tensor:
        """``variable`` after all steps, detached.

        Args:
            variable: where the climb starts, batch first.
            render: from the variable to the adversarial images, differentiable.
            move: from the variable and its gradient to the next variable, projected to what is allowed.
                The gradient is that of each image's own loss, so that it does not depend on the batch size.
            labels: (B,) class indices.
            classifier: attacked in eval mode with frozen parameters, left as it was.
        """
        variable = variable.detach()
        if len(labels) == 0:
            return variable
        if torch.is_inference_mode_enabled():
            raise RuntimeError("torch.inference_mode keeps what gradients need from being recorded: use torch.no_grad")
        with attacked(classifier):
            for _ in range(self.steps):
                with torch.enable_grad():
                    leaf = variable.requires_grad_(True)
                    logits = logits_of(classifier, render(leaf))
                    (gradient,) = torch.autograd.grad(per_image_loss(logits, labels).sum(), leaf)
                variable = leaf.detach()
                moved = move(variable, gradient)
                if self.friendly:
                    known = (logits.argmax(dim=1) == labels).view(-1, *[1] * (variable.ndim - 1))
                    moved = torch.where(known, moved, variable)
                variable = moved
        return variable


class RandomDirection(Ascent):
    """Mixed in before an ascent: the same start, steps and bounds, but a random direction for the gradient.

    The classifier is not asked. One normal direction is drawn an element and kept over all steps, as the
    gradient's sign mostly is: a fresh one each step would be a random walk, weaker than the attack it
    controls.
    """

    def climb(
        self,
        variable: Tensor,
        render: Callable[[Tensor], Tensor],
        move: Callable[[Tensor, Tensor], Tensor],
        labels: Tensor,
        classifier: nn.Module,
    ) -> Tensor:
        """``variable`` after all steps along one random direction; arguments as in :meth:`Ascent.climb`."""
        direction = torch.randn_like(variable)
        for _ in range(self.steps):
            variable = move(variable, direction)
        return variable


def step_within(bound: float, steps: int, step_size: float | None) -> float:
    """The step of a climb inside ``bound``: as given, or 2.5 bounds over all steps and the bound at most.

    This is the rule of Madry et al. 2018 (arXiv 1706.06083): far enough to reach the border from
    anywhere.
    """
    if step_size is None:
        return min(bound, 2.5 * bound / steps)
    if not step_size > 0:
        raise ValueError(f"step_size must be positive, got {step_size}")
    return step_size
