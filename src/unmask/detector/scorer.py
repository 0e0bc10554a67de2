"""From face crops to P(fake) with a finished detector."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask.detector.card import Card
from unmask.detector.file import WEIGHTS, read_detector
from unmask.detector.pixels import Crops, resize_crops
from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from unmask.game.classifier import Classifier

#: cuDNN's settings belong to the process: threads that score on a GPU take turns.
_CUDNN = threading.Lock()


class Scorer:
    """A detector at work, in float32 whatever dtype its weights were stored in; threads may share it.

    Args:
        card: how to normalise, calibrate and decide.
        state_dict: weights of the classifier that the card describes.
        device: torch device; None means CUDA where there is one, else the CPU.
        batch_size: crops in one forward pass. It changes speed and memory, not scores.
        name: what errors and protocols call it.

    Attributes:
        card: the detector's card.
        name: as given.
        model: the classifier, (B, 3, H, W) in [0, 1] to logits; eval mode, parameters frozen, inputs may
            still require a gradient.
        device: where it runs.

    Raises:
        UnmaskError: there is no such backbone, or the weights are of another network.
    """

    def __init__(
        self,
        card: Card,
        state_dict: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        batch_size: int = 32,
        name: str = "detector",
    ) -> None:
        # timm takes seconds to import; a reader of cards need not wait for it.
        from unmask.game.classifier import build_classifier

        self.card = card
        self.name = name
        self.batch_size = batch_size
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        try:
            model = build_classifier(card.backbone, card.classes, card.mean, card.std, pretrained="none")
        except UnmaskError as error:
            raise UnmaskError(name, str(error)) from error
        _load(model, state_dict, name)
        model.float().eval().requires_grad_(False)
        self.model: Classifier = model.to(self.device).to(memory_format=torch.channels_last)

    @classmethod
    def load(
        cls,
        name_or_path: str | os.PathLike[str] = "default",
        device: str | torch.device | None = None,
        batch_size: int = 32,
    ) -> Scorer:
        """Load a detector by name or path, see :func:`unmask.detector.file.read_detector`."""
        card, state_dict = read_detector(name_or_path)
        return cls(card, state_dict, device, batch_size, name=str(name_or_path))

    def prepare(self, crops: Crops) -> Tensor:
        """Crops, uint8 RGB (H, W, 3) each and of any size, to a tensor (N, 3, S, S) in [0, 1] on the device.

        Resized by :func:`unmask.detector.pixels.resize_crops`, always on the CPU: the same pixels whatever the device
        and the runtime.

        Raises:
            ValueError: a crop is not uint8 (H, W, 3), or is empty.
        """
        batch = torch.from_numpy(resize_crops(crops, self.card.input_size)).permute(0, 3, 1, 2)
        return batch.to(self.device).float().div_(255)

    @torch.inference_mode()
    def log_odds(self, crops: Crops) -> npt.NDArray[np.float64]:
        """Raw log P(fake) / P(real) of each crop, float64 (N,): logsumexp of the fakes' logits less the real.

        Args:
            crops: N crops by the card's recipe, uint8 RGB (H, W, 3) of any size, or an array (N, H, W, 3).

        Raises:
            ValueError: a crop is not uint8 (H, W, 3), or is empty.
        """
        parts = (crops[start : start + self.batch_size] for start in range(0, len(crops), self.batch_size))
        return np.concatenate([np.empty(0), *(self.log_odds_of(self.prepare(part)) for part in parts)])

    @torch.inference_mode()
    def log_odds_of(self, images: Tensor) -> npt.NDArray[np.float64]:
        """:meth:`log_odds` of images that are prepared already, (N, 3, S, S) in [0, 1] on the device, in one pass."""
        from unmask.game.classifier import log_odds

        with _single_precision(self.device):
            logits = self.model(images).double().cpu()
        return log_odds(logits).numpy()

    def score(self, crops: Crops) -> npt.NDArray[np.float64]:
        """Calibrated P(fake) of each crop, float64 (N,); arguments and errors as :meth:`log_odds`."""
        return self.card.probability(self.log_odds(crops))

    @torch.inference_mode()
    def heat(self, crops: Crops) -> npt.NDArray[np.float32]:
        """Where each crop looks fake, float32 (N, h, w) in [0, 1], see :func:`unmask.detector.explain.heat_maps`.

        Raises:
            ValueError: a crop is not uint8 (H, W, 3), or is empty.
            UnmaskError: the backbone gives no heat map.
        """
        from unmask.detector.explain import heat_maps

        found = []
        for start in range(0, len(crops), self.batch_size):
            images = self.prepare(crops[start : start + self.batch_size])
            with _single_precision(self.device):
                found.append(heat_maps(self.model, images)[1].cpu().numpy())
        return np.concatenate(found) if found else np.empty((0, 1, 1), np.float32)


@contextmanager
def _single_precision(device: torch.device) -> Iterator[None]:
    """Neither autocast nor TF32 convolutions, which torch allows on a GPU: scores are those of the CPU."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        with _CUDNN, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield


def _load(model: nn.Module, state_dict: Mapping[str, Tensor], name: str) -> None:
    """Strictly: a tensor that is missing, left over or of another shape is an error that names it."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state_dict]
    unexpected = [key for key in state_dict if key not in wanted]
    reshaped = [
        f"{key} {tuple(state_dict[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state_dict and state_dict[key].shape != tensor.shape
    ]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if keys
    ]
    if problems:
        raise UnmaskError(name, f"the tensors of {WEIGHTS} do not fit the card's backbone: {'; '.join(problems)}")
    model.load_state_dict(state_dict)
