"""One self-contained HTML page: what the detector says, what it saw, and what it can and cannot do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from os import PathLike
from pathlib import PurePath
from string import Template
from typing import TYPE_CHECKING

import unmask
from unmask.detection.figures import badge, picture, scale_bar, still_with_boxes, timeline
from unmask.detection.report_card import about_detector, definitions, text
from unmask.detection.result import Detection, Evidence, ScoredTrack
from unmask.printing import counted
from unmask.writing import write_text

if TYPE_CHECKING:
    from unmask.detection.provenance import Provenance
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
    number = counted(len(detections), "file")
    template = Template((files("unmask.detection") / "report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=f"unmask report, {number}",
        heading=f"{number} checked for forged faces",
        subheading=escape(" · ".join(filter(None, [tally, f"{datetime.now().astimezone():%d %B %Y, %H:%M %Z}"]))),
        overview=_overview(detections),
        inputs="\n".join(_input(index, detection) for index, detection in enumerate(detections)),
        card=about_detector(card, detections),
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
        f'<span class="file"><a href="#input-{index}">{text(_name(each))}</a>{_folder(each)}</span></li>'
        for index, each in enumerate(detections)
    )
    return f'{meaning}<div class="card"><ul class="list">{rows}</ul></div>'


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"


def _name(detection: Detection) -> str:
    return PurePath(detection.path).name or detection.path


def _folder(detection: Detection) -> str:
    folder = str(PurePath(detection.path).parent)
    return "" if folder == "." else f'<span class="folder">{text(folder)}</span>'


def _input(index: int, detection: Detection) -> str:
    head = f'<div class="head">{badge(detection)}<h2>{text(_name(detection))}</h2></div>'
    body = [head]
    if detection.error is not None:
        body.append(f'<p class="message">Reason: {text(detection.error)}</p>')
        body.append(_folder(detection))
        return f'<article class="card" id="input-{index}">{"".join(body)}</article>'
    body.append(f"<p>{_sentence(detection)}</p>")
    if detection.warnings:
        items = "".join(f"<li>{text(_sentence_case(each))}</li>" for each in detection.warnings)
        body.append(f'<div class="message warn"><b>Mind</b><ul class="notes">{items}</ul></div>')
    if detection.score is not None:
        body.append(scale_bar(detection.score, detection.threshold, detection.uncertain))
    left: list[str] = []
    right: list[str] = []
    below: list[str] = []
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
        mapped = any(each.heat is not None for each in detection.evidence)
        faces = f"<section><h3>{title}</h3>{_faces(detection)}</section>"
        (below if mapped else right).append(faces)
    if detection.provenance is not None:
        left.append(f"<section><h3>What the file says about itself</h3>{_credentials(detection.provenance)}</section>")
    # Under the picture, unless the other column would stay empty.
    (left if right else right).append(
        f'<section class="last"><h3>What was analysed</h3>{_analysed(detection)}</section>'
    )
    columns = "".join(f"<div>{''.join(column)}</div>" for column in (left, right) if column)
    body.append(f'<div class="columns">{columns}</div>{"".join(below)}')
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
    if detection.verdict == "uncertain":
        band = detection.uncertain
        if band is not None and band[0] <= detection.score <= band[1]:
            return f"{whose} scores {score}. Between {band[0]:.3f} and {band[1]:.3f} this detector does not decide."
        if detection.says_made:
            return f"{whose} scores {score}, but the file itself says that it, or a part of it, is machine-made."
        if next(track.verdict for track in detection.tracks if track.counted) == "real":
            return f"{whose} scores {score}, but one that is seen too briefly to count scores as fake."
        return f"{whose} scores {score}, but its picture is poorer than nearly all that this detector was tested on."
    side = "at or above" if detection.verdict == "fake" else "below"
    return f"{whose} scores {score}, {side} the threshold of {threshold}."


def _faces(detection: Detection) -> str:
    mapped = any(each.heat is not None or each.sigma is not None for each in detection.evidence)
    names = ["as the network saw it", "what speaks for fake"]
    names += ["what the adversary blurs"] if any(each.sigma is not None for each in detection.evidence) else []
    # Shown above the first figure of each column; the pictures themselves carry their meaning in their alt texts.
    heads = f'<div class="maps heads" aria-hidden="true">{"".join(f"<span>{name}</span>" for name in names)}</div>'
    figures = []
    for evidence in detection.evidence:
        where = f"{evidence.face.time:.2f} s" if detection.kind == "video" else ""
        if len(detection.tracks) > 1:
            where = f"face {evidence.track + 1}" + (f", {where}" if where else "")
        score = f"{evidence.face.score:.3f}"
        gap = " " if mapped else "<br>"
        caption = f'<b class="number">{score}</b> {_extreme(detection, evidence)}{gap}{where}'
        pictures = [picture(evidence.jpeg, f"Face with score {score}")]
        if evidence.heat is not None:
            pictures.append(picture(evidence.heat, f"Heat map: {_hottest(evidence)}"))
        if evidence.sigma is not None:
            pictures.append(
                picture(evidence.sigma, "Blur of the adversary: bright where it wants to wipe something out")
            )
        inside = f'{heads}<div class="maps">{"".join(pictures)}</div>' if mapped else pictures[0]
        figures.append(f"<figure>{inside}<figcaption>{caption}</figcaption></figure>")
    if not mapped:
        return f'<div class="faces">{"".join(figures)}</div>'
    explained = (
        "Heat map: the parts that raise the score, each face on its own scale; the brightest part weighs most."
        " It shows where the network looked, not where somebody cut."
    )
    if len(names) > 2:
        explained += (
            " Adversary: a second network that tries to make forgeries pass by blurring them spot by spot;"
            " bright is where it blurs most."
        )
    return (
        f'<div class="mapped">{"".join(figures)}</div>'
        '<div class="ramp" aria-hidden="true"><span>less</span><i></i><span>more</span></div>'
        f'<p class="small soft">{explained}</p>'
    )


def _hottest(evidence: Evidence) -> str:
    """Where the hottest cell of the heat map is, for those who do not see it."""
    cells = evidence.cells or ()
    if not cells or max(map(max, cells)) == 0:
        return "nothing in this face speaks for fake"
    _, row, column = max((value, y, x) for y, line in enumerate(cells) for x, value in enumerate(line))
    down = ("top", "middle", "bottom")[min(2, 3 * row // len(cells))]
    across = ("left", "centre", "right")[min(2, 3 * column // len(cells[0]))]
    return f"hottest at the {down} {across}"


def _credentials(found: Provenance) -> str:
    """Content credentials in words."""
    said = {
        "trusted": "It carries content credentials, unchanged and signed by somebody on the trust list.",
        "valid": "It carries content credentials that were not changed since; nobody here vouches for who signed them.",
        "invalid": "It carries content credentials, but they do not fit the file or are badly signed.",
        "elsewhere": "It names an address where its content credentials are kept; nothing was fetched.",
    }.get(found.state, "It carries content credentials that cannot be read.")
    if found.says_synthetic:
        said += " They themselves call the picture, or a part of it, machine-made."
    rows = [("Signed by", found.signer), ("On", found.time), ("Made with", found.generator)]
    rows += [("Actions", ", ".join(found.actions)), ("Source", ", ".join(found.sources))]
    rows += [("Problems", ", ".join(found.problems))]
    shown = definitions([(name, text(value)) for name, value in rows if value])
    return f"<p>{said} The score does not rest on this.</p>{shown}"


def _sentence_case(value: str) -> str:
    return f"{value[:1].upper()}{value[1:]}."


def _extreme(detection: Detection, evidence: Evidence) -> str:
    """A word for the ends of a track, so that the lowest score is not taken for one of the highest."""
    scores = [face.score for face in detection.tracks[evidence.track].faces]
    if len(scores) == 1:
        return ""
    return {max(scores): "highest", min(scores): "lowest"}.get(evidence.face.score, "")


def _analysed(detection: Detection) -> str:
    rows = [("File", text(detection.path))]
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
        shown = [f"{text(track.reason or '')}" for track in left_out[:5]]
        more = [f"and {len(left_out) - 5} more"] if len(left_out) > 5 else []
        rows.append(("Left out", "<br>".join(shown + more)))
    if detection.notes:
        rows.append(("Not shown", "<br>".join(map(text, detection.notes))))
    return definitions(rows)


def _track(track: ScoredTrack) -> str:
    sides = sorted(max(face.box.width, face.box.height) for face in track.faces)
    frames = f", in {len(track.faces)} frames" if len(track.faces) > 1 else ""
    size = f"{sides[len(sides) // 2]:.0f} px{frames}"
    verdict = f"{track.verdict}, " if track.verdict is not None else ""
    return f'{verdict}score <span class="number">{track.score:.3f}</span>, {size}'
