from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from unmask.game.depthwise_cpu import DepthwiseConv2d, DepthwiseConv2dSame, speed_up_depthwise


def images(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(16, 16), (7, 9), (8, 3), (1, 1)])
def test_it_is_torchs_convolution(same: bool, kernel: int, stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    kind, padding = (Conv2dSame, 0) if same else (nn.Conv2d, kernel // 2)
    plain = kind(6, 6, kernel, stride, padding, groups=6, bias=not same)
    twin = copy.deepcopy(plain)
    assert speed_up_depthwise(nn.Sequential(twin)) == 1
    x = images(3, 6, *size).requires_grad_()
    expected = copy.deepcopy(plain).double()
    exact = x.detach().double().requires_grad_()
    wanted = expected(exact)
    grad = torch.randn_like(wanted)
    wanted.backward(grad)
    out = twin(x)
    if (kernel, stride) != (3, 1):  # which oneDNN is fast at
        assert type(out.grad_fn).__name__ == "_DepthwiseBackward"
    assert torch.equal(out, plain(x))
    out.backward(grad.float())
    torch.testing.assert_close(x.grad, exact.grad.float(), rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]
    for (name, found), want in zip(twin.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found.grad, want.grad.float(), rtol=1e-4, atol=1e-4, msg=name)  # type: ignore[union-attr]


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_under_autocast_it_is_torchs_convolution_of_rounded_images(
    same: bool, kernel: int, stride: int, given: torch.dtype
) -> None:
    torch.manual_seed(0)
    kind, padding = (Conv2dSame, 0) if same else (nn.Conv2d, kernel // 2)
    plain = kind(6, 6, kernel, stride, padding, groups=6)
    twin = copy.deepcopy(plain)
    speed_up_depthwise(nn.Sequential(twin))
    x = images(3, 6, 9, 11).to(given).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = twin(x)
        assert torch.equal(out, plain(x))
    assert type(out.grad_fn).__name__ == "_DepthwiseBackward"
    grad = torch.randn(out.shape).bfloat16()
    out.backward(grad)
    exact = x.detach().bfloat16().double().requires_grad_()
    expected = copy.deepcopy(plain).double()
    expected(exact).backward(grad.double())
    assert x.grad is not None
    assert x.grad.dtype == given
    # The images' gradient is rounded to eight bits once; the weights' is summed up and kept in float32.
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=2**-8, atol=1e-4)
    for (name, found), want in zip(twin.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found.grad, want.grad.float(), rtol=1e-4, atol=1e-4, msg=name)  # type: ignore[union-attr]


@pytest.mark.parametrize("narrow", [False, True])
def test_the_same_numbers_on_any_number_of_threads(narrow: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(24, 24, 5, 2, 2, groups=24), images(8, 24, 31, 33).requires_grad_()
    speed_up_depthwise(nn.Sequential(layer))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            x.grad = layer.weight.grad = None
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                out = layer(x)
            out.float().square().sum().backward()
            found.append((x.grad, layer.weight.grad))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own, where it prepares tangents
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("narrow", [False, True])
def test_further_derivatives_and_transforms_are_torchs(same: bool, narrow: bool) -> None:
    torch.manual_seed(0)
    kind, padding = (Conv2dSame, 0) if same else (nn.Conv2d, 2)
    plain = kind(4, 4, 5, 2, padding, groups=4)
    twin, x = copy.deepcopy(plain), images(2, 4, 7, 8)
    speed_up_depthwise(nn.Sequential(twin))

    def loss(layer: nn.Module, each: Tensor) -> Tensor:
        return layer(each).float().square().sum()

    def found(layer: nn.Module) -> list[Tensor]:
        each = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            (first,) = torch.autograd.grad(loss(layer, each), each, create_graph=True)
            second = torch.autograd.grad(first.square().sum(), (each, *layer.parameters()), allow_unused=True)
            _, tangent = torch.func.jvp(lambda some: loss(layer, some), (x,), (x,))
            gradient = torch.func.grad(lambda some: loss(layer, some))(x)
        return [first, *(each for each in second if each is not None), tangent, gradient]

    for ours, theirs in zip(found(twin), found(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.02 if narrow else 1e-4, atol=0.1 if narrow else 1e-4)


def test_a_frozen_layer_passes_the_gradient_on() -> None:
    layer, x = nn.Conv2d(4, 4, 5, 1, 2, groups=4).requires_grad_(False), images(2, 4, 9, 9).requires_grad_()
    twin = copy.deepcopy(layer)
    speed_up_depthwise(nn.Sequential(twin))
    layer(x).sum().backward()
    expected, x.grad = x.grad, None
    twin(x).sum().backward()
    torch.testing.assert_close(x.grad, expected)
    assert twin.weight.grad is None


def test_which_layers_of_a_network_it_is_for() -> None:
    network = timm.create_model("tf_efficientnet_lite0", num_classes=2)
    before = set(network.state_dict())
    assert speed_up_depthwise(network) == 16
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(DepthwiseConv2d) == 12
    assert kinds.count(DepthwiseConv2dSame) == 4
    assert set(network.state_dict()) == before
    others = (nn.Conv2d(4, 8, 5, groups=4), nn.Conv2d(4, 4, 5, groups=2), nn.Conv2d(4, 4, 5, dilation=2, groups=4))
    assert speed_up_depthwise(nn.Sequential(*others)) == 0


@pytest.mark.parametrize("why", ["no gradient", "contiguous", "float64", "half the way"])
def test_what_is_not_for_the_kernels_is_torchs(why: str) -> None:
    layer, x = nn.Conv2d(4, 4, 5, groups=4), images(2, 4, 9, 9)
    if why == "contiguous":
        x = x.contiguous()
    if why == "half the way":
        layer, x = layer.bfloat16(), x.bfloat16()
    if why == "float64":
        layer, x = layer.double(), x.double()
    twin = copy.deepcopy(layer)
    speed_up_depthwise(nn.Sequential(twin))
    with torch.set_grad_enabled(why != "no gradient"):
        out = twin(x)
        assert torch.equal(out, layer(x))
        assert out.grad_fn is None or "Depthwise" not in type(out.grad_fn).__name__
