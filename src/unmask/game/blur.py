"""Pixel-wise Gaussian blur: every pixel of an image has a Gaussian kernel of its own.

The operator at the heart of the game (Z. Wang, Y. Guo, W. Zuo, "Deepfake Forensics via An Adversarial Game", IEEE
TIP 31, 2022, arXiv 2103.13567): the adversary chooses the map sigma, the classifier sees the image blurred by it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from unmask.game import blur_reference

#: Whether images on a GPU have fused kernels: Triton comes with torch for Linux, and is imported at the first call.
HAS_TRITON = find_spec("triton") is not None

#: What images and sigma may be.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Implementation = Literal["auto", "reference"]


def pixelwise_gaussian_blur(
    x: Tensor, sigma: Tensor, kernel_size: int, *, implementation: Implementation = "auto"
) -> Tensor:
    """Blur each pixel with its own Gaussian, normalised over a square window.

    out[b, c, i, j] = sum_uv w_uv x[b, c, i + v, j + u], where the weights w_uv sum to 1 over the window and are
    proportional to exp(-(u^2 + v^2) / (2 s^2)), s = sigma[b, 0, i, j]. Borders are reflected without repeating the
    edge, as often as a small image needs. At sigma = 0 the output is x and the gradient towards sigma 0; as sigma
    grows the output goes to the mean over the window.

    Differentiable in x and sigma, as often as wanted: second and higher derivatives, the transforms of ``torch.func``
    and forward-mode derivatives are computed by the reference. Works under ``torch.compile``; where that compiles such
    a transform or a tangent too, ask for the reference by name. Computes in the precision of x, at least float32. On
    the CPU, fused kernels run on ``torch.get_num_threads()`` threads, on any strides without a copy; where only sigma
    wants a gradient they keep the derivative, one image, for the backward pass, else nothing but the inputs. The first
    call compiles them (seconds, then cached on disk). On a GPU, fused Triton kernels where Triton is installed and the
    window's radius is below height and width; the first call of a size tunes them. Elsewhere, plain torch.

    Args:
        x: (B, C, H, W) images of 16, 32 or 64-bit floats, of any range and any size from 1 x 1; B may be 0.
        sigma: (B, 1, H, W) standard deviations in pixels, >= 0, in any of these dtypes. It enters squared: a
            negative one is refused by the fused kernels, which read it anyway, and counts as its magnitude
            elsewhere, where looking for it would stall the device.
        kernel_size: side of the window in pixels, odd, >= 3.
        implementation: "reference" forces plain torch.

    Returns:
        (B, C, H, W), the dtype and memory format of x.

    Raises:
        TypeError: x or sigma is no tensor of such floats.
        ValueError: shapes, devices or kernel_size do not fit, or a sigma is negative.
    """
    check(x, sigma, kernel_size, implementation)
    if implementation == "reference" or is_transformed(x, sigma):
        return blur_reference.blur(x, sigma, kernel_size)
    if x.device.type == "cpu":
        if keeps_slope(x, sigma):
            return fused_with_slope(x, sigma, kernel_size)[0]
        return fused(x, sigma, kernel_size)
    if x.device.type == "cuda" and HAS_TRITON and kernel_size // 2 < min(x.shape[2:]):
        return fused(x, sigma, kernel_size)
    return blur_reference.blur(x, sigma, kernel_size)


def is_transformed(*tensors: Tensor) -> bool:
    """Whether a transform of torch.func is at work, or a tensor carries a tangent: operators of torch's library follow
    neither, and would give a tangent of zero without a word."""
    if torch.compiler.is_compiling():  # which cannot follow the questions below
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or any(
        forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors
    )


class PixelwiseGaussianBlur(nn.Module):
    """:func:`pixelwise_gaussian_blur` with a fixed kernel_size, as a module of x and sigma."""

    def __init__(self, kernel_size: int = 3, *, implementation: Implementation = "auto") -> None:
        super().__init__()
        check_options(kernel_size, implementation)
        self.kernel_size = kernel_size
        self.implementation = implementation

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return pixelwise_gaussian_blur(x, sigma, self.kernel_size, implementation=self.implementation)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, implementation={self.implementation!r}"


def check(x: Tensor, sigma: Tensor, kernel_size: int, implementation: str) -> None:
    """Refuse what the operator cannot take, without reading a number of the tensors."""
    check_options(kernel_size, implementation)
    for name, tensor in (("x", x), ("sigma", sigma)):
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        if kind not in FLOATS:
            raise TypeError(f"{name} must be a floating-point tensor of 16, 32 or 64 bits, not {kind}")
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ValueError(f"x must be (B, C, H, W) with C, H and W at least 1, not {tuple(x.shape)}")
    if sigma.shape != (x.shape[0], 1, x.shape[2], x.shape[3]):
        expected = (x.shape[0], 1, x.shape[2], x.shape[3])
        raise ValueError(f"sigma must be (B, 1, H, W) = {expected} for these images, not {tuple(sigma.shape)}")
    if x.device != sigma.device:
        raise ValueError(f"x is on {x.device} and sigma on {sigma.device}: they must be on one device")


def check_options(kernel_size: int, implementation: str) -> None:
    if not isinstance(kernel_size, int) or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be an odd whole number of at least 3, not {kernel_size!r}")
    if implementation not in ("auto", "reference"):
        raise ValueError(f'implementation must be "auto" or "reference", not {implementation!r}')


# --- the fused kernels as operators of torch ---------------------------------------------------------------


def kernels_for(x: Tensor) -> Any:
    """The module with the kernels of a tensor's device, imported at the first call: Numba takes a while to import."""
    if x.device.type == "cuda":
        from unmask.game import blur_triton

        return blur_triton
    from unmask.game import blur_cpu

    return blur_cpu


