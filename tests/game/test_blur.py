"""What the operator computes: values, derivatives, borders, precision, memory formats, errors."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad
from torchvision.transforms.v2.functional import gaussian_blur

from unmask.game.blur import PixelwiseGaussianBlur, pixelwise_gaussian_blur

IMPLEMENTATIONS = ["auto", "reference"]
KERNEL_SIZES = [3, 5, 7, 9, 11, 13, 15]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def example(
    batch: int = 2, channels: int = 3, height: int = 17, width: int = 22, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Random images and sigma between 0 and 3 px, a tenth of them exactly 0."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    x = torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)
    sigma = 3 * torch.rand(batch, 1, height, width, generator=generator, dtype=torch.float64)
    sigma *= torch.rand(sigma.shape, generator=generator) > 0.1
    return x.to(dtype), sigma.to(dtype)


def derivatives(
    x: Tensor, sigma: Tensor, kernel_size: int, implementation: str, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """The output and the gradients of a random linear function of it."""
    x, sigma = x.detach().requires_grad_(), sigma.detach().requires_grad_()
    out = pixelwise_gaussian_blur(x, sigma, kernel_size, implementation=implementation)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(out)
    return out.detach(), *torch.autograd.grad(out, (x, sigma), weights)


def written_out(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The definition, number by number in float64."""

    def reflect(i: int, size: int) -> int:
        while not 0 <= i < size:
            i = -i if i < 0 else 2 * (size - 1) - i
            if size == 1:
                return 0
        return i

    batch, channels, height, width = x.shape
    out = torch.empty(x.shape, dtype=torch.float64)
    offsets = range(-(kernel_size // 2), kernel_size // 2 + 1)
    for b, i, j in itertools.product(range(batch), range(height), range(width)):
        s = sigma[b, 0, i, j].item()
        weights = {
            (v, u): math.exp(-(u * u + v * v) / (2 * s * s)) if s else float(u == v == 0)
            for v, u in itertools.product(offsets, offsets)
        }
        for c in range(channels):
            total = sum(
                w * x[b, c, reflect(i + v, height), reflect(j + u, width)].item() for (v, u), w in weights.items()
            )
            out[b, c, i, j] = total / sum(weights.values())
    return out


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_equals_the_definition(kernel_size: int, dtype: torch.dtype, implementation: str) -> None:
    x, sigma = example(1, 2, 6, 9, dtype=dtype)
    out = pixelwise_gaussian_blur(x, sigma, kernel_size, implementation=implementation)
    assert out.dtype == dtype
    expected = written_out(x, sigma, kernel_size)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_equals_torchvision_at_constant_sigma(kernel_size: int, sigma: float) -> None:
    x, _ = example(height=31, width=24)
    out = pixelwise_gaussian_blur(x, torch.full((2, 1, 31, 24), sigma), kernel_size)
    expected = gaussian_blur(x, [kernel_size, kernel_size], [sigma, sigma])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 65),
    width=st.integers(1, 65),
    kernel_size=st.sampled_from(KERNEL_SIZES),
    channels=st.integers(1, 4),
    channels_last=st.booleans(),
)
def test_fused_equals_reference(height: int, width: int, kernel_size: int, channels: int, channels_last: bool) -> None:
    x, sigma = example(2, channels, height, width)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    fused = derivatives(x, sigma, kernel_size, "auto")
    exact = derivatives(x.double(), sigma.double(), kernel_size, "reference")
    for ours, theirs in zip(fused, exact, strict=True):
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-6 * scale)
    single = pixelwise_gaussian_blur(x, sigma, kernel_size, implementation="reference")
    torch.testing.assert_close(fused[0], single, rtol=0, atol=1e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_sigma_zero_is_the_identity(dtype: torch.dtype, implementation: str) -> None:
    x, sigma = example(dtype=dtype)
    for tiny in (0.0, 1e-30, 1e-3, 0.02):
        out, grad_x, grad_sigma = derivatives(x, torch.full_like(sigma, tiny), 7, implementation)
        assert torch.equal(out, x)
        assert torch.equal(grad_sigma, torch.zeros_like(sigma))
        weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        assert torch.equal(grad_x, weights)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_great_sigma_is_the_mean_of_the_window(implementation: str) -> None:
    x, sigma = example(height=9, width=8)
    for great in (1e4, 1e15, float("inf")):
        out, _, grad_sigma = derivatives(x, torch.full_like(sigma, great), 5, implementation)
        mean = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (2, 2, 2, 2), "reflect"), 5, 1)
        torch.testing.assert_close(out, mean, rtol=0, atol=1e-6)
        assert grad_sigma.abs().max() < 1e-6


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_not_a_number_stays_where_it_is(implementation: str) -> None:
    x, sigma = example(1, 1, 9, 9)
    sigma[0, 0, 4, 4] = float("nan")
    out = pixelwise_gaussian_blur(x, sigma, 3, implementation=implementation)
    assert out.isnan().nonzero().tolist() == [[0, 0, 4, 4]]


