from __future__ import annotations

import copy
import math

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.game.norm_cpu import FusedBatchNorm, FusedBatchNormAct, fuse_norms

ACTS = {"none": nn.Identity, "relu": nn.ReLU, "relu6": nn.ReLU6}


def norm(channels: int, act: str) -> BatchNormAct2d:
    torch.manual_seed(channels)
    made = BatchNormAct2d(channels, act_layer=ACTS[act])
    made.weight.data.uniform_(0.5, 2)
    made.bias.data.normal_(1)
    return made


def exact(norm: BatchNormAct2d, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output and the three gradients by torch in float64."""
    x = x.detach().double().requires_grad_()
    twin = copy.deepcopy(norm).double()
    out = twin(x)
    out.backward(grad.double())
    return out.detach(), x.grad, twin.weight.grad, twin.bias.grad  # type: ignore[return-value]


def fused(norm: BatchNormAct2d) -> BatchNormAct2d:
    twin = copy.deepcopy(norm)
    assert fuse_norms(nn.Sequential(twin)) == 1
    assert isinstance(twin, FusedBatchNormAct)
    return twin


def images(*shape: int, mean: float = 0.3, seed: int = 0) -> Tensor:
    torch.manual_seed(sum(shape) + seed)
    return (torch.randn(shape) + mean).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 8, 16, 16), (3, 5, 7, 9), (2, 1, 1, 3), (2, 1030, 3, 3), (1, 3, 257, 65)])
def test_it_is_torchs_batch_norm(act: str, training: bool, shape: tuple[int, ...]) -> None:
    plain = norm(shape[1], act).train(training)
    plain.running_mean.normal_(0.2, 0.1)  # type: ignore[union-attr]
    x, grad = images(*shape).requires_grad_(), images(*shape, mean=0, seed=1)
    twin = fused(plain)
    out = twin(x)
    assert type(out.grad_fn).__name__ == "_NormaliseBackward"
    out.backward(grad)
    want = exact(plain, x, grad)
    torch.testing.assert_close(out.double(), want[0], rtol=1e-5, atol=1e-5)
    unbounded = copy.deepcopy(plain)
    unbounded.act = nn.Identity()
    before = exact(unbounded, x, grad)[0]
    # Within rounding of a bound of the activation either answer is right.
    clear = (before.abs() > 1e-4) & ((before - 6).abs() > 1e-4)
    assert x.grad is not None
    torch.testing.assert_close(x.grad.double()[clear], want[1][clear], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(twin.weight.grad.double(), want[2], rtol=1e-4, atol=1e-3)  # type: ignore[union-attr]
    torch.testing.assert_close(twin.bias.grad.double(), want[3], rtol=1e-4, atol=1e-3)  # type: ignore[union-attr]


def test_running_statistics_move_as_torchs_do() -> None:
    plain = norm(6, "relu6").train()
    twin = fused(plain)
    for step in range(3):
        x = images(4, 6, 9, 5 + step)
        plain(x)
        twin(x)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    x = images(4, 3, 32, 32, mean=0) * 1e-2 + 1000
    twin = fused(norm(3, "none")).train()
    twin(x)
    variance = x.double().var(dim=(0, 2, 3))
    torch.testing.assert_close(twin.running_var.double(), 0.9 + 0.1 * variance, rtol=1e-6, atol=0)  # type: ignore[union-attr]


def test_the_same_numbers_on_any_number_of_threads() -> None:
    x, twin = images(8, 24, 64, 64).requires_grad_(), fused(norm(24, "relu6")).train()
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            x.grad = twin.weight.grad = None
            out = twin(x)
            out.square().sum().backward()
            found.append((out.detach(), x.grad, twin.weight.grad))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))  # type: ignore[arg-type]


def test_nan_stays_and_bounds_hold() -> None:
    x = images(2, 2, 4, 4)
    x[0, 0, 0, 0] = math.nan
    twin = fused(norm(2, "relu6")).eval()
    out = twin(x.requires_grad_()).detach()
    assert out[0, 0, 0, 0].isnan()
    rest = out[~out.isnan()]
    assert float(rest.min()) >= 0
    assert float(rest.max()) <= 6


@pytest.mark.parametrize("why", ["no gradient", "contiguous", "float64", "other activation", "no affine"])
def test_what_cannot_be_fused_is_torchs(why: str) -> None:
    x = images(2, 4, 5, 5).requires_grad_()
    module: nn.BatchNorm2d = norm(4, "relu6")
    if why == "other activation":
        module = BatchNormAct2d(4, act_layer=nn.SiLU)
    if why == "no affine":
        module = nn.BatchNorm2d(4, affine=False)
    if why == "float64":
        module, x = module.double(), x.detach().double().requires_grad_()
    if why == "contiguous":
        x = x.detach().contiguous().requires_grad_()
    twin = copy.deepcopy(module)
    fuse_norms(nn.Sequential(twin))
    with torch.set_grad_enabled(why != "no gradient"):
        out, expected = twin.eval()(x), module.eval()(x)
    assert torch.equal(out, expected)


def test_a_plain_norm_keeps_its_input_for_an_activation_in_place() -> None:
    x = images(3, 4, 6, 6).requires_grad_()
    module = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    twin = copy.deepcopy(module)
    fuse_norms(twin)
    assert isinstance(twin[0], FusedBatchNorm)
    module(x).square().sum().backward()
    expected, x.grad = x.grad, None
    twin(x).square().sum().backward()
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)


def test_one_value_a_channel_is_refused_in_training() -> None:
    x = images(1, 2, 1, 1).requires_grad_()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        F.batch_norm(x, None, None, training=True)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fused(norm(2, "none")).train()(x)
