"""A real classifier, trained in a second on images whose fakes carry a high-frequency residue."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 32


class World(NamedTuple):
    """A trained classifier in train mode, and unseen images (B, 3, 32, 32), half of them fake."""

    classifier: nn.Module
    images: Tensor
    labels: Tensor


def draw(count: int) -> tuple[Tensor, Tensor]:
    """Smooth random images with sensor noise; every second is fake, a faint checkerboard in one half."""
    coarse = F.interpolate(torch.rand(count, 3, 5, 5), (SIZE, SIZE), mode="bicubic", align_corners=False)
    images = 0.2 + 0.6 * coarse + 0.01 * torch.randn_like(coarse)
    labels = torch.arange(count) % 2
    parity = (torch.arange(SIZE)[:, None] + torch.arange(SIZE)) % 2
    half = (torch.arange(SIZE) < SIZE // 2) ^ (torch.rand(count, 1, 1, 1) < 0.5)
    residue = 0.04 * torch.rand(count, 1, 1, 1).add(0.5) * (2 * parity - 1) * half
    return (images + residue * labels.view(-1, 1, 1, 1)).clamp(0, 1), labels


@pytest.fixture(scope="session")
def world() -> World:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(16, 2),
        )
        optimiser = torch.optim.Adam(classifier.parameters(), lr=5e-3)
        for _ in range(60):
            images, labels = draw(64)
            optimiser.zero_grad()
            F.cross_entropy(classifier(images), labels).backward()
            optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        images, labels = draw(96)
        with torch.no_grad():
            accuracy = (classifier.eval()(images).argmax(1) == labels).float().mean()
        assert accuracy > 0.95, "the world of these tests is not learnable: their attacks would show nothing"
        return World(classifier.train(), images, labels)
