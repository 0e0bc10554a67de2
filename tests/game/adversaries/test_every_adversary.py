"""What holds for every adversary: it hurts a trained classifier, keeps its bounds, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn

from unmask.game.adversaries.base import Adversary
from unmask.game.adversaries.blur_gradient import GradientBlur
from unmask.game.adversaries.flow import Flow
from unmask.game.adversaries.kernel import GradientKernel
from unmask.game.adversaries.noise import Noise
from unmask.game.adversaries.random_controls import (
    RandomBlur,
    RandomFlow,
    RandomFrequencyMask,
    RandomKernel,
    RandomNoise,
    RandomRestore,
    RandomSignBlur,
)
from unmask.game.adversaries.restore import GradientRestore
from unmask.game.adversaries.worst_of import WorstOf

# Each attack beside its control of equal strength.
ATTACKS: dict[str, tuple[Adversary, Adversary]] = {
    "fgsm": (Noise(4 / 255), RandomNoise(4 / 255)),
    "pgd": (Noise(4 / 255, steps=3, random_start=True), RandomNoise(4 / 255)),
    "flow": (Flow(1.0), RandomFlow(1.0)),
    "flow, free pixels": (Flow(0.5, steps=2, cell=1), RandomFlow(0.5, steps=2, cell=1)),
    "blur, pixel start": (GradientBlur(), RandomSignBlur()),
    "blur, smooth start": (GradientBlur(field="smooth"), RandomSignBlur(field="smooth")),
    "blur, 3 steps": (GradientBlur(steps=3), RandomSignBlur(steps=3)),
    "blur, wide": (GradientBlur(1.5, steps=2), RandomSignBlur(1.5, steps=2)),
    "kernel": (GradientKernel(), RandomKernel()),
    "kernel, 3 steps": (
        GradientKernel(steps=3, random_start=True),
        RandomKernel(steps=3, random_start=True),
    ),
    "restore": (GradientRestore(), RandomRestore()),
}
PRESETS: dict[str, Adversary] = {
    "blur, paper": GradientBlur.paper(eps=5.0),
    "blur, published": GradientBlur.published(),
}
WORST: dict[str, Adversary] = {
    "worst of 4 blurs": WorstOf(RandomBlur(field="smooth")),
    "worst of 3 restorations": WorstOf(RandomRestore(), 3),
    "worst of 2 masks": WorstOf(RandomFrequencyMask(), 2),
}
CONTROLS: dict[str, Adversary] = {
    "random blur": RandomBlur(),
    "random blur, matched": RandomBlur(distribution=[[0.1, 0.4], [0.3, 0.9]]),
    "random frequency mask": RandomFrequencyMask(),
}
EVERY = (
    {name: attack for name, (attack, _) in ATTACKS.items()}
    | {f"{name}: control": control for name, (_, control) in ATTACKS.items()}
    | PRESETS
    | WORST
    | CONTROLS
)
every = pytest.mark.parametrize("adversary", EVERY.values(), ids=EVERY)


@pytest.mark.parametrize(("attack", "control"), ATTACKS.values(), ids=ATTACKS)
def test_raises_the_loss_and_by_more_than_its_control(world, attack, control):
    torch.manual_seed(1)
    hurt = attack(world.images, world.labels, world.classifier, measure=True)
    random = control(world.images, world.labels, world.classifier, measure=True)
    assert hurt.loss_after.mean() > hurt.loss_before.mean() + 0.5
    assert hurt.loss_after.mean() > random.loss_after.mean() + 0.3


@pytest.mark.parametrize(("preset", "start"), [("blur, paper", 0.5), ("blur, published", 2.106)])
def test_presets_raise_the_loss_above_their_constant_start(world, preset, start):
    arguments = (world.images, world.labels, world.classifier)
    hurt = PRESETS[preset](*arguments, measure=True)
    idle = RandomBlur(3.0, kernel_size=3, distribution=[start, start])(*arguments, measure=True)
    assert hurt.loss_after.mean() > hurt.loss_before.mean() + 0.5
    assert hurt.loss_after.mean() > idle.loss_after.mean()


@pytest.mark.parametrize(
    "build",
    [
        lambda steps: Noise(4 / 255, steps, random_start=True),
        lambda steps: Flow(1.0, steps),
        lambda steps: GradientBlur(steps=steps),
        lambda steps: GradientBlur(steps=steps, rule="raw", alpha=0.5),
        lambda steps: GradientBlur.published(steps),
        lambda steps: GradientKernel(steps=steps),
    ],
    ids=["noise", "flow", "blur", "blur, raw", "blur, published", "kernel"],
)
def test_more_steps_do_not_attack_less(world, build: Callable[[int], Adversary]):
    losses = []
    for steps in (1, 2, 4, 8):
        torch.manual_seed(2)
        attack = build(steps)(world.images, world.labels, world.classifier, measure=True)
        losses.append(attack.loss_after.mean().item())
    assert all(later > earlier - 0.02 * abs(earlier) for earlier, later in pairwise(losses))


@every
def test_result_is_a_detached_float_batch_in_range(world, adversary):
    images = world.images[:6].clone().requires_grad_(True)
    attack = adversary(images, world.labels[:6], world.classifier)
    assert attack.images.shape == images.shape
    assert attack.images.dtype == torch.float32
    assert not attack.images.requires_grad
    assert not attack.map.requires_grad
    assert attack.map.shape[0] == 6
    assert attack.map.shape[-2:] == images.shape[-2:]
    assert attack.images.min() >= 0
    assert attack.images.max() <= 1
    assert attack.loss_before is None
    assert images.grad is None
    assert not torch.equal(attack.images, images)


@every
def test_the_classifier_comes_back_untouched(world, adversary):
    classifier = world.classifier
    classifier.train()
    classifier[4].eval()  # a user may have frozen a BatchNorm
    first = next(classifier.parameters())
    first.requires_grad_(False)
    last = classifier[9].weight
    last.grad = torch.ones_like(last)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = [module.training for module in classifier.modules()]
    try:
        with torch.no_grad():
            adversary(world.images[:6], world.labels[:6], classifier, measure=True)
        assert [module.training for module in classifier.modules()] == modes
        assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
        assert [p.requires_grad for p in classifier.parameters()] == [p is not first for p in classifier.parameters()]
        assert all(p.grad is None for p in classifier.parameters() if p is not last)
        assert torch.equal(last.grad, torch.ones_like(last))
    finally:
        last.grad = None
        first.requires_grad_(True)
        classifier.train()


@every
def test_one_forward_pass_a_step(world, adversary):
    class Counter(nn.Module):
        calls = 0

        def forward(self, images):
            self.calls += 1
            assert not world.classifier.training
            return world.classifier(images)

    counter = Counter()
    counter.inner = world.classifier
    adversary(world.images[:6], world.labels[:6], counter)
    if isinstance(adversary, WorstOf):
        expected = adversary.draws
    else:
        expected = 0 if type(adversary).__name__.startswith("Random") else adversary.steps
    assert counter.calls == expected


@every
def test_a_seed_repeats_it(world, adversary):
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(adversary(world.images[:8], world.labels[:8], world.classifier))
    assert torch.equal(results[0].images, results[1].images)
    assert torch.equal(results[0].map, results[1].map)


@every
def test_an_empty_batch_stays_empty(world, adversary):
    attack = adversary(world.images[:0], world.labels[:0], world.classifier, measure=True)
    assert attack.images.shape == (0, 3, 32, 32)
    assert attack.map.shape[0] == 0
    assert attack.loss_after.shape == (0,)


@every
@pytest.mark.parametrize("size", [(9, 14), (5, 4)], ids=str)
def test_any_size_of_image(world, adversary, size):
    images = torch.rand(2, 3, *size)
    attack = adversary(images, torch.tensor([0, 1]), world.classifier)
    assert attack.images.shape == images.shape
    assert attack.images.isfinite().all()


@every
def test_images_and_map_keep_their_precision_under_autocast(world, adversary):
    with torch.autocast("cpu", torch.bfloat16):
        attack = adversary(world.images[:6], world.labels[:6], world.classifier)
    assert attack.images.dtype == attack.map.dtype == torch.float32


@pytest.mark.parametrize("attack", [attack for attack, _ in ATTACKS.values()], ids=ATTACKS)
def test_raises_the_loss_of_five_classes(world, attack):
    """One class of reals and four of fakes, the last of them at work."""

    class Five(nn.Module):
        def forward(self, images):
            real, fake = world.classifier(images).unbind(1)
            return torch.stack((real, fake - 4, fake - 4, fake - 4, fake), dim=1)

    torch.manual_seed(1)
    hurt = attack(world.images, 4 * world.labels, Five(), measure=True)
    assert hurt.loss_after.mean() > 2 * hurt.loss_before.mean()


@pytest.mark.parametrize(
    "adversary",
    [
        Noise(4 / 255, steps=2),
        Flow(random_start=False),
        GradientBlur(random_start=False, steps=2),
        GradientBlur.paper(eps=5.0),
        GradientBlur.published(),
        GradientKernel(steps=2),
    ],
    ids=["noise", "flow", "blur", "blur, paper", "blur, published", "kernel"],
)
def test_an_image_is_attacked_alike_alone_and_in_company(world, adversary):
    together = adversary(world.images[:8], world.labels[:8], world.classifier).map
    for i in range(4):
        alone = adversary(world.images[i : i + 1], world.labels[i : i + 1], world.classifier).map
        # A gradient next to zero may change sign with the order of summation.
        assert ((alone[0] - together[i]).abs() > 1e-4).float().mean() < 0.01


@every
def test_has_no_parameters_and_does_not_learn(adversary):
    assert not list(adversary.parameters())
    assert adversary.learns is False
