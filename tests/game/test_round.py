from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unmask.game.adversaries import GeneratorBlur, Noise, RandomBlur, WorstOf
from unmask.game.adversaries.base import Adversary
from unmask.game.classifier import Classifier, build_classifier
from unmask.game.round import Game, RoundConfig, _divergence


def players(seed: int = 0, **options: object) -> tuple[Classifier, GeneratorBlur]:
    torch.manual_seed(seed)
    return build_classifier("test_efficientnet", **options), GeneratorBlur("two", width=8)  # type: ignore[arg-type]


def game(
    classifier: Classifier,
    adversary: Adversary | None,
    lr: float = 1e-2,
    adversary_lr: float = 1e-2,
    **config: object,
) -> Game:
    own = torch.optim.SGD(adversary.parameters(), adversary_lr) if adversary is not None and adversary.learns else None
    return Game(classifier, adversary, torch.optim.SGD(classifier.parameters(), lr), own, RoundConfig(**config))  # type: ignore[arg-type]


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(7)
    return torch.rand(8, 3, 32, 32), torch.tensor([0, 1] * 4)


def test_plain_training_is_cross_entropy(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    classifier, _ = players()
    expected = F.cross_entropy(copy.deepcopy(classifier).train()(batch[0]), batch[1])
    result = game(classifier.train(), None).play(*batch)
    assert result.loss_clean.item() == pytest.approx(expected.item(), rel=1e-5)
    assert result.loss_adversarial is None


@pytest.mark.parametrize("play", ["alternating", "simultaneous"])
@pytest.mark.parametrize("adversarial", ["twins", "split"])
@pytest.mark.parametrize("auxiliary_norm", [False, True])
def test_both_players_move(
    batch: tuple[torch.Tensor, torch.Tensor], play: str, adversarial: str, auxiliary_norm: bool
) -> None:
    classifier, adversary = players(auxiliary_norm=auxiliary_norm)
    before = [p.clone() for p in (*classifier.parameters(), *adversary.parameters())]
    result = game(classifier.train(), adversary, play=play, adversarial=adversarial).play(*batch)
    after = [*classifier.parameters(), *adversary.parameters()]
    moved = sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert moved > 0.9 * len(after)
    assert result.map is not None
    assert len(result.map) == (8 if adversarial == "twins" else 4)
    assert classifier.training


@pytest.mark.parametrize("auxiliary_norm", [False, True])
def test_simultaneous_play_climbs_and_descends_one_loss(
    batch: tuple[torch.Tensor, torch.Tensor], auxiliary_norm: bool
) -> None:
    """The classifier descends L(x) + lambda L(G(x)); the generator ascends L(G(x)), which BatchNorm over the joint
    batch couples to L(x): it ascends the round's whole objective, over lambda. Auxiliary norms part the two."""
    classifier, adversary = players(auxiliary_norm=auxiliary_norm)
    classifier.train()
    adversary.guard = 0.0
    twin, rival = copy.deepcopy(classifier), copy.deepcopy(adversary)
    images, labels = batch
    torch.manual_seed(1)
    adversarial = rival(images, labels, twin).images
    if auxiliary_norm:
        clean = twin(images)
        with twin.auxiliary_norm():
            attacked = twin(adversarial)
    else:
        clean, attacked = twin(torch.cat([images, adversarial])).split(8)
    objective = F.cross_entropy(clean, labels) + 0.5 * F.cross_entropy(attacked, labels)
    target = F.cross_entropy(attacked, labels) if auxiliary_norm else objective / 0.5
    ascent = torch.autograd.grad(target, list(rival.parameters()), retain_graph=True)
    descent = torch.autograd.grad(objective, list(twin.parameters()))

    torch.manual_seed(1)
    game(classifier, adversary, lr=1.0, adversary_lr=1.0, weight=0.5).play(images, labels)
    for old, new, gradient in zip(rival.parameters(), adversary.parameters(), ascent, strict=True):
        torch.testing.assert_close(new, old + gradient, rtol=1e-3, atol=1e-5)
    for old, new, gradient in zip(twin.parameters(), classifier.parameters(), descent, strict=True):
        torch.testing.assert_close(new, old - gradient, rtol=1e-3, atol=1e-5)


def test_alternating_attacks_a_classifier_that_does_not_change(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """The generator's moves alone: BatchNorm statistics, parameters and modes of the classifier stay as they are."""
    classifier, adversary = players()
    classifier.train()
    play = game(classifier, adversary, play="alternating", adversary_steps=5)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    play._move_adversary(*batch)
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert classifier.training
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_more_adversary_steps_raise_the_loss_further(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    classifier, adversary = players()
    adversary.guard = 0.0
    classifier.eval()
    play = game(classifier, adversary, adversary_lr=2.0, play="alternating")
    losses = []
    for _ in range(3):
        torch.manual_seed(0)
        losses.append(adversary(*batch, classifier, measure=True).loss_after.mean().item())  # type: ignore[union-attr]
        for _ in range(15):
            play._move_adversary(*batch)
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize(("chosen", "spared"), [("real", 1), ("fake", 0)])
def test_spared_class_stays_as_it_was(batch: tuple[torch.Tensor, torch.Tensor], chosen: str, spared: int) -> None:
    classifier, adversary = players()
    play = game(classifier, adversary, attacked_classes=chosen)
    attack = play._attack(*batch)
    rows = batch[1] == spared
    assert torch.equal(attack.images[rows], batch[0][rows])
    assert not torch.equal(attack.images[~rows], batch[0][~rows])


def test_an_attack_by_gradient_plays_too(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    classifier, _ = players()
    result = game(classifier.train(), Noise(eps=2 / 255), play="alternating").play(*batch)
    assert result.loss_adversarial is not None
    assert result.map is not None
    assert result.map.abs().max() <= 2 / 255 + 1e-6


def test_gradients_are_synchronised_once_for_both_players(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    classifier, adversary = players()
    calls: list[int] = []
    play = game(classifier.train(), adversary)
    play.synchronise = lambda parameters: calls.append(len(parameters))
    play.play(*batch)
    assert calls == [len(list(classifier.parameters())) + len(list(adversary.parameters()))]


@pytest.mark.parametrize("adversary", [None, Noise(), GeneratorBlur(width=8)])
def test_the_caller_s_autocast_holds(batch: tuple[torch.Tensor, torch.Tensor], adversary: Adversary | None) -> None:
    classifier, _ = players()
    seen: set[torch.dtype] = set()
    assert isinstance(classifier.backbone, nn.Module)
    classifier.backbone.conv_stem.register_forward_hook(lambda layer, images, out: seen.add(out.dtype))  # type: ignore[union-attr, operator]
    with torch.autocast("cpu", torch.bfloat16):
        game(classifier.train(), adversary).play(*batch)
    assert seen == {torch.bfloat16}


@pytest.mark.parametrize("play", ["alternating", "simultaneous"])
def test_within_one_autocast_of_the_caller_each_move_is_seen_by_the_next(
    batch: tuple[torch.Tensor, torch.Tensor], play: str
) -> None:
    moved = []
    for forget in (False, True):
        classifier, adversary = players()
        round_ = game(classifier.train(), adversary, adversary_lr=1.0, play=play, adversary_steps=2)
        if forget:
            for optimiser in (round_.optimiser, round_.adversary_optimiser):
                optimiser.register_step_post_hook(lambda *_: torch.clear_autocast_cache())  # type: ignore[union-attr]
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            for _ in range(2):
                round_.play(*batch)
        moved.append([*classifier.parameters(), *adversary.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*moved, strict=True))


def test_consistency_is_the_divergence_from_the_clean_twin_which_does_not_move(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    clean = torch.tensor([[0.0, 0.0]], requires_grad=True)
    attacked = torch.tensor([[math.log(3), 0.0]], requires_grad=True)
    loss = _divergence(clean, attacked)
    assert loss.item() == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    loss.backward()
    assert clean.grad is None
    # The attacked side is drawn from .75 to the .5 that is said of the clean one.
    torch.testing.assert_close(attacked.grad, torch.tensor([[0.25, -0.25]]))

    classifier, _ = players()
    nn.init.zeros_(classifier.backbone.get_classifier().weight)
    knows_nothing = game(classifier.train(), Noise(), lr=0.0, adversarial_loss="consistency").play(*batch)
    asked_for_the_class = game(classifier.train(), Noise(), lr=0.0).play(*batch)
    assert knows_nothing.loss_adversarial is not None
    assert asked_for_the_class.loss_adversarial is not None
    assert knows_nothing.loss_adversarial.item() == pytest.approx(0.0, abs=1e-6)
    assert asked_for_the_class.loss_adversarial.item() == pytest.approx(math.log(2), rel=1e-3)


def test_wrong_configurations_are_refused() -> None:
    for wrong in (
        {"play": "turns"},
        {"weight": -1.0},
        {"adversary_steps": 0},
        {"adversarial": "both"},
        {"adversarial_loss": "consistency", "adversarial": "split"},
    ):
        with pytest.raises(ValueError, match="game"):
            RoundConfig(**wrong)  # type: ignore[arg-type]
    classifier, adversary = players()
    optimiser = torch.optim.SGD(classifier.parameters(), 0.1)
    with pytest.raises(ValueError, match="needs an optimiser"):
        Game(classifier, adversary, optimiser)
    with pytest.raises(ValueError, match="simultaneous play needs an adversary that learns"):
        Game(classifier, Noise(), optimiser, config=RoundConfig(play="simultaneous"))
    assert isinstance(adversary, nn.Module)


@pytest.mark.parametrize("name", ["plain", "alternating", "simultaneous", "noise"])
def test_a_batch_in_parts_is_the_same_move(name: str) -> None:
    """With frozen BatchNorm statistics the averaged gradients of equal parts are those of the whole batch."""
    torch.manual_seed(3)
    images, labels = torch.rand(8, 3, 32, 32), torch.tensor([0, 1] * 4)
    moved = []
    for count in (1, 2):
        classifier, generator = players()
        classifier.eval()  # the game leaves the mode as it is: here every part is normalised alike
        for module in generator.modules():
            if isinstance(module, nn.Conv2d) and module.in_channels == 49:
                module.weight.data[:, -1:] = 0  # the noise channel differs from draw to draw
        adversary = {"plain": None, "noise": Noise()}.get(name, generator)
        play = name if name in ("alternating", "simultaneous") else "alternating"
        result = game(classifier, adversary, play=play, micro_batches=count).play(images, labels)
        assert result.labels is None or result.labels.tolist() == labels.tolist()
        moved.append((result, [p.detach().clone() for p in (*classifier.parameters(), *generator.parameters())]))
    (whole, expected), (parts, found) = moved
    torch.testing.assert_close(parts.loss_clean, whole.loss_clean, rtol=1e-5, atol=1e-6)
    for one, other in zip(expected, found, strict=True):
        if one.ndim == 4 and one.shape[1] == 49:
            one[:, 48], other[:, 48] = 0, 0  # what the noise channel gets is as random as it is
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)


def test_unequal_parts_are_refused(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    classifier, adversary = players()
    with pytest.raises(ValueError, match=r"8 rows do not divide into game\.micro_batches = 3"):
        game(classifier, None, micro_batches=3).play(*batch)
    with pytest.raises(ValueError, match="7 rows do not divide into a clean and an attacked half"):
        game(classifier, adversary, adversarial="split").play(batch[0][:7], batch[1][:7])
    with pytest.raises(ValueError, match="at least 1"):
        RoundConfig(micro_batches=0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (lambda logits: (logits, None), "not a tuple"),
        (lambda logits: logits[:, :1], r"not a tensor \(\d+, 1\)"),
        (lambda logits: logits[:, 0], r"not a tensor \(\d+,\)"),
    ],
    ids=["logits and features", "one logit", "one logit without a dimension"],
)
@pytest.mark.parametrize("adversary", [None, Noise(), WorstOf(RandomBlur()), GeneratorBlur(width=8)])
def test_a_classifier_that_gives_no_logits_is_told_what_it_must_give(
    batch: tuple[torch.Tensor, torch.Tensor], adversary: Adversary | None, said: Callable, message: str
) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, images: torch.Tensor) -> object:
            return said(self.linear(images.mean(dim=(2, 3))))

    message = r"the classifier must return logits \(B, classes\).*" + message
    with pytest.raises(ValueError, match=message):
        game(Own(), adversary).play(*batch)  # type: ignore[arg-type]
    if adversary is not None:
        with pytest.raises(ValueError, match=message):
            adversary(*batch, Own(), measure=True)


def test_an_adversary_of_one_s_own_is_told_what_it_must_give(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    class Mirror(Adversary):
        def perturb(self, images: torch.Tensor, labels: torch.Tensor, classifier: nn.Module) -> torch.Tensor:  # type: ignore[override]
            return images.flip(-1)

    with pytest.raises(TypeError, match=r"Mirror\.perturb must return an Attack, not a Tensor"):
        game(players()[0], Mirror()).play(*batch)
