"""The two players of a run with all that moves with them: optimisers, averaged weights, and their state on disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unmask.errors import UnmaskError
from unmask.game.adversaries import build_adversary
from unmask.game.classifier import Classifier, build_classifier
from unmask.game.round import Game, RoundResult
from unmask.training import processes
from unmask.training.recipe import OptimiserConfig, Recipe

log = logging.getLogger(__name__)


class Players:
    """Classifier and adversary of a recipe, the same on every rank.

    Attributes:
        classifier, adversary: the players; no adversary in plain training.
        precision: ``float32`` or ``bfloat16``, what forward passes run in.

    Raises:
        UnmaskError: backbone, weights, adversary or game cannot be had as the recipe says, or a batch does not divide.
    """

    def __init__(self, recipe: Recipe, device: torch.device, world: int) -> None:
        model, self._config = recipe.model, recipe.optimiser
        _check_parts(recipe, world)
        torch.manual_seed(recipe.run.seed)
        classifier = build_classifier(
            model.backbone,
            recipe.data.classes,
            pretrained=model.pretrained,
            dropout=model.dropout,
            drop_path=model.drop_path,
            auxiliary_norm=model.auxiliary_norm,
            process_norm=model.process_norm,
            checkpointing=model.checkpointing,
        )
        _check_size(classifier, recipe.data.size, model.backbone)
        self.classifier = classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adversary = build_adversary(recipe.adversary.name, recipe.adversary.options)
        if self.adversary is not None and self.adversary.needs_originals and recipe.data.pairing != "aligned":
            reason = f"lays each fake over its original: data.pairing = 'aligned', not {recipe.data.pairing!r}"
            raise UnmaskError(f"adversary {recipe.adversary.name!r}", reason)
        processes.same_start(self.classifier)
        self._optimiser = _optimiser(self.classifier, self._config)
        self._adversary_optimiser = None
        if self.adversary is not None:
            processes.same_start(self.adversary.to(device))
            if self.adversary.learns:
                parameters = self.adversary.parameters()
                self._adversary_optimiser = torch.optim.Adam(parameters, self._config.adversary_lr, (0.5, 0.99))
        #: The first round in which the adversary plays.
        self.begin = round(recipe.game.begin * recipe.run.steps)
        self._average = AveragedModel(self.classifier, use_buffers=True) if self._config.ema else None
        self.precision = precision_on(device, recipe.run.precision)
        try:
            self.game = Game(
                self.classifier,
                self.adversary,
                self._optimiser,
                self._adversary_optimiser,
                recipe.game,
                synchronise=processes.average_gradients,
                autocast=partial(torch.autocast, device.type, torch.bfloat16, self.precision == "bfloat16"),
            )
        except ValueError as error:
            raise UnmaskError(f"adversary {recipe.adversary.name!r}", str(error)) from error

    @property
    def shipped(self) -> Classifier:
        """The weights that are validated and shipped: the running average where there is one."""
        chosen = self.classifier if self._average is None else self._average.module
        assert isinstance(chosen, Classifier)
        return chosen

    @property
    def lr(self) -> float:
        """The classifier's learning rate in the last round."""
        return float(self._optimiser.param_groups[0]["lr"])

    def play(self, images: Tensor, labels: Tensor, step: int, share: float) -> RoundResult:
        """One round at a share, in [0, 1], of the base learning rates; ``step`` counts the rounds before it."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.lr * share
        if self._adversary_optimiser is not None:
            for group in self._adversary_optimiser.param_groups:
                group["lr"] = self._config.adversary_lr * share
        # Each rank's batches move its own statistics; attacks read them, and a checkpoint holds rank 0's.
        for player in filter(None, (self.classifier, self.adversary)):
            processes.same_buffers(player)
        result = self.game.play(images, labels, attacked=step >= self.begin)
        if self._average is not None:
            # A short memory at first, so that early validation does not look at the initial weights.
            decay = min(self._config.ema, (1 + step) / (10 + step))
            self._average.multi_avg_fn = get_ema_multi_avg_fn(decay)
            self._average.update_parameters(self.classifier)
        return result

    def state(self) -> dict[str, Any]:
        """Everything that has to be stored: a dictionary of state dictionaries."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def restore(self, content: dict[str, Any]) -> None:
        """Take up what :meth:`state` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(content[name])

    def _parts(self) -> dict[str, Any]:
        parts = {
            "classifier": self.classifier,
            "optimiser": self._optimiser,
            "adversary": self.adversary,
            "adversary_optimiser": self._adversary_optimiser,
            "average": self._average,
        }
        return {name: part for name, part in parts.items() if part is not None}


def _check_parts(recipe: Recipe, world: int) -> None:
    """Every part of a batch holds pairs of a real and a fake.

    Else, in ``split`` play, more of one class would be attacked than of the other, and the attack give the class away.
    """
    game, rows = recipe.game, recipe.data.batch_size
    halves = 2 if game.adversarial == "split" and recipe.adversary.name != "plain" else 1
    if rows % (2 * world * halves * game.micro_batches):
        parts = [f"{world} processes"] if world > 1 else []
        parts += ["a clean and an attacked half (game.adversarial = 'split')"] if halves > 1 else []
        parts += [f"game.micro_batches = {game.micro_batches}"] if game.micro_batches > 1 else []
        over = f" over {', '.join(parts)}" if parts else ""
        raise UnmaskError("data.batch_size", f"{rows} does not divide into pairs of real and fake{over}")


def _check_size(classifier: Classifier, size: int, backbone: str) -> None:
    """Send one image through: some backbones take one size only, others none below theirs."""
    try:
        with torch.no_grad():
            classifier.eval()(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UnmaskError("data.size", f"{backbone} does not take {size} px ({str(error).splitlines()[0]})") from error
    classifier.train()


def _optimiser(classifier: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """AdamW or RAdam with decoupled decay; norms and biases are not decayed."""
    decayed = [p for p in classifier.parameters() if p.ndim > 1]
    others = [p for p in classifier.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if config.name == "radam":
        return torch.optim.RAdam(groups, config.lr, decoupled_weight_decay=True)
    return torch.optim.AdamW(groups, config.lr, fused=True)


def precision_on(device: torch.device, wanted: str = "auto") -> str:
    """What a recipe's ``run.precision`` means on a device: ``auto`` is bfloat16 where it multiplies that itself."""
    if device.type == "cuda":
        narrow = torch.cuda.is_bf16_supported()
    else:
        # Older releases of torch do not tell.
        able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
        narrow = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    if wanted == "bfloat16" and not narrow:
        log.warning("%s may have no bfloat16 of its own: then run.precision=float32 is many times as fast", device)
    return ("bfloat16" if narrow else "float32") if wanted == "auto" else wanted
