"""What every adversary is: images, labels and a classifier in, adversarial images and an account out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Attack:
    """What an adversary did to one batch.

    Attributes:
        images: (B, C, H, W) adversarial images in [0, 1].
        map: what was played, one tensor an image: sigma (B, 1, H, W) in pixels for the blurs, the difference
            (B, C, H, W) for noise, the displacement (B, 2, H, W) in pixels (x, y) for the flow, the kernels
            (B, k * k, H, W) for the general kernel, None where there is nothing to show.
        loss_before: (B,) cross entropy of the clean images, or None if it was not asked for.
        loss_after: (B,) cross entropy of the adversarial images, or None if it was not asked for.
        restored: (B,) share of the difference between a forgery and its original that lies where the original was put
            back; zero for reals, None where nothing is.
    """

    images: Tensor
    map: Tensor | None = None
    loss_before: Tensor | None = None
    loss_after: Tensor | None = None
    restored: Tensor | None = None


class Adversary(nn.Module, ABC):
    """Base of all adversaries and of the random controls that stand beside them.

    A subclass implements :meth:`perturb`. It must not change the classifier, may be called under
    ``torch.no_grad()``, and draws every random number from torch's global generator, so that a seed
    makes it repeatable. Images are floats in [0, 1]; labels are class indices, 0 is real.
    """

    #: True if :meth:`perturb` is differentiable with respect to the adversary's own parameters.
    learns: bool = False
    #: True if the k-th fake of a batch has to be a forgery of its k-th real, alike in geometry and colours.
    needs_originals: bool = False

    @abstractmethod
    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        """Images (B, C, H, W) in [0, 1] and labels (B,) to the attack, without measuring losses."""

    def barrier(self, played: Tensor) -> Tensor:
        """What a learning adversary is charged for the map it played, a scalar; nothing by default."""
        return played.new_zeros(())

    def forward(self, images: Tensor, labels: Tensor, classifier: nn.Module, measure: bool = False) -> Attack:
        """Attack a batch.

        Args:
            images: (B, C, H, W), floats in [0, 1].
            labels: (B,) class indices, 0 is real.
            classifier: any module from images to logits (B, classes); attacked in eval mode, left as it was.
            measure: also fill ``loss_before`` and ``loss_after`` (two more forward passes).

        Raises:
            TypeError: :meth:`perturb` gave something else than an :class:`Attack`.
        """
        attack = self.perturb(images, labels, classifier)
        if not isinstance(attack, Attack):
            raise TypeError(f"{type(self).__name__}.perturb must return an Attack, not a {type(attack).__name__}")
        if not measure:
            return attack
        with torch.no_grad(), attacked(classifier):
            before = per_image_loss(logits_of(classifier, images), labels)
            after = per_image_loss(logits_of(classifier, attack.images), labels)
        return replace(attack, loss_before=before, loss_after=after)


def logits_of(classifier: nn.Module, images: Tensor) -> Tensor:
    """What the classifier says of the images, (B, classes).

    Raises:
        ValueError: it says something else, such as a single logit an image, or logits with features beside them.
    """
    logits = classifier(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        found = f"a tensor {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"the classifier must return logits (B, classes) of two classes or more, not {found}")
    return logits


def per_image_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each image, (B,), from logits (B, classes) and class indices (B,)."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


@contextmanager
def attacked(classifier: nn.Module) -> Iterator[None]:
    """The classifier as it stands while it is attacked: eval mode, parameters frozen, restored after.

    Running BatchNorm statistics must not see adversarial samples, and no gradient may reach the parameters.
    """
    modes = [(module, module.training) for module in classifier.modules()]
    trainable = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    classifier.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter in trainable:
            parameter.requires_grad_(True)
