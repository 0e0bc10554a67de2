"""Scores on the validation tables: what weights are chosen by, and what calibration and threshold come from."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from unmask.data.table import FaceTable
from unmask.errors import UnmaskError
from unmask.evaluation.evaluate import clusters_of
from unmask.game.classifier import Classifier, log_odds
from unmask.training.processes import gather

log = logging.getLogger("unmask")

_BATCH = 64


class Validation:
    """The validation rows at the size the classifier takes, decoded once; each rank scores its share.

    Attributes:
        fake: (N,) bool labels of the readable rows, on every rank.
        cluster: (N,) str, their groups of near-duplicates, as evaluation draws them.

    Raises:
        UnmaskError: one class only, of the rows that can be read: nothing can be chosen by such a table.
    """

    def __init__(self, table: FaceTable, size: int, rank: int, world: int) -> None:
        self._rank, self._world, self._total = rank, world, len(table)
        images = [_load(table, row, size) for row in range(rank, len(table), world)]
        self._mine = np.array([image is not None for image in images], dtype=bool)  # also of no image
        self._readable = gather(self._mine, rank, world, len(table))
        self._images = [image for image in images if image is not None]
        self.fake = table.fake[self._readable]
        self.cluster = clusters_of(table)[self._readable].astype(str)
        if self.fake.all() or not self.fake.any():
            kind = "fake" if self.fake.any() else "real" if len(self.fake) else "unreadable"
            raise UnmaskError(table.name, f"every validation row is {kind}; both real and fake are needed")

    @torch.inference_mode()
    def log_odds(self, classifier: Classifier, device: torch.device) -> np.ndarray:
        """(N,) float64 raw log-odds of all rows, on every rank; the classifier is put into eval mode and back."""
        was_training = classifier.training
        classifier.eval()
        parts = [np.empty(0)]
        for start in range(0, len(self._images), _BATCH):
            batch = torch.stack(self._images[start : start + _BATCH]).to(device).float().div_(255)
            logits = classifier(batch.contiguous(memory_format=torch.channels_last))
            parts.append(log_odds(logits.double()).cpu().numpy())
        classifier.train(was_training)
        odds = np.full(len(self._mine), np.nan)
        odds[self._mine] = np.concatenate(parts)
        odds = gather(odds, self._rank, self._world, self._total)[self._readable]
        if not np.isfinite(odds).all():
            raise UnmaskError("validation", "the classifier's scores are not finite: lower optimiser.lr")
        return odds


def _load(table: FaceTable, row: int, size: int) -> Tensor | None:
    """The resized image of a row, or None, said once in the log, where its bytes are no image."""
    try:
        image = torch.from_numpy(table.image(row).copy()).permute(2, 0, 1)
    except UnmaskError as error:
        log.warning("left out of validation: %s", error)
        return None
    return F.resize(image, [size, size], antialias=True)