def test_constant_images_stay_constant_and_feel_no_sigma() -> None:
    _, sigma = example()
    out, _, grad_sigma = derivatives(torch.full((2, 3, 17, 22), 0.7), sigma, 7, "auto")
    assert torch.equal(out, torch.full_like(out, 0.7))
    assert not grad_sigma.any()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("kernel_size", "size"), [(3, (4, 5)), (7, (3, 6)), (5, (1, 2))])
def test_derivatives(kernel_size: int, size: tuple[int, int], implementation: str) -> None:
    x, sigma = example(1, 2, *size, dtype=torch.float64)
    inputs = (x.requires_grad_(), (sigma + 0.3).requires_grad_())

    def blur(x: Tensor, sigma: Tensor) -> Tensor:
        return pixelwise_gaussian_blur(x, sigma, kernel_size, implementation=implementation)

    assert torch.autograd.gradcheck(blur, inputs)
    assert torch.autograd.gradgradcheck(blur, inputs)


def test_derivatives_of_any_order_are_the_reference_s() -> None:
    x, sigma = example(1, 2, 7, 8, dtype=torch.float64)

    def norms(implementation: str, of_x: bool) -> list[float]:
        image, spread = x.clone().requires_grad_(of_x), (sigma + 0.3).requires_grad_()
        inputs = (image, spread) if of_x else (spread,)
        value = pixelwise_gaussian_blur(image, spread, 3, implementation=implementation).square().sum()
        found = []
        for _ in range(4):
            gradients = torch.autograd.grad(value, inputs, create_graph=True)
            found += [gradient.norm().item() for gradient in gradients]
            value = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
        return found

    for of_x in (False, True):
        assert norms("auto", of_x) == pytest.approx(norms("reference", of_x), rel=1e-9)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own, where it prepares tangents
