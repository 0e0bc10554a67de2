"""The card of a finished detector: what turns a face crop into a verdict, and where it came from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import pairwise
from typing import Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from unmask.faces.crop import CropRecipe

#: The card format this version reads and writes.
FORMAT = 1
#: Plain timm model names only: a prefix such as ``hf-hub:`` would fetch code's configuration from elsewhere.
_BACKBONE = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


class Calibration(TypedDict):
    """From raw log-odds to P(fake), rising everywhere.

    ``platt``: ``sigmoid(scale * log_odds + offset)``; ``temperature``: the same with offset 0. ``isotonic``: through
    the knots (``log_odds``, ``probability``), both rising, straight lines between them in log-odds of P, and beyond
    the outer knots with the slope ``scale``.
    """

    method: str
    scale: float
    offset: float
    log_odds: NotRequired[Sequence[float]]
    probability: NotRequired[Sequence[float]]


def calibrated(log_odds: npt.ArrayLike, calibration: Calibration) -> npt.NDArray[np.float64]:
    """Raw log-odds of fake, any shape, to P(fake) by a calibration, float64 of the same shape."""
    raw = np.asarray(log_odds, dtype=np.float64)
    if calibration["method"] == "isotonic":
        knots, level = (np.asarray(calibration[name], dtype=np.float64) for name in ("log_odds", "probability"))
        beyond = raw - np.clip(raw, knots[0], knots[-1])
        scaled = np.interp(raw, knots, np.log(level / (1 - level))) + calibration["scale"] * beyond
    else:
        scaled = calibration["scale"] * raw + calibration["offset"]
    # 1 / (1 + exp(-x)) without overflow on either side.
    return np.exp(-np.logaddexp(0.0, -scaled))


@dataclass(frozen=True)
class QualityLimits:
    """What the validation crops looked like: beyond it nobody knows what a score is worth. None: not measured.

    Attributes:
        crops: how many were measured.
        quantile: share of them that lies beyond each limit.
        face_side: smallest longer side of a face box, pixels of the frame.
        sharpness: least :func:`unmask.faces.quality.sharpness`.
        blockiness: most :func:`unmask.faces.quality.blockiness`.
    """

    crops: int
    quantile: float
    face_side: float | None = None
    sharpness: float | None = None
    blockiness: float | None = None

    def __post_init__(self) -> None:
        _check(type(self.crops) is int and self.crops >= 0, "'tested' needs a whole number of crops")
        _check(_is_number(self.quantile) and 0 <= self.quantile < 1, "the quantile of 'tested' is not in [0, 1)")
        for name in ("face_side", "sharpness", "blockiness"):
            value = getattr(self, name)
            _check(value is None or (_is_number(value) and value >= 0), f"'{name}' of 'tested' is no number from 0 on")


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
        uncertain_rule: how that band was chosen, in words; empty without one.
        tested: quality of the crops it was validated on, or None if nobody measured it.
        adversary: who plays against it in ``adversary.safetensors``: ``name`` and ``options`` as in a recipe, and
            where it comes from; None if there is none.
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
    uncertain_rule: str = ""
    tested: QualityLimits | None = None
    adversary: Mapping[str, Any] | None = None
    weights_sha256: str = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        _check(self.format == FORMAT, f"card format {self.format!r}, this version of unmask reads {FORMAT}")
        texts = ("backbone", "threshold_rule", "uncertain_rule", "licence", "intended_use", "version", "weights_sha256")
        for name in texts:
            _check(isinstance(getattr(self, name), str), f"'{name}' must be text")
        _check(_BACKBONE.fullmatch(self.backbone) is not None, f"backbone {self.backbone!r} is no timm model name")
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
            _check(_are_numbers(value) and len(value) == 3, f"'{name}' needs 3 numbers")
        _check(all(value > 0 for value in self.std), "'std' must be above 0")
        _check(isinstance(self.crop, CropRecipe), "'crop' must be a crop recipe")
        for name in ("training", "results"):
            _check(isinstance(getattr(self, name), Mapping), f"'{name}' must be an object")
        self._check_calibration()
        _check(_is_number(self.threshold) and 0 <= self.threshold <= 1, f"threshold {self.threshold!r} not in [0, 1]")
        if self.uncertain is not None:
            band = self.uncertain
            _check(_are_numbers(band) and len(band) == 2, "'uncertain' needs 2 numbers")
            _check(0 <= band[0] <= band[1] <= 1, f"'uncertain' {list(band)} is no interval in [0, 1]")
        _check(self.tested is None or isinstance(self.tested, QualityLimits), "'tested' must be an object")
        if self.adversary is not None:
            _check(isinstance(self.adversary, Mapping), "'adversary' must be an object")
            _check(isinstance(self.adversary.get("name"), str), "'adversary' needs a name")
            _check(isinstance(self.adversary.get("options", {}), Mapping), "the options of 'adversary' are no object")

    def _check_calibration(self) -> None:
        value = self.calibration
        _check(isinstance(value, Mapping), "'calibration' must be an object")
        missing = [name for name in ("method", "scale", "offset") if name not in value]
        _check(not missing, f"'calibration' lacks {', '.join(missing)}")
        methods = ("platt", "temperature", "isotonic")
        _check(value["method"] in methods, f"unknown calibration method {value['method']!r}")
        _check(_is_number(value["scale"]) and value["scale"] > 0, "'calibration' needs a scale above 0")
        _check(_is_number(value["offset"]), "the offset of 'calibration' must be a number")
        if value["method"] != "isotonic":
            return
        for name in ("log_odds", "probability"):
            _check(_are_numbers(value.get(name)), "'isotonic' needs a table")
        knots, level = value["log_odds"], value["probability"]
        same = len(knots) == len(level) >= 2
        _check(same, "the table of 'isotonic' needs as many log-odds as probabilities, 2 or more")
        rising = all(a < b for table in (knots, level) for a, b in pairwise(table))
        _check(rising and level[0] > 0 and level[-1] < 1, "the table of 'isotonic' must rise, within (0, 1)")

    def probability(self, log_odds: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Raw log-odds of fake, any shape, to calibrated P(fake), float64 of the same shape."""
        return calibrated(log_odds, self.calibration)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every field; :meth:`from_json` gives an equal card back."""
        lists = {name: list(getattr(self, name)) for name in ("classes", "mean", "std", "limits")}
        band = None if self.uncertain is None else list(self.uncertain)
        tested = None if self.tested is None else asdict(self.tested)
        return {**vars(self), **lists, "crop": self.crop.to_dict(), "uncertain": band, "tested": tested}

    @classmethod
    def from_json(cls, value: Any) -> Card:
        """Read a card; fields of later minor versions that this one does not know are refused.

        Raises:
            ValueError: in one line, what is missing, unknown or out of range.
        """
        _check(isinstance(value, Mapping), "a card must be a JSON object")
        # The format is looked at first: a card of another version may differ in everything else.
        _check("format" in value, "'format' is missing: not a detector card")
        _check(value["format"] == FORMAT, f"card format {value['format']!r}, this version of unmask reads {FORMAT}")
        missing = sorted(item.name for item in fields(cls) if item.default is MISSING and item.name not in value)
        _check(not missing, f"the card lacks {', '.join(missing)}")
        unknown = sorted(set(value) - {item.name for item in fields(cls)})
        _check(not unknown, f"the card has unknown fields: {', '.join(unknown)}")
        crop = value["crop"]
        _check(isinstance(crop, Mapping), "'crop' must be an object")
        try:
            recipe = CropRecipe.from_dict(dict(crop))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"'crop' is no crop recipe ({error})") from error
        band, tested = value.get("uncertain"), value.get("tested")
        if tested is not None:
            _check(isinstance(tested, Mapping), "'tested' must be an object")
            try:
                tested = QualityLimits(**tested)
            except TypeError as error:
                raise ValueError(f"'tested' has missing or unknown entries ({error})") from error
        band = tuple(band) if _is_list(band) else band
        return cls(**{**value, "crop": recipe, "uncertain": band, "tested": tested})


def _check(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _are_numbers(value: Any) -> bool:
    return _is_list(value) and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
