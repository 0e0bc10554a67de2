"""The part of the report that is about the detector: what it is, how it decides, what it was tested on, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from unmask.detection.result import Detection
from unmask.printing import printable

if TYPE_CHECKING:
    from unmask.detector import Card, QualityLimits


def about_detector(card: Card, detections: Sequence[Detection]) -> str:
    """The section as HTML: limits and rules in plain words, training and measurements folded away."""
    used = ""
    if detections:
        name = detections[0].detector
        used = f"{name.name}, version {name.version}" + (f", weights {name.weights}" if name.weights else "")
    rows = [
        ("Detector", text(used or card.version)),
        ("Made for", text(card.intended_use)),
        ("Called fake", text(f"from {card.threshold:.3f} on: {card.threshold_rule}")),
    ]
    if card.uncertain is not None:
        low, high = card.uncertain
        why = f": {card.uncertain_rule}" if card.uncertain_rule else ""
        rows.append(("Uncertain", text(f"from {low:.3f} to {high:.3f}{why}")))
    if card.tested is not None:
        rows.append(("Tested on", text(_tested(card.tested))))
    rows += [
        ("Network", text(f"{card.backbone}, {card.input_size} px face crops, classes {', '.join(card.classes)}")),
        ("Licence", text(card.licence)),
    ]
    more = [(f"Measured: {_words(key)}", value) for key, value in _flat(card.results)]
    more += [(f"Training: {_words(key)}", value) for key, value in _flat(card.training)]
    more += [(f"Adversary: {_words(key)}", value) for key, value in _flat(card.adversary or {})]
    limits = "".join(f"<li>{text(limit)}</li>" for limit in card.limits)
    known = f"<h3>What it cannot do</h3><ul class=notes>{limits}</ul>" if limits else ""
    folded = f"<details><summary>Measurements and training</summary>{definitions(more, stack=True)}</details>"
    return (
        '<section class="card" id="detector"><div class="head"><h2>About the detector</h2></div>'
        f"{known}{definitions(rows, stack=True)}{folded if more else ''}</section>"
    )


def _tested(tested: QualityLimits) -> str:
    limits = []
    if tested.face_side is not None:
        limits.append(f"faces from {tested.face_side:.0f} px on")
    if tested.sharpness is not None:
        limits.append(f"sharpness from {tested.sharpness:.2f} on")
    if tested.blockiness is not None:
        limits.append(f"compression blocks that stand out up to {tested.blockiness:.1f} times")
    share = f"{100 * tested.quantile:g} % of {tested.crops} validation crops lie beyond each limit"
    return f"{', '.join(limits)} ({share}); poorer faces are uncertain"


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested objects of the card as (name, escaped text) in reading order; an interval is written as one."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix} {key}".strip()
        if isinstance(item, Mapping) and {"value", "low", "high"} <= set(item):
            rows.append((name, text(f"{_plain(item['value'])} ({_plain(item['low'])} to {_plain(item['high'])})")))
        elif isinstance(item, Mapping):
            rows += _flat(item, name)
        elif isinstance(item, list | tuple):
            rows.append((name, text(", ".join(_plain(each) for each in item))))
        else:
            rows.append((name, text(_plain(item))))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def _words(name: str) -> str:
    return text(name.replace("_", " "))


def definitions(rows: Sequence[tuple[str, str]], stack: bool = False) -> str:
    inner = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f"<dl{' class=stack' if stack else ''}>{inner}</dl>"


def text(value: str) -> str:
    """Escaped, on one line; what does not show (undecodable bytes, marks that turn letters round) becomes escapes."""
    return escape(printable(" ".join(value.split())))