def test_transforms_of_torch_func_and_tangents_are_followed() -> None:
    x, sigma = example(1, 2, 5, 4, dtype=torch.float64)
    sigma += 0.3

    def blur(spread: Tensor) -> Tensor:
        return pixelwise_gaussian_blur(x, spread, 3)

    step = 1e-6
    expected = (blur(sigma + step) - blur(sigma - step)) / (2 * step)
    _, tangent = torch.func.jvp(blur, (sigma,), (torch.ones_like(sigma),))
    torch.testing.assert_close(tangent, expected, rtol=1e-6, atol=1e-8)
    with forward_ad.dual_level():
        dual = blur(forward_ad.make_dual(sigma, torch.ones_like(sigma)))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, tangent)
    spread = sigma.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(blur(spread).sum(), spread)
    torch.testing.assert_close(torch.func.grad(lambda each: blur(each).sum())(sigma), gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_only_the_rounding(dtype: torch.dtype) -> None:
    x, sigma = example(dtype=dtype)
    half = derivatives(x, sigma, 5, "auto")
    single = derivatives(x.float(), sigma.float(), 5, "auto")
    for ours, exact in zip(half, single, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.float(), exact, rtol=2 * TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_half_precision_number_passes_unchanged(dtype: torch.dtype) -> None:
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).reshape(1, 1, 256, 256)
    x = torch.where(x.isfinite(), x, 0)
    sigma = torch.zeros(1, 1, 256, 256, dtype=dtype)
    finite = x if dtype == torch.float16 else x.clamp(-1e37, 1e37)  # differences of neighbours must not overflow
    assert torch.equal(pixelwise_gaussian_blur(finite, sigma, 3), finite)


def test_sigma_may_have_a_precision_of_its_own() -> None:
    x, sigma = example(dtype=torch.bfloat16)
    out, _, grad_sigma = derivatives(x, sigma.float(), 3, "auto")
    assert out.dtype == torch.bfloat16
    assert grad_sigma.dtype == torch.float32


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_any_strides(implementation: str) -> None:
    x, sigma = example(2, 3, 30, 44)
    views = {
        "crop": (x[:, :, 3:20, 5:27], sigma[:, :, 3:20, 5:27]),
        "every second": (x[:, :, ::2, ::2], sigma[:, :, ::2, ::2]),
        "transposed": (x.mT, sigma.mT),
        "expanded": (x[:, :1].expand(-1, 3, -1, -1), sigma[:, :, :1, :1].expand(-1, -1, 30, 44)),
        "channels last": (x.contiguous(memory_format=torch.channels_last), sigma),
    }
    for name, (image, field) in views.items():
        viewed = derivatives(image, field, 5, implementation)
        copied = derivatives(image.contiguous(), field.contiguous(), 5, implementation)
        for ours, theirs in zip(viewed, copied, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6, msg=name)


def test_memory_format_is_kept() -> None:
    x, sigma = example()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        out, grad_x, _ = derivatives(x.contiguous(memory_format=memory_format), sigma, 3, "auto")
        assert out.is_contiguous(memory_format=memory_format)
        assert grad_x.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_empty_batch(implementation: str) -> None:
    out, grad_x, grad_sigma = derivatives(torch.zeros(0, 3, 8, 9), torch.zeros(0, 1, 8, 9), 3, implementation)
    assert out.shape == grad_x.shape == (0, 3, 8, 9)
    assert grad_sigma.shape == (0, 1, 8, 9)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_module_equals_function(implementation: str) -> None:
    x, sigma = example()
    module = PixelwiseGaussianBlur(5, implementation=implementation)
    expected = pixelwise_gaussian_blur(x, sigma, 5, implementation=implementation)
    assert torch.equal(module(x, sigma), expected)
    assert "kernel_size=5" in repr(module)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kernel_size": 4}, ValueError, "odd whole number of at least 3, not 4"),
        ({"kernel_size": 1}, ValueError, "not 1"),
        ({"kernel_size": 3.0}, ValueError, r"not 3\.0"),
        ({"x": torch.zeros(3, 8, 8)}, ValueError, r"\(B, C, H, W\).*not \(3, 8, 8\)"),
        ({"x": torch.zeros(2, 3, 0, 8)}, ValueError, "C, H and W at least 1"),
        ({"sigma": torch.ones(2, 3, 8, 8)}, ValueError, r"\(2, 1, 8, 8\).*not \(2, 3, 8, 8\)"),
        ({"sigma": torch.ones(1, 1, 8, 8)}, ValueError, r"not \(1, 1, 8, 8\)"),
        ({"sigma": torch.full((2, 1, 8, 8), -1.0)}, ValueError, "negative"),
        ({"sigma": torch.ones(2, 1, 8, 8, device="meta")}, ValueError, "one device"),
        ({"x": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, TypeError, "not torch.uint8"),
        ({"sigma": torch.ones(2, 1, 8, 8, dtype=torch.int64)}, TypeError, "sigma.*not torch.int64"),
        ({"x": torch.zeros(2, 3, 8, 8, dtype=torch.float8_e4m3fn)}, TypeError, "x.*not torch.float8"),
        ({"sigma": 1.0}, TypeError, "sigma.*not float"),
        ({"implementation": "fast"}, ValueError, "'fast'"),
    ],
)
def test_clear_errors(change: dict, error: type[Exception], message: str) -> None:
    arguments = {"x": torch.zeros(2, 3, 8, 8), "sigma": torch.ones(2, 1, 8, 8), "kernel_size": 3} | change
    with pytest.raises(error, match=message):
        pixelwise_gaussian_blur(**arguments)
