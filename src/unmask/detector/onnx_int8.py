"""A model whose convolutions compute in 8-bit integers, and rows of face tables to make and to measure one with."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.detector.pixels import resize_crops
from unmask.errors import UnmaskError


@dataclass(frozen=True)
class Rows:
    """Crops of a face table, uint8 RGB (H, W, 3) each, and whether each is fake, (N,) bool."""

    table: str
    crops: list[npt.NDArray[np.uint8]]
    fake: npt.NDArray[np.bool_]


def read_rows(path: str | Path, count: int) -> Rows:
    """``count`` rows of a face table, spread evenly over it; rows that cannot be decoded are left out.

    Raises:
        UnmaskError: the table cannot be read, or no row of it.
    """
    from unmask.data.readable import readable
    from unmask.data.table import FaceTable

    table = FaceTable.read(path)
    rows = np.unique(np.linspace(0, len(table) - 1, min(count, len(table))).round().astype(int))
    crops = dict(readable(rows, table.image, []))
    if not crops:
        raise UnmaskError(path, "no row can be decoded")
    return Rows(Path(path).name, list(crops.values()), table.fake[list(crops)])


def quantise(model: Any, rows: Rows, size: int) -> Any:
    """The model with convolutions in 8 bits: weights a channel, activations by their range over the rows.

    Batch norms are folded into the convolutions first. All but convolutions and the clipping behind them stays float32.

    Args:
        model: ``ModelProto`` with the input ``crops``, uint8 (N, size, size, 3).
        rows: a few hundred crops like those that it will see.
        size: the side of its input in pixels.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            starts = range(0, len(rows.crops), 32)
            self._batches = iter({"crops": resize_crops(rows.crops[start : start + 32], size)} for start in starts)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory(prefix="unmask-") as room:
        plain, ready, small = (Path(room) / name for name in ("plain.onnx", "ready.onnx", "small.onnx"))
        onnx.save(model, plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            small,
            Batches(),
            # With the clipping behind it, a convolution's output has the range after clipping, 0 to 6 for ReLU6. By the
            # range before, the bundled detector loses seven points of AUC instead of half a point.
            op_types_to_quantize=["Conv", "Clip", "Relu"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantised = onnx.load(small)
    known = {prop.key for prop in quantised.metadata_props}
    quantised.metadata_props.extend(prop for prop in model.metadata_props if prop.key not in known)
    return quantised
