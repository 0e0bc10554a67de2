from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from unmask.errors import UnmaskError
from unmask.game.adversaries import GeneratorBlur, build_adversary, describe_sigma
from unmask.game.adversaries.base import attacked
from unmask.game.classifier import build_classifier

LABELS = torch.tensor([0, 1, 0, 1])


def natural(count: int = 4, size: int = 64, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    smooth = F.interpolate(torch.rand(count, 3, 8, 8), size=(size, size), mode="bicubic").clamp(0, 1)
    return (smooth + 0.05 * torch.randn_like(smooth)).clamp(0, 1)


@pytest.mark.parametrize("generators", ["shared", "two", "real", "fake"])
def test_starts_mild_and_varied(generators: str) -> None:
    torch.manual_seed(0)
    adversary = GeneratorBlur(generators, sigma_max=1.0, sigma_start=0.5)  # type: ignore[arg-type]
    sigma = adversary.sigma(natural(), LABELS)
    assert sigma.shape == (4, 1, 64, 64)
    for kind, rows in (("real", LABELS == 0), ("fake", LABELS > 0)):
        if generators in ("shared", "two", kind):
            assert 0.25 < sigma[rows].mean() < 0.75
            assert sigma[rows].std() > 0.03
        else:
            assert (sigma[rows] == 0).all()
    assert sigma.max() < 1.0


def test_two_generators_start_alike() -> None:
    adversary = GeneratorBlur("two")
    images = natural()
    torch.manual_seed(3)
    as_real = adversary.sigma(images, torch.zeros(4, dtype=torch.long))
    torch.manual_seed(3)
    as_fake = adversary.sigma(images, torch.ones(4, dtype=torch.long))
    assert torch.equal(as_real, as_fake)


def test_building_one_draws_weights_and_seeds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)  # without a GPU it only notes the seed for later
    following = []
    for options in ({"sigma_start": 0.2}, {"sigma_start": 0.7}):
        torch.default_generator.manual_seed(5)
        GeneratorBlur(**options)
        following.append(torch.rand(3))
    assert torch.equal(*following)
    assert not torch.equal(following[0], torch.rand(3, generator=torch.Generator().manual_seed(0)))
    assert seeded == []


def test_odd_sizes_and_empty_batches() -> None:
    adversary = GeneratorBlur("two", width=8)
    attack = adversary(torch.rand(3, 3, 29, 41), torch.tensor([0, 1, 1]), torch.nn.Identity())
    assert attack.images.shape == (3, 3, 29, 41)
    attack = adversary(torch.rand(0, 3, 16, 16), torch.zeros(0, dtype=torch.long), torch.nn.Identity())
    assert attack.images.shape == (0, 3, 16, 16)


def trained_against(guard: float, direction: float, steps: int = 80) -> torch.Tensor:
    """Sigma of a generator after steps that push it, as strongly as they can, to one bound."""
    torch.manual_seed(0)
    adversary = GeneratorBlur("shared", width=8, guard=guard)
    optimiser = torch.optim.Adam(adversary.parameters(), 0.02)
    images = natural(2, 32)
    for _ in range(steps):
        sigma = adversary.sigma(images, LABELS[:2])
        loss = direction * 0.2 * sigma.mean() + adversary.barrier(sigma)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return adversary.sigma(images, LABELS[:2]).detach()


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_the_barrier_keeps_it_from_collapsing(direction: float) -> None:
    free = trained_against(0.0, direction).mean()
    guarded = trained_against(0.1, direction).mean()
    bound = 0.0 if direction > 0 else 1.0
    assert abs(free - bound) < 0.03
    assert abs(guarded - bound) > 0.12


