"""One round of the game: the adversary and the classifier each take their turn on a batch.

    min over the classifier, max over the adversary:  L(x, y) + lambda * L(adversary(x), y)      (paper, AT and GAT)

*Alternating* play lets the adversary move ``adversary_steps`` times against the classifier in eval mode, then the
classifier once. *Simultaneous* play reverses the gradient between the two: one forward and backward of the
adversarial half serves both players, and the round costs little more than plain training on as many images. There
the classifier is in train mode, and where both halves share their BatchNorm statistics the adversary ascends the
round's whole objective, L(x) included; auxiliary BatchNorms part the two again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.game.adversaries.base import Adversary, Attack, attacked, logits_of
from unmask.game.classifier import Classifier
from unmask.game.reversal import reverse


@dataclass(frozen=True)
class RoundConfig:
    """How a round is played.

    Attributes:
        play: ``alternating``, or ``simultaneous``, which needs an adversary that learns; ``auto`` is simultaneous
            where the adversary learns.
        weight: lambda, the weight of the adversarial loss in the classifier's.
        adversary_steps: moves of a learning adversary before each move of the classifier (alternating only).
        adversarial: ``twins``: every image is seen clean and attacked, as in the paper, so that a batch of B
            rows makes 2 B forward passes; ``split``: the first half of the batch is clean, the other half, other
            images, is attacked, so that a round sees twice the fresh images at the same cost. Reals and fakes must
            be in both halves alike (in turn, say): else the attack gives the class away.
        attacked_classes: which of the adversarial rows are attacked: ``both``, or the ``real`` or ``fake`` alone.
        begin: share of the training, in [0, 1), that is plain before the adversary enters: what is attacked is then
            a classifier that has learned something. Only a training loop knows how far it is, so it reads this.
        adversarial_loss: what the classifier is asked of attacked images: ``label``, their class, as in the paper;
            or ``consistency``, what it says of their clean twins (KL divergence, the clean side held fixed; after
            VAT, arXiv 1704.03976, and TRADES, arXiv 1901.08573). Where it knows nothing yet there is nothing to be
            consistent with, so an early attack cannot keep it from learning.
        label_smoothing: of the classifier's own loss.
        micro_batches: a batch goes through the networks in so many equal parts, one after the other, whose gradients
            are averaged: as much less memory for one and the same move, but for BatchNorm, which then takes its
            statistics from a part. The losses of parts and of the whole are means, so the parts must be equal.
    """

    play: Literal["auto", "alternating", "simultaneous"] = "auto"
    weight: float = 1.0
    adversary_steps: int = 1
    adversarial: Literal["twins", "split"] = "twins"
    attacked_classes: Literal["both", "real", "fake"] = "both"
    begin: float = 0.0
    adversarial_loss: Literal["label", "consistency"] = "label"
    label_smoothing: float = 0.0
    micro_batches: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf or self.adversary_steps < 1 or not 0 <= self.label_smoothing < 1:
            raise ValueError("game: a finite weight >= 0, adversary_steps >= 1 and 0 <= label_smoothing < 1 are needed")
        if not 0 <= self.begin < 1:
            raise ValueError(f"game.begin is a share of the training in [0, 1), got {self.begin}")
        if self.micro_batches < 1:
            raise ValueError(f"game.micro_batches is at least 1, got {self.micro_batches}")
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ValueError(f"game.{name} is one of {get_args(hint)}, got {getattr(self, name)!r}")
        if self.adversarial_loss == "consistency" and self.adversarial != "twins":
            raise ValueError(
                "game.adversarial_loss = 'consistency' compares an image with its clean twin: it needs twins"
            )


@dataclass(frozen=True)
class RoundResult:
    """What happened: mean losses (0-d tensors; adversarial is None in plain training), the map that was played, and how
    much was restored (:class:`Attack`)."""

    loss_clean: Tensor
    loss_adversarial: Tensor | None = None
    map: Tensor | None = None
    labels: Tensor | None = None
    restored: Tensor | None = None


class Game:
    """Two players and their optimisers.

    Args:
        classifier: player one: any module from images to logits (B, classes). Only one that
            :func:`~unmask.game.classifier.build_classifier` gave can have auxiliary norms.
        adversary: player two, or None for plain training.
        optimiser: the classifier's.
        adversary_optimiser: needed by an adversary that learns.
        config: how a round is played.
        synchronise: called with the parameters of whoever is about to move, after every backward pass: the
            place where a distributed run averages gradients, once for both players in simultaneous play, and where
            gradients may be clipped.
        autocast: returns the context in which forward passes run; None leaves them in the caller's. Losses are not
            scaled, as float16 would need: bfloat16.
    """

    def __init__(
        self,
        classifier: nn.Module,
        adversary: Adversary | None,
        optimiser: torch.optim.Optimizer,
        adversary_optimiser: torch.optim.Optimizer | None = None,
        config: RoundConfig | None = None,
        *,
        synchronise: Callable[[list[nn.Parameter]], None] = lambda parameters: None,
        autocast: Callable[[], Any] | None = None,
    ) -> None:
        self.config = config or RoundConfig()
        if adversary is not None and adversary.learns and adversary_optimiser is None:
            raise ValueError("an adversary that learns needs an optimiser")
        if self.config.play == "simultaneous" and adversary is not None and not adversary.learns:
            raise ValueError("simultaneous play needs an adversary that learns: set game.play = 'alternating'")
        self.classifier, self.adversary = classifier, adversary
        self.optimiser, self.adversary_optimiser = optimiser, adversary_optimiser
        self.synchronise = synchronise
        self.autocast = autocast or nullcontext

    def play(self, images: Tensor, labels: Tensor, attacked: bool = True) -> RoundResult:
        """Play one round on images (B, 3, H, W) in [0, 1] and class indices (B,), 0 for real.

        Without ``attacked`` the round is a plain one, on all rows, whoever the adversary is.

        Raises:
            ValueError: the rows do not divide into ``micro_batches`` equal parts, or into halves where they are
                ``split``, or the classifier gives no logits.
        """
        if self.adversary is None or not attacked:
            return self._plain(images, labels)
        if self.config.adversarial == "twins":
            clean, target = (images, labels), (images, labels)
        else:
            half = len(images) // 2
            if len(images) != 2 * half:
                raise ValueError(f"{len(images)} rows do not divide into a clean and an attacked half")
            clean, target = (images[:half], labels[:half]), (images[half:], labels[half:])
        simultaneous = self.config.play == "simultaneous" or (self.config.play == "auto" and self.adversary.learns)
        if not simultaneous and self.adversary.learns:
            for _ in range(self.config.adversary_steps):
                self._move_adversary(*target)
        return self._move_classifier(clean, target, simultaneous)

    def _plain(self, images: Tensor, labels: Tensor) -> RoundResult:
        parts: list[RoundResult] = []

        def losses() -> Iterator[Tensor]:
            for some, their in self._parts(images, labels):
                with self.autocast():
                    loss = self._loss(logits_of(self.classifier, some), their)
                parts.append(RoundResult(loss.detach()))
                yield loss

        self._step(losses(), self.classifier, self.optimiser)
        return _joined(parts)

    def _move_adversary(self, images: Tensor, labels: Tensor) -> None:
        """One ascent step of a learning adversary against the classifier as it stands: eval mode, frozen."""
        assert self.adversary is not None
        assert self.adversary_optimiser is not None

        def losses() -> Iterator[Tensor]:
            for some, their in self._parts(images, labels):
                with self.autocast():
                    attack = self._attack(some, their)
                    ascended = F.cross_entropy(logits_of(self.classifier, attack.images).float(), their)
                yield self._barrier(attack, their) - ascended

        with attacked(self.classifier):
            self._step(losses(), self.adversary, self.adversary_optimiser)

    def _move_classifier(
        self, clean: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], simultaneous: bool
    ) -> RoundResult:
        assert self.adversary is not None
        parts: list[RoundResult] = []

        def losses() -> Iterator[Tensor]:
            for some, others in zip(self._parts(*clean), self._parts(*target), strict=True):
                with self.autocast():
                    loss, part = self._both_losses(some, others, simultaneous)
                parts.append(part)
                yield loss

        if simultaneous:
            assert self.adversary_optimiser is not None
            players = nn.ModuleList([self.classifier, self.adversary])
            self._step(losses(), players, self.optimiser, self.adversary_optimiser)
        else:
            self._step(losses(), self.classifier, self.optimiser)
        return _joined(parts)

    def _both_losses(
        self, clean: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], simultaneous: bool
    ) -> tuple[Tensor, RoundResult]:
        """What the round descends: the loss of clean and of attacked images, and the adversary's barrier."""
        weight = self.config.weight
        with torch.set_grad_enabled(simultaneous):
            attack = self._attack(*target)
        images = reverse(attack.images, weight) if simultaneous else attack.images
        if isinstance(self.classifier, Classifier) and self.classifier.has_auxiliary_norm:
            # Each half has its own statistics, so each needs its own pass.
            logits_clean = logits_of(self.classifier, clean[0])
            with self.classifier.auxiliary_norm():
                logits = logits_of(self.classifier, images)
        else:
            both = logits_of(self.classifier, torch.cat([clean[0], images]))
            logits_clean, logits = both.split([len(clean[0]), len(images)])
        loss_clean = self._loss(logits_clean, clean[1])
        if self.config.adversarial_loss == "consistency":
            loss_adversarial = _divergence(logits_clean, logits)
        else:
            loss_adversarial = self._loss(logits, target[1])
        loss = loss_clean + weight * loss_adversarial
        if simultaneous:
            loss = loss + self._barrier(attack, target[1])
        played = attack.map.detach() if attack.map is not None else None
        return loss, RoundResult(loss_clean.detach(), loss_adversarial.detach(), played, target[1], attack.restored)

    def _attack(self, images: Tensor, labels: Tensor) -> Attack:
        """The adversary's answer, with the classes that are not to be attacked put back as they were."""
        assert self.adversary is not None
        attack = self.adversary(images, labels, self.classifier)
        if self.config.attacked_classes == "both":
            return attack
        chosen = (labels > 0) == (self.config.attacked_classes == "fake")
        mask = chosen.view(-1, 1, 1, 1)
        played = None if attack.map is None else attack.map * mask
        restored = None if attack.restored is None else attack.restored * chosen
        return Attack(torch.where(mask, attack.images, images), played, restored=restored)

    def _barrier(self, attack: Attack, labels: Tensor) -> Tensor:
        assert self.adversary is not None
        if attack.map is None:
            return attack.images.new_zeros(())
        chosen = {"both": labels >= 0, "real": labels == 0, "fake": labels > 0}[self.config.attacked_classes]
        return self.adversary.barrier(attack.map[chosen].float())

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), labels, label_smoothing=self.config.label_smoothing)

    def _parts(self, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        count = self.config.micro_batches
        if len(images) % count:
            raise ValueError(f"{len(images)} rows do not divide into game.micro_batches = {count} equal parts")
        return zip(images.chunk(count), labels.chunk(count), strict=True)

    def _step(self, losses: Iterable[Tensor], player: nn.Module, *optimisers: torch.optim.Optimizer) -> None:
        """One move by the mean of the losses; each is taken only when the graph of the one before is gone."""
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        for loss in losses:
            (loss / self.config.micro_batches).backward()
        self.synchronise([parameter for parameter in player.parameters() if parameter.requires_grad])
        for optimiser in optimisers:
            optimiser.step()
        torch.clear_autocast_cache()  # a caller's autocast, which is still open, keeps casts of what has just moved


def _divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """Mean KL divergence of the classes (B, C) said of attacked images from those said of the clean ones, in nats."""
    said = clean.detach().float().log_softmax(dim=1)
    return F.kl_div(attacked.float().log_softmax(dim=1), said, reduction="batchmean", log_target=True)


def _joined(parts: list[RoundResult]) -> RoundResult:
    """One result of the equal parts of a batch."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def mean(losses: list[Tensor | None]) -> Tensor | None:
        known = [loss for loss in losses if loss is not None]
        return torch.stack(known).mean() if known else None

    def whole(tensors: list[Tensor | None]) -> Tensor | None:
        known = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(known) if known else None

    return RoundResult(
        torch.stack([part.loss_clean for part in parts]).mean(),
        mean([part.loss_adversarial for part in parts]),
        whole([part.map for part in parts]),
        whole([part.labels for part in parts]),
        whole([part.restored for part in parts]),
    )
