"""A finished detector as ONNX models: the same scores and heat maps without torch."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.detector.file import CARD, HEAT, ONNX, WEIGHTS, card_text, find_detector, read_card
from unmask.detector.onnx_scorer import CARD_KEY, OnnxScorer
from unmask.detector.onnx_trace import narrow, trace_heat, trace_logits
from unmask.detector.scorer import Scorer
from unmask.errors import UnmaskError
from unmask.writing import make_folder, replacing, write_text

if TYPE_CHECKING:
    from unmask.detector.card import Card
    from unmask.detector.onnx_int8 import Rows

#: Largest difference of P(fake) between torch and the model that is written.
PARITY = 1e-4


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
    """Write ``model.onnx``, and ``heat.onnx`` if there can be one, and compare them with torch.

    Input ``crops``, uint8 (N, S, S, 3), RGB, S the card's input size: the model does everything after the resize.
    Output of the one is ``logits`` (N, classes), of the other ``heat`` (N, h, w). The card is in the metadata under
    ``unmask.card``. Weights are kept as float16 where that loses nothing, as in ``model.safetensors``; ONNX Runtime
    widens them once, at load, and folds the batch norms into them.

    Args:
        name_or_path: the detector.
        out: folder for the models and a copy of the card; the detector's own folder if none is given.
        check: rows to compare on; noise if none are given.
        calibrate: rows to choose the ranges of 8-bit numbers by: convolutions of ``model.onnx`` are then computed in
            integers, scores differ from torch by more than ``PARITY``, and by how much, also in AUC, is written into
            the card's results.

    Raises:
        UnmaskError: the detector cannot be used, the packages of ``unmask[export]`` are missing, the folder cannot be
            written or holds another detector, or the scores differ by more than ``PARITY``; then nothing is left
            behind.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (what torch exports by)
    except ImportError as error:
        raise UnmaskError("export", f"needs {error.name}: pip install 'unmask[export]'") from error

    scorer = Scorer.load(name_or_path, device="cpu")
    folder = find_detector(name_or_path) if out is None else Path(out)
    if (folder / WEIGHTS).is_file() and read_card(folder / CARD).weights_sha256 != scorer.card.weights_sha256:
        raise UnmaskError(folder, "holds another detector, which would lose its card")
    model, heat = trace_logits(scorer), _heat(scorer)
    if calibrate is not None:
        from unmask.detector.onnx_int8 import quantise

        model = quantise(model, calibrate, scorer.card.input_size)
    else:
        narrow(model)
    onnx.checker.check_model(model)
    done = _compare(scorer, _with_card(model, scorer.card), heat, folder / ONNX, check)
    # The adversary runs in torch alone: it is not copied to another folder.
    card = scorer.card if out is None else replace(scorer.card, adversary=None)
    if calibrate is not None:
        note = {"difference": done.difference, "auc": done.auc, "rows": done.crops, "calibrated_on": calibrate.table}
        card = replace(card, results={**card.results, "int8": note})
    elif not done.difference <= PARITY:
        raise UnmaskError(folder / ONNX, f"scores differ from torch by {done.difference:.1g}: not written")
    data = _with_card(model, card)
    make_folder(folder)
    for name, written in ((ONNX, data), (HEAT, heat)):
        if written is None:
            (folder / name).unlink(missing_ok=True)  # of another backbone
            continue
        with replacing(folder / name) as file:
            file.write(written)
    if out is not None:
        write_text(folder / CARD, card_text(card))
    return replace(done, size=len(data))


def _with_card(model: Any, card: Card) -> bytes:
    import onnx

    onnx.helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json(), ensure_ascii=False)})
    data: bytes = model.SerializeToString()
    return data


def _heat(scorer: Scorer) -> bytes | None:
    from torch.onnx.errors import OnnxExporterError

    try:
        model = trace_heat(scorer)
    except (UnmaskError, OnnxExporterError):  # no feature map; or a way back that ONNX has no operations for
        return None
    narrow(model)
    return _with_card(model, scorer.card)


def _compare(scorer: Scorer, model: bytes, heat: bytes | None, path: Path, rows: Rows | None) -> Exported:
    with tempfile.TemporaryDirectory(prefix="unmask-") as room:
        # As it comes back from a file, before it takes the place of one that may be in use.
        names = {ONNX: model} if heat is None else {ONNX: model, HEAT: heat}
        for name, data in names.items():
            (Path(room) / name).write_bytes(data)
        exported = OnnxScorer.load(Path(room) / ONNX)
        side = scorer.card.input_size
        crops = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8) if rows is None else rows.crops
        found, expected = exported.score(crops), scorer.score(crops)
        maps = None if heat is None else float(np.abs(exported.heat(crops) - scorer.heat(crops)).max())
    auc = None
    if rows is not None and rows.fake.any() and not rows.fake.all():
        from sklearn.metrics import roc_auc_score

        auc = {"torch": float(roc_auc_score(rows.fake, expected)), "onnx": float(roc_auc_score(rows.fake, found))}
    return Exported(path, len(model), len(crops), float(np.abs(found - expected).max()), maps, auc)