def test_it_learns_to_raise_the_loss_of_a_trained_classifier() -> None:
    """Fakes carry a checkerboard: the classifier learns it, the generator learns to blur it away."""
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    board = torch.where((rows + columns) % 2 == 0, 0.04, -0.04)

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.tensor([0, 1] * 8)
        smooth = F.interpolate(0.2 + 0.6 * torch.rand(16, 3, 4, 4), size=(32, 32), mode="bilinear")
        return smooth + board * labels.view(-1, 1, 1, 1), labels

    classifier = build_classifier("test_efficientnet").train()
    optimiser = torch.optim.Adam(classifier.parameters(), 3e-3)
    for _ in range(60):
        images, labels = draw()
        loss = F.cross_entropy(classifier(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    adversary = GeneratorBlur("two", width=8, sigma_start=0.15)
    mover = torch.optim.Adam(adversary.parameters(), 1e-2)
    images, labels = draw()
    start = adversary(images, labels, classifier, measure=True)
    for _ in range(40):
        images, labels = draw()
        with attacked(classifier):
            attack = adversary(images, labels, classifier)
            assert attack.map is not None
            loss = -F.cross_entropy(classifier(attack.images), labels) + adversary.barrier(attack.map)
            mover.zero_grad()
            loss.backward()
            mover.step()
    images, labels = draw()
    end = adversary(images, labels, classifier, measure=True)
    assert start.loss_before is not None
    assert end.loss_before is not None
    assert end.loss_after is not None
    assert end.loss_before.mean() < 0.2
    assert end.loss_after.mean() > 4 * end.loss_before.mean()
    assert end.map is not None
    assert end.map.min() >= 0
    assert end.map.max() <= adversary.sigma_max


def test_published_preset_is_a_clamped_precision_map() -> None:
    torch.manual_seed(0)
    adversary = GeneratorBlur.published("shared")
    assert 4.0e6 < sum(parameter.numel() for parameter in adversary.parameters()) < 4.6e6
    output = torch.tensor([[-2.0, -0.5, 0.0, 1.0, 4.0]])
    assert adversary._bounded(output).tolist() == [[0.5, 1.0, 1.0, 1.0, 0.25]]
    sigma = adversary.sigma(natural(2, 32), LABELS[:2])
    assert sigma.max() <= 1
    assert adversary.kernel_size == 3


def test_light_generator_is_light() -> None:
    assert sum(parameter.numel() for parameter in GeneratorBlur("shared").parameters()) < 30_000


def test_description_tells_the_classes_apart() -> None:
    sigma = torch.cat([torch.full((2, 1, 4, 4), 0.2), torch.full((2, 1, 4, 4), 0.8)])
    report = describe_sigma(sigma, torch.tensor([0, 0, 3, 1]))
    assert report["real"]["mean"] == pytest.approx(0.2)
    levels = {f"q{5 * level:02d}": 0.8 for level in range(21)}
    assert report["fake"] == pytest.approx({"mean": 0.8, "std": 0, **levels}, abs=1e-6)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="generators"):
        GeneratorBlur("three")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sigma_start"):
        GeneratorBlur(sigma_max=0.5, sigma_start=0.5)
    with pytest.raises(ValueError, match="architecture is one of 'light', 'published', got 'ligth'"):
        GeneratorBlur(architecture="ligth")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="parametrisation is one of"):
        GeneratorBlur(parametrisation="sigmoyd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision"):
        GeneratorBlur(sigma_max=2.0, parametrisation="precision")
    with pytest.raises(UnmaskError, match=r"'blur-generator': .*colour"):
        build_adversary("blur-generator", {"colour": 1})
    with pytest.raises(UnmaskError, match="expected plain, noise"):
        build_adversary("blurr")
    assert build_adversary("plain") is None


@pytest.mark.parametrize("logit", [8.0, 13.0, -13.0])
def test_a_pixel_at_the_bound_finds_back_under_autocast_too(logit: float) -> None:
    torch.manual_seed(0)
    adversary = GeneratorBlur("shared", sigma_max=1.0)
    with torch.no_grad():
        adversary.generators["shared"].exit.bias.fill_(logit)  # type: ignore[union-attr, operator]
    with torch.autocast("cpu", torch.bfloat16):
        sigma = adversary.sigma(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))
    assert sigma.dtype == torch.float32
    adversary.barrier(sigma).backward()
    gradient = adversary.generators["shared"].exit.bias.grad  # type: ignore[union-attr]
    assert gradient is not None
    assert gradient.item() * math.copysign(1, logit) > 0.9 * adversary.guard
