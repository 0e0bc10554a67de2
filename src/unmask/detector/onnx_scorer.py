"""From face crops to P(fake) in ONNX Runtime: what :class:`unmask.detector.Scorer` does, without torch."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.detector.card import Card
from unmask.detector.file import CARD, HEAT, ONNX, find_detector, read_card
from unmask.detector.pixels import Crops, resize_crops
from unmask.errors import UnmaskError
from unmask.sessions import open_session

#: Where the model keeps the card, and what it must be called to be one of ours.
CARD_KEY = "unmask.card"


class OnnxScorer:
    """An exported detector at work on the CPU, in float32; threads may share it and run at the same time.

    Args:
        path: the model that ``unmask export`` wrote.
        card: the card beside it, if there is one; its calibration and threshold may be newer than those inside.
        batch_size: crops in one run. It changes speed and memory, not scores.
        heat: the model of its heat maps, opened when the first is wanted.
        name: what errors and protocols call it; its path if none is given.

    Attributes:
        card: the detector's card.
        name: as given.

    Raises:
        UnmaskError: the file is missing, no such model, or was exported from other weights than those of ``card``.
    """

    def __init__(
        self,
        path: Path,
        card: Card | None = None,
        batch_size: int = 32,
        name: str | None = None,
        heat: Path | None = None,
    ) -> None:
        self._session, inside = _open(path, card)
        self.card = card or inside
        self._heat, self._heat_session, self._opening = heat, None, threading.Lock()
        self.name = name or str(path)
        self.batch_size = batch_size

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str] = "default", batch_size: int = 32) -> OnnxScorer:
        """Load an exported detector: a name or folder as for :class:`Scorer`, or an ONNX file alone."""
        path = Path(name_or_path)
        if path.suffix.lower() == ".onnx" and path.is_file():
            beside = path.parent / CARD
            card = read_card(beside) if path.name == ONNX and beside.is_file() else None
            heat = path.parent / HEAT if path.name == ONNX else None
            return cls(path, card, batch_size, str(name_or_path), heat)
        folder = find_detector(name_or_path)
        if not (folder / ONNX).is_file():
            raise UnmaskError(folder / ONNX, f"the file is missing (unmask export {name_or_path} writes it)")
        return cls(folder / ONNX, read_card(folder / CARD), batch_size, str(name_or_path), folder / HEAT)

    def log_odds(self, crops: Crops) -> npt.NDArray[np.float64]:
        """Raw log P(fake) / P(real) of each crop, float64 (N,), as :meth:`Scorer.log_odds` to about 1e-5.

        Raises:
            ValueError: a crop is not uint8 (H, W, 3), or is empty.
        """
        logits = self._run(self._session, "logits", crops, (len(self.card.classes),)).astype(np.float64)
        return np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0]

    def score(self, crops: Crops) -> npt.NDArray[np.float64]:
        """Calibrated P(fake) of each crop, float64 (N,); arguments and errors as :meth:`log_odds`."""
        return self.card.probability(self.log_odds(crops))

    def heat(self, crops: Crops) -> npt.NDArray[np.float32]:
        """Where each crop looks fake, float32 (N, h, w) in [0, 1], see :func:`unmask.detector.explain.heat_maps`.

        Raises:
            ValueError: a crop is not uint8 (H, W, 3), or is empty.
            UnmaskError: there is no ``heat.onnx`` beside the model, or it is damaged or of other weights.
        """
        if self._heat is None or not self._heat.is_file():
            raise UnmaskError(self.name, f"has no {HEAT} (unmask export writes it for backbones with a feature map)")
        with self._opening:
            if self._heat_session is None:
                self._heat_session = _open(self._heat, self.card)[0]
        return self._run(self._heat_session, "heat", crops, (1, 1)).astype(np.float32)

    def _run(self, session: Any, output: str, crops: Crops, empty: tuple[int, ...]) -> npt.NDArray[np.float32]:
        parts = []
        for start in range(0, len(crops), self.batch_size):
            batch = resize_crops(crops[start : start + self.batch_size], self.card.input_size)
            parts.append(session.run([output], {"crops": batch})[0])
        return np.concatenate(parts) if parts else np.empty((0, *empty), np.float32)


def _open(path: Path, card: Card | None) -> tuple[Any, Card]:
    """A session, and the card inside; ``card`` is the one beside it, if there is one."""
    session = open_session(path)
    inside = _card_inside(session, path)
    if card is not None and card.weights_sha256 != inside.weights_sha256:
        raise UnmaskError(path, f"was not exported from the weights that {CARD} names: run unmask export again")
    return session, inside


def _card_inside(session: Any, path: Path) -> Card:
    text = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    inputs = [(item.name, item.type) for item in session.get_inputs()]
    if text is None or inputs != [("crops", "tensor(uint8)")]:
        raise UnmaskError(path, "is an ONNX model, but none that unmask export wrote")
    try:
        return Card.from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UnmaskError(path, f"its card: {error}") from error