@torch.library.custom_op("unmask::pixelwise_gaussian_blur", mutates_args=())
def fused(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    return kernels_for(x).blur(x, sigma, kernel_size)


@fused.register_fake
def _(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("unmask::pixelwise_gaussian_blur_image_gradient", mutates_args=())
def image_gradient(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    return kernels_for(x).blur_gradient_to_image(grad, x, sigma, kernel_size)


@image_gradient.register_fake
def _(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("unmask::pixelwise_gaussian_blur_sigma_gradient", mutates_args=())
def sigma_gradient(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    return kernels_for(x).blur_gradient_to_sigma(grad, x, sigma, kernel_size)


@sigma_gradient.register_fake
def _(grad: Tensor, x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    return torch.empty_like(sigma)


@torch.library.custom_op("unmask::pixelwise_gaussian_blur_with_slope", mutates_args=(), device_types="cpu")
def fused_with_slope(x: Tensor, sigma: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    """The blur, and its derivative towards sigma: (B, C, H, W) both."""
    return kernels_for(x).blur_with_slope(x, sigma, kernel_size)


@fused_with_slope.register_fake
def _(x: Tensor, sigma: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x)


@torch.library.custom_op("unmask::pixelwise_gaussian_blur_contract", mutates_args=(), device_types="cpu")
def contract(grad: Tensor, slope: Tensor) -> Tensor:
    return kernels_for(grad).contract(grad, slope)


@contract.register_fake
def _(grad: Tensor, slope: Tensor) -> Tensor:
    return torch.empty_like(grad[:, :1], memory_format=torch.contiguous_format)


def keeps_slope(x: Tensor, sigma: Tensor) -> bool:
    """Whether to keep the derivative towards sigma from the forward pass: then the backward pass is a product.

    Not where x wants a gradient too: there the two gradients and the output are three images already. Not in half
    precision, where it would be rounded. (Memory that is mapped afresh each time costs more than it saves: training
    keeps what it frees, see `unmask.training.memory`.)
    """
    wanted = torch.is_grad_enabled() and sigma.requires_grad and not x.requires_grad
    return wanted and x.dtype in (torch.float32, torch.float64)


def keep_slope(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    x, sigma, ctx.kernel_size = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, sigma, output[1])


def derivative_by_slope(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[None, Tensor | None, None]:
    if grad is None:
        return None, None, None
    x, sigma, slope = ctx.saved_tensors
    if torch.is_grad_enabled():  # a second derivative may follow, and the slope is a constant to it
        return None, sigma_gradient(grad, x, sigma, ctx.kernel_size), None
    return None, contract(grad, slope).to(sigma.dtype), None


def keep_inputs(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.kernel_size = inputs
    ctx.save_for_backward(*tensors)


def first_derivative(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x, sigma = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    to_x = image_gradient(grad, x, sigma, ctx.kernel_size) if wanted[0] else None
    to_sigma = sigma_gradient(grad, x, sigma, ctx.kernel_size) if wanted[1] else None
    return to_x, to_sigma, None


def second_derivative(towards: int) -> Callable[..., tuple[Tensor, Tensor, Tensor, None]]:
    """Derivatives of the gradient towards x (0) or sigma (1), taken from the reference."""

    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        further = torch.is_grad_enabled()  # a third derivative may follow
        with torch.enable_grad():
            # Views, so that what follows is not what led here; where nothing follows, cut off from it.
            grad, x, sigma = (
                tensor.view_as(tensor) if further and tensor.requires_grad else tensor.detach().requires_grad_()
                for tensor in ctx.saved_tensors
            )
            out = blur_reference.blur(x, sigma, ctx.kernel_size)
            (first,) = torch.autograd.grad(out, (x, sigma)[towards], grad, create_graph=True)
            to_grad, to_x, to_sigma = torch.autograd.grad(
                first, (grad, x, sigma), cotangent, create_graph=further, materialize_grads=True
            )
        return to_grad, to_x, to_sigma, None

    return backward


fused_with_slope.register_autograd(derivative_by_slope, setup_context=keep_slope)
fused.register_autograd(first_derivative, setup_context=keep_inputs)
image_gradient.register_autograd(second_derivative(0), setup_context=keep_inputs)
sigma_gradient.register_autograd(second_derivative(1), setup_context=keep_inputs)
