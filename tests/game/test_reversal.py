from __future__ import annotations

import pytest
import torch

from unmask.game.reversal import reverse


@pytest.mark.parametrize(("weight", "factor"), [(1.0, -1.0), (0.5, -2.0), (0.0, 0.0)])
def test_the_gradient_turns_round_and_the_values_stay(weight: float, factor: float) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    out = reverse(x, weight)
    assert torch.equal(out, x)
    (gradient,) = torch.autograd.grad((out**2).sum(), x)
    assert torch.allclose(gradient, factor * 2 * x)
