"""One self-contained HTML page: what the detector says, what it saw, and what it can and cannot do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from os import PathLike, fspath
from pathlib import PurePath
from string import Template
from typing import TYPE_CHECKING, Any

import unmask
from unmask.detection.figures import badge, picture, scale_bar, still_with_boxes, timeline
from unmask.detection.result import Detection, Evidence, ScoredTrack
from unmask.writing import write_text

if TYPE_CHECKING:
    from unmask.detector import Card


def write_report(path: str | PathLike[str], detections: Sequence[Detection], card: Card) -> None:
    """Write :func:`render_report` to a file, whole or not at all; ``UnmaskError`` if that fails."""
    write_text(path, render_report(detections, card))


def render_report(detections: Sequence[Detection], card: Card) -> str:
    """The page as HTML. Every name in it is escaped, nothing in it is executed or loaded.

    Args:
        detections: in the order in which they are shown; pictures appear if they were asked of the detector.
        card: of the detector that judged them.
    """
    counts = Counter(detection.verdict or "not analysed" for detection in detections)
    tally = ", ".join(
        f"{counts[word]} {word}" for word in ("fake", "uncertain", "real", "no face", "not analysed") if counts[word]
    )
    number = f"{len(detections)} file{'' if len(detections) == 1 else 's'}"
    template = Template((files("unmask.detection") / "report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=f"unmask report, {number}",
        heading=f"{number} checked for forged faces",
        subheading=escape(" · ".join(filter(None, [tally, f"{datetime.now().astimezone():%d %B %Y, %H:%M %Z}"]))),
        overview=_overview(detections),
        inputs="\n".join(_input(index, detection) for index, detection in enumerate(detections)),
        card=_card(card, detections),
        version=escape(unmask.__version__),
    )


def _overview(detections: Sequence[Detection]) -> str:
    meaning = (
        "<p>A score is the detector's own estimate of how likely a face is forged, from 0 (real) to 1 (fake)."
        " It is a reason to look closer, not a proof.</p>"
    )
    if len(detections) < 2:
        return meaning
    rows = "".join(
        f'<li>{badge(each)}<span class="score number">{_score(each.score)}</span>'
        f'<span class="file"><a href="#input-{index}">{_text(_name(each))}</a>{_folder(each)}</span></li>'
        for index, each in enumerate(detections)
    )
    return f'{meaning}<div class="card"><ul class="list">{rows}</ul></div>'


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"


def _name(detection: Detection) -> str:
    return PurePath(detection.path).name or detection.path


def _folder(detection: Detection) -> str:
    folder = str(PurePath(detection.path).parent)
    return "" if folder == "." else f'<span class="folder">{_text(folder)}</span>'


def _input(index: int, detection: Detection) -> str:
    head = f'<div class="head">{badge(detection)}<h2>{_text(_name(detection))}</h2></div>'
    body = [head]
    if detection.error is not None:
        body.append(f'<p class="message">Reason: {_text(detection.error)}</p>')
        body.append(_folder(detection))
        return f'<article class="card" id="input-{index}">{"".join(body)}</article>'
    body.append(f"<p>{_sentence(detection)}</p>")
    if detection.score is not None:
        body.append(scale_bar(detection.score, detection.threshold, detection.uncertain))
    left: list[str] = []
    right: list[str] = []
    if detection.still is not None:
        what = "picture" if detection.kind == "image" else "frame"
        when = f" at {detection.times[detection.still.position]:.2f} s" if detection.kind == "video" else ""
        caption = f"The {what}{when}" + (" with every face found in it" if detection.tracks else "")
        still = still_with_boxes(detection, detection.still)
        left.append(f"<figure>{still}<figcaption>{caption}</figcaption></figure>")
    if detection.kind == "video" and detection.score is not None and len(detection.times) > 1:
        right.append(f"<section><h3>Score of each analysed frame</h3>{timeline(detection)}</section>")
    if detection.evidence:
        title = "Most telling faces" if len(detection.evidence) > 1 else "The face"
        right.append(f"<section><h3>{title}</h3>{_faces(detection)}</section>")
    # Under the picture, unless the other column would stay empty.
    (left if right else right).append(
        f'<section class="last"><h3>What was analysed</h3>{_analysed(detection)}</section>'
    )
    columns = "".join(f"<div>{''.join(column)}</div>" for column in (left, right) if column)
    body.append(f'<div class="columns">{columns}</div>')
    return f'<article class="card" id="input-{index}">{"".join(body)}</article>'


def _sentence(detection: Detection) -> str:
    counted = sum(track.counted for track in detection.tracks)
    if detection.score is None:
        if not detection.tracks:
            return "No face was found, and only faces are judged: this says nothing about the rest of it."
        return "Faces were found, but none that is large and steady enough to judge; the reasons are below."
    what = "picture" if detection.kind == "image" else "clip"
    whose = f"The face in this {what}" if counted == 1 else f"The most suspicious of {counted} faces in this {what}"
    score, threshold = f"{detection.score:.3f}", f"{detection.threshold:.3f}"
    if detection.verdict == "uncertain" and detection.uncertain is not None:
        low, high = detection.uncertain
        return f"{whose} scores {score}. Between {low:.3f} and {high:.3f} this detector does not decide."
    side = "at or above" if detection.verdict == "fake" else "below"
    return f"{whose} scores {score}, {side} the threshold of {threshold}."


def _faces(detection: Detection) -> str:
    figures = []
    for evidence in detection.evidence:
        where = f"{evidence.face.time:.2f} s" if detection.kind == "video" else ""
        if len(detection.tracks) > 1:
            where = f"face {evidence.track + 1}" + (f", {where}" if where else "")
        caption = f'<b class="number">{evidence.face.score:.3f}</b> {_extreme(detection, evidence)}<br>{where}'
        figures.append(
            f"<figure>{picture(evidence.jpeg, f'Face with score {evidence.face.score:.3f}')}"
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return f'<div class="faces">{"".join(figures)}</div>'


def _extreme(detection: Detection, evidence: Evidence) -> str:
    """A word for the ends of a track, so that the lowest score is not taken for one of the highest."""
    scores = [face.score for face in detection.tracks[evidence.track].faces]
    if len(scores) == 1:
        return ""
    return {max(scores): "highest", min(scores): "lowest"}.get(evidence.face.score, "")


def _analysed(detection: Detection) -> str:
    rows = [("File", _text(detection.path))]
    shape = f"{detection.width} × {detection.height} px"
    if detection.kind == "image":
        rows.append(("Image", shape))
    else:
        length = "" if detection.duration is None else f", {detection.duration:.1f} s"
        rows.append(("Video", f"{shape}{length}; sound is not analysed"))
        missing = detection.frames - detection.frames_with_face
        without = f", {missing} without a face" if missing else ""
        rows.append(("Frames", f"{detection.frames} spread over the clip{without}; the rest were not looked at"))
    counted = [track for track in detection.tracks if track.counted]
    if counted:
        label = "Face" if len(counted) == 1 else "Faces"
        lines = [_track(each) for each in counted]
        if len(lines) > 1:
            lines = [f"{number}: {line}" for number, line in enumerate(lines, 1)]
        rows.append((label, "<br>".join(lines)))
    left_out = [track for track in detection.tracks if not track.counted]
    if left_out:
        shown = [f"{_text(track.reason or '')}" for track in left_out[:5]]
        more = [f"and {len(left_out) - 5} more"] if len(left_out) > 5 else []
        rows.append(("Left out", "<br>".join(shown + more)))
    return _definitions(rows)


def _track(track: ScoredTrack) -> str:
    sides = sorted(max(face.box.width, face.box.height) for face in track.faces)
    frames = f", in {len(track.faces)} frames" if len(track.faces) > 1 else ""
    size = f"{sides[len(sides) // 2]:.0f} px{frames}"
    return f'score <span class="number">{track.score:.3f}</span>, {size}'


def _card(card: Card, detections: Sequence[Detection]) -> str:
    used = ""
    if detections:
        name = detections[0].detector
        used = f"{name.name}, version {name.version}" + (f", weights {name.weights}" if name.weights else "")
    rows = [
        ("Detector", _text(used or card.version)),
        (
            "Network",
            _text(f"{card.backbone}, {card.input_size} px face crops, classes {', '.join(card.classes)}"),
        ),
        ("Threshold", _text(f"{card.threshold:.3f}: {card.threshold_rule}")),
        ("Made for", _text(card.intended_use)),
        ("Licence", _text(card.licence)),
    ]
    rows += [(f"Training: {_words(key)}", value) for key, value in _flat(card.training)]
    rows += [(f"Measured: {_words(key)}", value) for key, value in _flat(card.results)]
    limits = "".join(f"<li>{_text(limit)}</li>" for limit in card.limits)
    known = f"<h3>What it cannot do</h3><ul class=notes>{limits}</ul>" if limits else ""
    return (
        '<section class="card" id="detector"><div class="head"><h2>About the detector</h2></div>'
        f"{known}{_definitions(rows, stack=True)}</section>"
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested objects of the card as (name, escaped text) in reading order; an interval is written as one."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix} {key}".strip()
        if isinstance(item, Mapping) and {"value", "low", "high"} <= set(item):
            rows.append((name, _text(f"{_plain(item['value'])} ({_plain(item['low'])} to {_plain(item['high'])})")))
        elif isinstance(item, Mapping):
            rows += _flat(item, name)
        elif isinstance(item, list | tuple):
            rows.append((name, _text(", ".join(_plain(each) for each in item))))
        else:
            rows.append((name, _text(_plain(item))))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def _words(name: str) -> str:
    return _text(name.replace("_", " "))


def _definitions(rows: Sequence[tuple[str, str]], stack: bool = False) -> str:
    inner = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f"<dl{' class=stack' if stack else ''}>{inner}</dl>"


def _text(value: str) -> str:
    """Escaped, on one line, and free of bytes that are no text (undecodable file names)."""
    return escape(fspath(value).encode("utf-8", "backslashreplace").decode())
