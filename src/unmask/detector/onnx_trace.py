"""A classifier as ONNX graphs: one from crops to logits, one from crops to heat maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask.detector.explain import heat_maps

if TYPE_CHECKING:
    from unmask.detector.scorer import Scorer

_OPSET = 20
#: Crops in the batch that is traced. A number that no other side of a tensor has: the tracer takes equal sides for one.
_BATCH = 5


def trace_logits(scorer: Scorer) -> Any:
    """``ModelProto`` from ``crops``, uint8 (N, S, S, 3), to ``logits`` (N, classes), all in float32."""

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = scorer.model

        def forward(self, crops: Tensor) -> Tensor:
            return self.model(_images(crops))

    return _export(scorer, lambda example: Whole().eval(), "logits")


def trace_heat(scorer: Scorer) -> Any:
    """``ModelProto`` from ``crops``, uint8 (N, S, S, 3), to ``heat`` (N, h, w), see :func:`heat_maps`.

    A graph of its own: with the way back in it, ONNX Runtime can no longer fuse the layers of the way there, and scores
    would take twice as long.

    Raises:
        UnmaskError: the backbone has no feature map to take a heat map from.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    def heat(crops: Tensor) -> Tensor:
        return heat_maps(scorer.model, _images(crops))[1]

    # ONNX has no backward pass: it is written out, in operations that exist forwards as well.
    trace = make_fx(heat, _way_back(), tracing_mode="symbolic", _allow_non_fake_inputs=True)
    return _export(scorer, trace, "heat")


def _images(crops: Tensor) -> Tensor:
    # Contiguous: on the way back torch lays gradients out as the images are, which ONNX knows nothing of.
    return (crops.permute(0, 3, 1, 2).float() / 255).contiguous()


def _way_back() -> dict[Any, Callable[..., Any]]:
    """Derivatives in terms of forward operations."""
    from torch._decomp import get_decompositions

    aten = torch.ops.aten
    table = get_decompositions(
        [
            aten.elu_backward,
            aten.gelu_backward,
            aten.hardsigmoid_backward,
            aten.hardswish_backward,
            aten.hardtanh_backward,
            aten.leaky_relu_backward,
            aten.native_batch_norm_backward,
            aten.native_layer_norm_backward,
            aten.sigmoid_backward,
            aten.silu_backward,
            aten.threshold_backward,
        ]
    )

    def convolution_backward(
        gradient: Tensor,
        images: Tensor,
        weight: Tensor,
        bias_sizes: list[int] | None,
        stride: list[int],
        padding: list[int],
        dilation: list[int],
        transposed: bool,
        output_padding: list[int],
        groups: int,
        wanted: list[bool],
    ) -> tuple[Tensor, None, None]:
        """To the images alone: the weights are frozen. A transposed convolution by the same weights."""
        sides = zip(images.shape[2:], gradient.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
        # What lies behind the last window.
        left_over = [
            size - ((seen - 1) * step - 2 * pad + gap * (window - 1) + 1)
            for size, seen, window, step, pad, gap in sides
        ]
        back = aten.convolution(gradient, weight, None, stride, padding, dilation, True, left_over, groups)
        return back, None, None

    table[aten.convolution_backward.default] = convolution_backward
    return table


def _export(scorer: Scorer, program_of: Callable[[Tensor], nn.Module], output: str) -> Any:
    import logging
    import warnings

    from onnxscript import ir, optimizer

    side = scorer.card.input_size
    example = torch.zeros(_BATCH, side, side, 3, dtype=torch.uint8)
    scorer.model.to(memory_format=torch.contiguous_format)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about itself
            program = torch.onnx.export(
                program_of(example),
                (example,),
                input_names=["crops"],
                output_names=[output],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=_OPSET,
                dynamo=True,
                # Its optimiser folds batch norms into the weights, which then are no float16 numbers any more.
                optimize=False,
                verbose=False,
            )
    finally:
        scorer.model.to(memory_format=torch.channels_last)
    assert program is not None
    optimizer.fold_constants(program.model, output_size_limit=4096)
    optimizer.remove_unused_nodes(program.model)
    model = ir.to_proto(program.model)
    # Where in the exporter's sources a node comes from is of no use to others.
    for item in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del item.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    del model.graph.value_info[:]
    return model


def narrow(model: Any) -> None:
    """Keep each float32 tensor that consists of float16 numbers as such, with a cast that is done once, at load."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        wide: npt.NDArray[np.float32] = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = wide.astype(np.float16)
        if wide.size >= 16 and np.array_equal(half.astype(np.float32), wide):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
