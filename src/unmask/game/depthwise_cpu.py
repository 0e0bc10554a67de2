"""The way back through depthwise convolutions, for training on a CPU.

There oneDNN takes ten times its forward pass for the weights of a 5 x 5 layer, and as long for the images of one with
stride 2; in bfloat16 it takes many times as long again for all of them, and undoes what bfloat16 gains elsewhere.
Here forward stays torch's and backward is two kernels over channels-last memory. (3 x 3 layers without stride are fast
in float32 and stay oneDNN's, widened where the images are bfloat16.) TensorFlow's padding counts as zeros that need not
be there: no padded copy is kept or taken apart again.

The numbers are those of torch up to rounding, and the same on any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.game.blur import is_transformed
from unmask.game.depthwise_cpu_kernels import image_gradient, weight_gradient
from unmask.game.threads import in_parallel


class DepthwiseConv2d(nn.Conv2d):
    """torch's depthwise convolution, its backward pass ours where it can be: channels-last, on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        taken = _taken(self, x)
        if taken is None:
            return super().forward(x)
        top, left = (int(side) for side in self.padding)
        return _Depthwise.apply(taken, self.weight, self.bias, self.stride[0], (left, left, top, top))


class DepthwiseConv2dSame(Conv2dSame):
    """The same for TensorFlow's padding, which depends on the size of the image."""

    def forward(self, x: Tensor) -> Tensor:
        taken = _taken(self, x)
        if taken is None:
            return super().forward(x)
        (top, bottom), (left, right) = (
            _same_padding(size, self.kernel_size[0], self.stride[0]) for size in x.shape[2:]
        )
        return _Depthwise.apply(taken, self.weight, self.bias, self.stride[0], (left, right, top, bottom))


def speed_up_depthwise(module: nn.Module) -> int:
    """Let the depthwise convolutions below ``module`` use the kernels; returns how many. Parameters and names stay."""
    kinds = {nn.Conv2d: DepthwiseConv2d, Conv2dSame: DepthwiseConv2dSame}
    found = [child for child in module.modules() if type(child) in kinds and _fits(child)]
    for child in found:
        child.__class__ = kinds[type(child)]
    return len(found)


def _fits(layer: nn.Module) -> bool:
    assert isinstance(layer, nn.Conv2d)
    return (
        layer.groups == layer.in_channels == layer.out_channels > 1
        and layer.kernel_size[0] == layer.kernel_size[1]
        and layer.stride[0] == layer.stride[1]
        and layer.kernel_size[0] > 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _taken(layer: nn.Conv2d, x: Tensor) -> Tensor | None:
    """x as the layer computes with it, float32 or, under autocast, bfloat16; None where the layer stays torch's."""
    narrow = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    ours = (
        torch.is_grad_enabled()
        and (x.requires_grad or layer.weight.requires_grad)
        and x.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and x.dtype in ((torch.float32, torch.bfloat16) if narrow else (torch.float32,))
        and (narrow or not torch.is_autocast_enabled("cpu"))
        and (narrow or not _is_fast(layer))
        and type(x) is Tensor  # none of those that stand in for tensors while a graph is traced
        and x.ndim == 4
        and x.numel() > 0
        and not is_transformed(x, layer.weight)
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )
    return (x.bfloat16() if narrow else x) if ours else None


def _is_fast(layer: nn.Conv2d) -> bool:
    """oneDNN is fast in float32, there and back."""
    return layer.kernel_size[0] < 5 and layer.stride[0] == 1


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Before and after: TensorFlow's rule, output = ceil(size / stride), an odd pixel after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of x (B, C, H, W) by weight (C, 1, k, k); padding is (left, right, top, bottom)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: tuple[int, int, int, int]
    ) -> Tensor:
        left, right, top, bottom = padding
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.centred = stride, padding, (left, top) == (right, bottom)
        taps, offset = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
        if ctx.centred:
            return F.conv2d(x, taps, offset, stride, (top, left), groups=len(weight))
        return F.conv2d(F.pad(x, padding), taps, offset, stride, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        to_x_wanted, to_weight_wanted, to_bias_wanted = mask = ctx.needs_input_grad[:3]
        channels, size, (left, _, top, _) = x.shape[1], weight.shape[-1], ctx.padding
        if torch.is_grad_enabled():  # a further derivative may follow, which torch's own has
            grad, padded, strides = gradients[0].float(), F.pad(x.float(), ctx.padding), [ctx.stride] * 2
            to_x, to_weight, to_bias = torch.ops.aten.convolution_backward(
                grad, padded, weight, [channels], strides, [0, 0], [1, 1], False, [0, 0], channels, mask
            )
            to_x = F.pad(to_x, [-side for side in ctx.padding]).to(x.dtype) if to_x_wanted else None
            return to_x, to_weight, to_bias, None, None
        grad = gradients[0].contiguous(memory_format=torch.channels_last)
        # What oneDNN is fast at: float32, no stride; for the weights of small windows alone.
        its_own = ctx.stride == 1 and ctx.centred and (x.dtype == torch.float32 or size < 5)
        to_x = to_weight = None
        if its_own:
            mask = [to_x_wanted, to_weight_wanted and size < 5, False]
            to_x, to_weight, _ = torch.ops.aten.convolution_backward(
                grad.float(), x.float(), weight, None, [1, 1], [top, left], [1, 1], False, [0, 0], channels, mask
            )
            to_x = None if to_x is None else to_x.to(x.dtype)
        batch = list(range(len(x)))
        shape = (*x.shape[2:], channels, *grad.shape[2:], size, ctx.stride, top, left)
        arriving, images = _flat(grad), _flat(x)
        if to_x_wanted and not its_own:
            to_x = torch.empty_like(x)
            taps, results = weight.detach()[:, 0].permute(1, 2, 0).contiguous().flatten().numpy(), _flat(to_x)
            in_parallel(lambda image: image_gradient(arriving[image], taps, results[image], *shape), batch)
        if to_weight_wanted and to_weight is None:
            # One sum an image, added up in order.
            shares = np.zeros((len(x), size * size * channels), np.float32)
            in_parallel(lambda image: weight_gradient(arriving[image], images[image], shares[image], *shape), batch)
            total = torch.from_numpy(shares).sum(dim=0).view(size, size, channels)
            to_weight = total.permute(2, 0, 1)[:, None].contiguous()
        to_bias = grad.float().sum(dim=(0, 2, 3)) if to_bias_wanted else None
        return to_x, to_weight, to_bias, None, None


def _flat(x: Tensor) -> np.ndarray:
    """(B, H * W * C): the memory of channels-last images; bfloat16 travels as int16, as the kernels have it."""
    flat = x.detach().permute(0, 2, 3, 1).reshape(len(x), -1)
    return (flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy()
