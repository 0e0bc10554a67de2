"""The Triton kernels on a CPU, by Triton's interpreter: `test_blur_triton.py` runs these in a process of their own.

The interpreter must be chosen before Triton is imported.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from unmask.game import blur_reference, blur_triton

# A great sigma squared is infinite, and meant to be; the interpreter computes with NumPy, which remarks on it.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


def example(batch: int, channels: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images, sigma between 0 and 3 px, a tenth of them 0, and a gradient towards the output; in float64."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    x, grad = torch.randn(2, batch, channels, height, width, generator=generator, dtype=torch.float64)
    sigma = 3 * torch.rand(batch, 1, height, width, generator=generator, dtype=torch.float64)
    return x, sigma * (torch.rand(sigma.shape, generator=generator) > 0.1), grad


def by_triton(x: Tensor, sigma: Tensor, grad: Tensor, kernel_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The output, its gradient towards x and that towards sigma."""
    to_x = blur_triton.blur_gradient_to_image(grad, x, sigma, kernel_size)
    to_sigma = blur_triton.blur_gradient_to_sigma(grad, x, sigma, kernel_size)
    return blur_triton.blur(x, sigma, kernel_size), to_x, to_sigma


def by_reference(x: Tensor, sigma: Tensor, grad: Tensor, kernel_size: int) -> tuple[Tensor, Tensor, Tensor]:
    x, sigma = x.detach().clone().requires_grad_(), sigma.detach().clone().requires_grad_()
    out = blur_reference.blur(x, sigma, kernel_size)
    return out.detach(), *torch.autograd.grad(out, (x, sigma), grad)


def check(x: Tensor, sigma: Tensor, grad: Tensor, kernel_size: int, tolerance: float) -> None:
    """Close to the reference in float64 of the same numbers."""
    exact = by_reference(x.double(), sigma.double(), grad.double(), kernel_size)
    for name, ours, theirs in zip(
        ("out", "to x", "to sigma"), by_triton(x, sigma, grad, kernel_size), exact, strict=True
    ):
        assert ours.dtype == (sigma if name == "to sigma" else x).dtype
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=tolerance * scale, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize(
    ("kernel_size", "shape"),
    [
        (3, (2, 3, 11, 7)),
        (3, (1, 1, 2, 2)),
        (3, (1, 4, 2, 40)),
        (5, (2, 2, 9, 13)),
        (5, (1, 3, 3, 3)),
        (7, (1, 3, 12, 10)),
        (7, (1, 1, 4, 17)),
        (9, (1, 2, 13, 5)),
        (3, (1, 6, 5, 5)),
    ],
)
def test_equals_the_reference(kernel_size: int, shape: tuple[int, int, int, int]) -> None:
    x, sigma, grad = example(*shape)
    check(x, sigma, grad, kernel_size, 1e-12)
    check(x.float(), sigma.float(), grad.float(), kernel_size, 1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 8e-3), (torch.float16, 1e-3)])
def test_half_precision_loses_only_the_rounding(dtype: torch.dtype, tolerance: float) -> None:
    x, sigma, grad = example(1, 3, 7, 9)
    check(x.to(dtype), sigma.to(dtype), grad.to(dtype), 5, tolerance)
    check(x.to(dtype), sigma.float(), grad.to(dtype), 3, tolerance)


def test_sigma_zero_is_the_identity() -> None:
    x, sigma, grad = (tensor.float() for tensor in example(1, 3, 6, 7))
    for tiny in (0.0, 1e-30, 1e-3):
        out, to_x, to_sigma = by_triton(x, torch.full_like(sigma, tiny), grad, 5)
        assert torch.equal(out, x)
        assert torch.equal(to_x, grad)
        assert torch.equal(to_sigma, torch.zeros_like(sigma))


@pytest.mark.parametrize("great", [1e4, 1e15, 1e30, float("inf")])
def test_great_sigma_is_the_mean_of_the_window(great: float) -> None:
    x, sigma, grad = (tensor.float() for tensor in example(1, 2, 8, 6))
    out, to_x, to_sigma = by_triton(x, torch.full_like(sigma, great), grad, 5)
    mean = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (2, 2, 2, 2), "reflect"), 5, 1)
    torch.testing.assert_close(out, mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(to_x.sum(), grad.sum(), rtol=0, atol=1e-4)
    assert to_sigma.abs().max() < 1e-6


def test_not_a_number_is_passed_on() -> None:
    x, sigma, grad = (tensor.float() for tensor in example(1, 1, 9, 9))
    sigma[0, 0, 4, 4] = float("nan")
    out, to_x, to_sigma = by_triton(x, sigma, grad, 3)
    window = list(itertools.product((3, 4, 5), repeat=2))
    assert out[0, 0].isnan().nonzero().tolist() == [[4, 4]]
    assert to_sigma[0, 0].isnan().nonzero().tolist() == [[4, 4]]
    assert to_x[0, 0].isnan().nonzero().tolist() == [list(place) for place in window]


def test_any_strides() -> None:
    x, sigma, grad = (tensor.float() for tensor in example(2, 3, 10, 12))
    views = {
        "crop": [tensor[:, :, 3:9, 5:11] for tensor in (x, sigma, grad)],
        "every second": [tensor[:, :, ::2, ::2] for tensor in (x, sigma, grad)],
        "transposed": [tensor.mT for tensor in (x, sigma, grad)],
        "channels last": [tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, sigma, grad)],
        "expanded": [x[:, :1].expand_as(x), sigma[:, :, :1, :1].expand_as(sigma), grad[:1, :1, :1, :1].expand_as(x)],
    }
    for tensors in views.values():
        check(*tensors, 3, 1e-6)
    out = blur_triton.blur(views["channels last"][0], sigma, 3)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_offsets_beyond_31_bits_take_64() -> None:
    """A view whose images lie 4 GiB apart, of memory that is reserved but never touched in between."""
    apart = 2**31 // 4
    memory = torch.empty(4 * apart + 64, dtype=torch.bfloat16)
    x = memory.as_strided((2, 1, 3, 4), (4 * apart, 12, 4, 1))
    x.copy_(torch.rand(2, 1, 3, 4))
    sigma = torch.full((2, 1, 3, 4), 0.7)
    out = blur_triton.blur(x, sigma, 3)
    torch.testing.assert_close(out, blur_reference.blur(x.clone(), sigma, 3))


def test_empty_batch() -> None:
    x, sigma, grad = torch.zeros(0, 3, 5, 6), torch.zeros(0, 1, 5, 6), torch.zeros(0, 3, 5, 6)
    assert [tuple(tensor.shape) for tensor in by_triton(x, sigma, grad, 3)] == [
        (0, 3, 5, 6),
        (0, 3, 5, 6),
        (0, 1, 5, 6),
    ]
