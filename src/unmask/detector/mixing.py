"""Two detectors averaged into one: what further training learned, without all that it forgot."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from unmask.detector.file import read_detector, save_detector
from unmask.errors import UnmaskError


def mix_detectors(
    first: str | os.PathLike[str], second: str | os.PathLike[str], share: float, out: str | os.PathLike[str]
) -> Path:
    """Write the detector whose weights are ``(1 - share)`` of the first's and ``share`` of the second's.

    Weights that were trained further stay close enough to those they began from for what lies between to work, too
    (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022, arXiv 2109.01903). Two detectors that were
    trained apart give nothing of use. The card is the second's, its input size too, where training went on at another
    one; its calibration is no longer true: fit it anew.

    Args:
        first: folder of the detector that training began from.
        second: folder of the detector that it led to.
        share: of the second, in [0, 1].
        out: folder that is written.

    Raises:
        UnmaskError: a detector cannot be read, they are not of one kind, or the share is out of range.
    """
    if not 0 <= share <= 1:
        raise UnmaskError("share", f"lies in [0, 1], got {share}")
    (before, old), (card, new) = read_detector(first), read_detector(second)
    for field in ("backbone", "classes", "mean", "std", "crop"):
        if getattr(before, field) != getattr(card, field):
            raise UnmaskError(second, f"cannot be mixed with {first}: {field} differs")
    if {name: tensor.shape for name, tensor in old.items()} != {name: tensor.shape for name, tensor in new.items()}:
        raise UnmaskError(second, f"cannot be mixed with {first}: their tensors differ")
    # Counters, which are whole numbers, are the second's.
    mixed = {
        name: torch.lerp(old[name].float(), tensor.float(), share).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in new.items()
    }
    mixture = {"share": share, "first": dict(before.training)}
    if "mixed" in card.training:  # a mix of a mix: neither's origin is lost
        mixture["second"] = dict(card.training)
    training = {**card.training, "mixed": mixture}
    return save_detector(out, mixed, replace(card, training=training, results={}, adversary=None))
