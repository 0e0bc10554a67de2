"""The classifier: any timm backbone with a head over ``real`` and the manipulations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unmask.errors import UnmaskError
from unmask.game.depthwise_cpu import speed_up_depthwise
from unmask.game.normalisation import DualBatchNorm, ProcessBatchNorm, replace_batch_norms
from unmask.game.weights import load_pretrained

#: Mean and standard deviation that map [0, 1] to [-1, 1], as in the published run.
HALF = (0.5, 0.5, 0.5)


class Classifier(nn.Module):
    """From images (B, 3, H, W) in [0, 1] to logits (B, classes); class 0 is ``real``.

    The images are normalised inside, so that adversaries, codecs and noise all work on one scale.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classes = tuple(classes)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone((images - self.mean) / self.std)

    @property
    def has_auxiliary_norm(self) -> bool:
        return any(isinstance(module, DualBatchNorm) for module in self.modules())

    @contextmanager
    def auxiliary_norm(self) -> Iterator[None]:
        """Within this block adversarial samples pass: the auxiliary BatchNorms are in use, where there are any."""
        norms = [module for module in self.modules() if isinstance(module, DualBatchNorm)]
        for norm in norms:
            norm.use_auxiliary = True
        try:
            yield
        finally:
            for norm in norms:
                norm.use_auxiliary = False

    def detector_state(self) -> dict[str, Tensor]:
        """The tensors a finished detector needs, under the names of a classifier without training-time wrappers."""
        dropped, inner = [], []
        for name, module in self.named_modules():
            if isinstance(module, DualBatchNorm):
                dropped.append(f"{name}.auxiliary.")
                inner.append((f"{name}.main.", f"{name}."))
            if isinstance(module, ProcessBatchNorm):
                inner.append((f"{name}.norm.", f"{name}."))
        state = {}
        for key, tensor in self.state_dict().items():
            if any(key.startswith(prefix) for prefix in dropped):
                continue
            # Inner wrappers have the longer names: they are unwrapped first.
            for prefix, plain in sorted(inner, key=lambda pair: -len(pair[0])):
                if key.startswith(prefix):
                    key = plain + key.removeprefix(prefix)
            state[key] = tensor
        return state


class FullPrecisionLinear(nn.Linear):
    """The head, in float32 under autocast as well: losses compare logits that differ by less than bfloat16 can tell."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def build_classifier(
    backbone: str,
    classes: Sequence[str] = ("real", "fake"),
    mean: Sequence[float] = HALF,
    std: Sequence[float] = HALF,
    *,
    pretrained: str = "none",
    dropout: float = 0.0,
    drop_path: float = 0.0,
    auxiliary_norm: bool = False,
    process_norm: bool = False,
    checkpointing: bool = False,
) -> Classifier:
    """Build a classifier on any timm backbone.

    Args:
        backbone: a timm model name; ``tf_efficientnet_lite0`` is the laptop's, ``tf_efficientnet_b7.ap_in1k``,
            ``tf_efficientnet_b5.ap_in1k``, ``tf_efficientnet_b3.ap_in1k`` and ``legacy_xception`` the published ones.
        classes: class names, ``real`` first: two, or ``real`` and each manipulation (folded to P(fake) at test time).
        mean, std: normalisation of images in [0, 1], a channel.
        pretrained: where the ImageNet weights come from, see :func:`unmask.game.weights.load_pretrained`.
        dropout: probability before the linear head.
        drop_path: stochastic depth, where the backbone has it.
        auxiliary_norm: a second set of BatchNorms for adversarial samples.
        process_norm: BatchNorm statistics over all processes of a distributed run.
        checkpointing: blocks keep their input alone and are computed again on the way back: far less memory for
            a third more time (arXiv 1604.06174). Not together with ``process_norm`` or ``auxiliary_norm``.

    Raises:
        UnmaskError: timm has no such backbone or cannot checkpoint it, the weights cannot be had, or two options
            exclude each other.
    """
    if len(classes) < 2 or classes[0] != "real" or len(set(classes)) < len(classes):
        raise UnmaskError("classes", f"need 'real' first and at least one manipulation, got {list(classes)}")
    options: dict[str, Any] = {"drop_rate": dropout} | ({"drop_path_rate": drop_path} if drop_path else {})
    try:
        network = timm.create_model(backbone, pretrained=False, num_classes=len(classes), **options)
    except (RuntimeError, TypeError) as error:  # the latter where it takes no dropout, or no stochastic depth
        raise UnmaskError(backbone, f"timm cannot build this backbone ({error})") from error
    load_pretrained(network, backbone, pretrained)
    head = network.get_classifier()  # type: ignore[operator]
    if isinstance(head, nn.Linear):
        if type(head) is nn.Linear:
            head.__class__ = FullPrecisionLinear
        # timm starts some heads at +-1/sqrt(classes): with two classes that is a loss of 5 before the first step.
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
    speed_up_depthwise(network)
    if checkpointing:
        if process_norm:
            raise UnmaskError("model.checkpointing", "blocks computed again would gather their statistics twice")
        if auxiliary_norm:
            # They are computed again in the backward pass, when nobody says any more whose norms were meant.
            raise UnmaskError("model.checkpointing", "not together with model.auxiliary_norm")
        _checkpoint(network, backbone)
    if auxiliary_norm:
        replace_batch_norms(network, DualBatchNorm)
    if process_norm:
        replace_batch_norms(network, ProcessBatchNorm)
    return Classifier(network, classes, mean, std)


def _checkpoint(network: nn.Module, backbone: str) -> None:
    """Switch checkpointing on, and see to it that running statistics move as they do without.

    A block that is computed again moves them twice by the same batch. With the momentum m' = 1 - sqrt(1 - m) two such
    moves are one with m. Which norms it is about is found out: one pass there and back, then all is put back.
    """
    try:
        network.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError) as error:
        raise UnmaskError(backbone, "timm cannot checkpoint this backbone") from error
    known: Any = network.pretrained_cfg
    size = known["input_size"][1:] if known.get("fixed_input_size") else (64, 64)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        network.train()(torch.rand(2, 3, *size)).sum().backward()
    for norm in network.modules():
        if isinstance(norm, _BatchNorm) and norm.momentum and int(norm.num_batches_tracked or 0) == 2:
            norm.momentum = 1 - (1 - norm.momentum) ** 0.5
    network.load_state_dict(before)
    network.zero_grad(set_to_none=True)


def log_odds(logits: Tensor) -> Tensor:
    """log P(fake) / P(real), (B,), from logits (B, classes): all manipulations folded into one."""
    return torch.logsumexp(logits[:, 1:], dim=1) - logits[:, 0]
