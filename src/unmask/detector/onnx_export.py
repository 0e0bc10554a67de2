"""A finished detector as an ONNX model: the same scores and heat maps without torch."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unmask.detector.file import CARD, ONNX, card_text, find_detector
from unmask.detector.onnx_scorer import CARD_KEY, OnnxScorer
from unmask.detector.scorer import Scorer
from unmask.errors import UnmaskError
from unmask.writing import make_folder, replacing, write_text

if TYPE_CHECKING:
    from unmask.detector.card import Card
    from unmask.detector.onnx_int8 import Rows

#: Largest difference of P(fake) between torch and the model that is written.
PARITY = 1e-4
_OPSET = 20


@dataclass(frozen=True)
class Exported:
    """What was written and how it compares.

    Attributes:
        path: the model.
        size: in bytes.
        crops: how many crops the comparison is of.
        difference: largest difference of P(fake) from torch.
        heat_difference: largest difference of the heat maps, in [0, 1]; None without heat maps.
        auc: of ``torch`` and ``onnx`` on the compared rows; None if those are of one class, or noise.
    """

    path: Path
    size: int
    crops: int
    difference: float
    heat_difference: float | None
    auc: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; the model by its name alone."""
        return {**asdict(self), "path": self.path.name}


def export_onnx(
    name_or_path: str | os.PathLike[str] = "default",
    out: str | os.PathLike[str] | None = None,
    check: Rows | None = None,
    calibrate: Rows | None = None,
) -> Exported:
    """Write ``model.onnx`` and compare it with torch.

    Input ``crops``, uint8 (N, S, S, 3), RGB, S the card's input size: the model does everything after the resize.
    Outputs ``logits`` (N, classes) and, where the backbone has them, ``heat`` (N, h, w). The card is in the metadata
    under ``unmask.card``. Weights are kept as float16 where that loses nothing, as in ``model.safetensors``; ONNX
    Runtime widens them once, at load, and folds the batch norms into them.

    Args:
        name_or_path: the detector.
        out: folder for the model and a copy of the card; the detector's own folder if none is given.
        check: rows to compare on; noise if none are given.
        calibrate: rows to choose the ranges of 8-bit numbers by: convolutions are then computed in integers, scores
            differ from torch by more than ``PARITY``, and by how much, also in AUC, is written into the card's results.

    Raises:
        UnmaskError: the detector cannot be used, the packages of ``unmask[export]`` are missing, the folder cannot be
            written, or the scores differ by more than ``PARITY``; then nothing is left behind.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (what torch exports by)
    except ImportError as error:
        raise UnmaskError("export", f"needs {error.name}: pip install 'unmask[export]'") from error

    scorer = Scorer.load(name_or_path, device="cpu")
    folder = find_detector(name_or_path) if out is None else Path(out)
    model = _trace(scorer)
    if calibrate is not None:
        from unmask.detector.onnx_int8 import quantise

        model = quantise(model, calibrate, scorer.card.input_size)
    else:
        _narrow(model)
    onnx.checker.check_model(model)
    done = _compare(scorer, _with_card(model, scorer.card), folder / ONNX, check)
    # The adversary runs in torch alone: it is not copied to another folder.
    card = scorer.card if out is None else replace(scorer.card, adversary=None)
    if calibrate is not None:
        note = {"difference": done.difference, "auc": done.auc, "rows": done.crops, "calibrated_on": calibrate.table}
        card = replace(card, results={**card.results, "int8": note})
    elif not done.difference <= PARITY:
        raise UnmaskError(folder / ONNX, f"scores differ from torch by {done.difference:.1g}: not written")
    data = _with_card(model, card)
    make_folder(folder)
    with replacing(folder / ONNX) as file:
        file.write(data)
    if out is not None:
        write_text(folder / CARD, card_text(card))
    return replace(done, size=len(data))


def _with_card(model: Any, card: Card) -> bytes:
    import onnx

    onnx.helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json(), ensure_ascii=False)})
    data: bytes = model.SerializeToString()
    return data


def _compare(scorer: Scorer, model: bytes, path: Path, rows: Rows | None) -> Exported:
    with tempfile.TemporaryDirectory(prefix="unmask-") as room:
        # As it comes back from a file, before it takes the place of one that may be in use.
        (Path(room) / ONNX).write_bytes(model)
        exported = OnnxScorer(Path(room) / ONNX)
    side = scorer.card.input_size
    crops = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8) if rows is None else rows.crops
    found, expected = exported.score(crops), scorer.score(crops)
    auc = None
    if rows is not None and rows.fake.any() and not rows.fake.all():
        from sklearn.metrics import roc_auc_score

        auc = {"torch": float(roc_auc_score(rows.fake, expected)), "onnx": float(roc_auc_score(rows.fake, found))}
    heat = float(np.abs(exported.heat(crops) - scorer.heat(crops)).max()) if exported.has_heat else None
    return Exported(path, len(model), len(crops), float(np.abs(found - expected).max()), heat, auc)


def _trace(scorer: Scorer) -> Any:
    """The classifier as an ONNX ``ModelProto`` from uint8 crops to logits and heat maps."""
    import logging
    import warnings

    import torch
    from onnxscript import ir, optimizer
    from torch import Tensor, nn

    from unmask.detector.explain import heat_maps

    class Whole(nn.Module):
        def __init__(self, with_heat: bool) -> None:
            super().__init__()
            self.model, self.with_heat = scorer.model, with_heat

        def forward(self, crops: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            images = crops.permute(0, 3, 1, 2).float() / 255
            return heat_maps(self.model, images) if self.with_heat else self.model(images)

    side = scorer.card.input_size
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    names = ["logits", "heat"] if _closed_form(scorer, example) else ["logits"]
    scorer.model.to(memory_format=torch.contiguous_format)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            Whole(len(names) == 2).eval(),
            (example,),
            input_names=["crops"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=_OPSET,
            dynamo=True,
            # Its optimiser folds batch norms into the weights, which then are no float16 numbers any more.
            optimize=False,
            verbose=False,
        )
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


def _closed_form(scorer: Scorer, example: Any) -> bool:
    """Whether the heat map needs no backward pass, which cannot be exported."""
    from unmask.detector import explain

    if explain._linear_head(scorer.model.backbone) is None:
        return False
    try:
        scorer.heat(example.numpy())
    except UnmaskError:
        return False
    return True


def _narrow(model: Any) -> None:
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
