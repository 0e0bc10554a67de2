"""The card of a finished detector: what turns a face crop into a verdict, and where it came from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from unmask.faces.crop import CropRecipe

#: The card format this version reads and writes.
FORMAT = 1
#: Plain timm model names only: a prefix such as ``hf-hub:`` would fetch code's configuration from elsewhere.
_BACKBONE = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


class Calibration(TypedDict):
    """``P(fake) = sigmoid(scale * log_odds + offset)``: ``platt``, or ``temperature`` with offset 0."""

    method: str
    scale: float
    offset: float


def calibrated(log_odds: npt.ArrayLike, calibration: Calibration) -> npt.NDArray[np.float64]:
    """Raw log-odds of fake, any shape, to P(fake) by a calibration, float64 of the same shape."""
    scaled = calibration["scale"] * np.asarray(log_odds, dtype=np.float64) + calibration["offset"]
    # 1 / (1 + exp(-x)) without overflow on either side.
    return np.exp(-np.logaddexp(0.0, -scaled))


@dataclass(frozen=True)
class Card:
    """Everything about a detector but its weights. ``ValueError`` if a field makes no sense.

    Attributes:
        backbone: timm model name.
        classes: class names in the order of the logits, ``real`` first.
        input_size: side of the square the classifier takes, pixels, 8 to 4096.
        mean, std: normalisation of RGB in [0, 1], one value a channel; std > 0.
        crop: how a face is cut out of its frame, in training and in use.
        calibration: from raw log-odds to P(fake); scale > 0, so that calibration never reorders scores.
        threshold: P(fake) in [0, 1] at or above which a face is called fake.
        threshold_rule: how that threshold was chosen, in words.
        training: data, adversary, steps, seed and versions of the run that made the weights.
        results: measured results with their protocols.
        licence: of the weights.
        intended_use: what the detector is for.
        limits: what it cannot do, one sentence each.
        version: of this detector.
        uncertain: closed interval of P(fake) in which the verdict is ``uncertain``, or None for no such band.
        weights_sha256: of ``model.safetensors``, written by ``save_detector``; empty in a card made by hand.
        format: of the card itself.
    """

    backbone: str
    classes: Sequence[str]
    input_size: int
    mean: Sequence[float]
    std: Sequence[float]
    crop: CropRecipe
    calibration: Calibration
    threshold: float
    threshold_rule: str
    training: Mapping[str, Any]
    results: Mapping[str, Any]
    licence: str
    intended_use: str
    limits: Sequence[str]
    version: str
    uncertain: tuple[float, float] | None = None
    weights_sha256: str = ""
    format: int = field(default=FORMAT)

    def __post_init__(self) -> None:
        _check(self.format == FORMAT, f"card format {self.format!r}, this version of unmask reads {FORMAT}")
        for name in ("backbone", "threshold_rule", "licence", "intended_use", "version", "weights_sha256"):
            _check(isinstance(getattr(self, name), str), f"'{name}' must be text")
        _check(
            _BACKBONE.fullmatch(self.backbone) is not None,
            f"backbone {self.backbone!r} is no timm model name",
        )
        for name in ("classes", "limits"):
            value = getattr(self, name)
            _check(_is_list(value) and all(isinstance(item, str) for item in value), f"'{name}' must list texts")
        _check(len(self.classes) >= 2, "'classes' needs 'real' and at least one manipulation")
        _check(self.classes[0] == "real", f"the first class is {self.classes[0]!r}, it must be 'real'")
        _check(len(set(self.classes)) == len(self.classes), "'classes' names a class twice")
        size = self.input_size
        _check(type(size) is int and 8 <= size <= 4096, f"input_size {size!r} is no whole number in 8..4096")
        for name in ("mean", "std"):
            value = getattr(self, name)
            _check(
                _is_list(value) and len(value) == 3 and all(map(_is_number, value)),
                f"'{name}' needs 3 numbers",
            )
        _check(all(value > 0 for value in self.std), "'std' must be above 0")
        _check(isinstance(self.crop, CropRecipe), "'crop' must be a crop recipe")
        for name in ("training", "results"):
            _check(isinstance(getattr(self, name), Mapping), f"'{name}' must be an object")
        self._check_calibration()
        _check(
            _is_number(self.threshold) and 0 <= self.threshold <= 1,
            f"threshold {self.threshold!r} not in [0, 1]",
        )
        if self.uncertain is not None:
            band = self.uncertain
            _check(
                _is_list(band) and len(band) == 2 and all(map(_is_number, band)),
                "'uncertain' needs 2 numbers",
            )
            _check(0 <= band[0] <= band[1] <= 1, f"'uncertain' {list(band)} is no interval in [0, 1]")

    def _check_calibration(self) -> None:
        value = self.calibration
        _check(isinstance(value, Mapping), "'calibration' must be an object")
        missing = [name for name in ("method", "scale", "offset") if name not in value]
        _check(not missing, f"'calibration' lacks {', '.join(missing)}")
        _check(value["method"] in ("platt", "temperature"), f"unknown calibration method {value['method']!r}")
        _check(_is_number(value["scale"]) and value["scale"] > 0, "'calibration' needs a scale above 0")
        _check(_is_number(value["offset"]), "the offset of 'calibration' must be a number")

    def probability(self, log_odds: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Raw log-odds of fake, any shape, to calibrated P(fake), float64 of the same shape."""
        return calibrated(log_odds, self.calibration)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every field; :meth:`from_json` gives an equal card back."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        lists = {name: list(plain[name]) for name in ("classes", "mean", "std", "limits")}
        band = None if self.uncertain is None else list(self.uncertain)
        return {**plain, **lists, "crop": self.crop.to_dict(), "uncertain": band}

    @classmethod
    def from_json(cls, value: Any) -> Card:
        """Read a card; fields of later minor versions that this one does not know are refused.

        Raises:
            ValueError: in one line, what is missing, unknown or out of range.
        """
        _check(isinstance(value, Mapping), "a card must be a JSON object")
        # The format is looked at first: a card of another version may differ in everything else.
        _check("format" in value, "'format' is missing: not a detector card")
        _check(
            value["format"] == FORMAT,
            f"card format {value['format']!r}, this version of unmask reads {FORMAT}",
        )
        known = {item.name for item in fields(cls)}
        optional = {"uncertain", "weights_sha256"}
        missing = sorted(known - optional - set(value))
        _check(not missing, f"the card lacks {', '.join(missing)}")
        unknown = sorted(set(value) - known)
        _check(not unknown, f"the card has unknown fields: {', '.join(unknown)}")
        crop = value["crop"]
        _check(isinstance(crop, Mapping), "'crop' must be an object")
        try:
            recipe = CropRecipe.from_dict(dict(crop))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"'crop' is no crop recipe ({error})") from error
        band = value.get("uncertain")
        return cls(**{**value, "crop": recipe, "uncertain": tuple(band) if _is_list(band) else band})


def _check(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
