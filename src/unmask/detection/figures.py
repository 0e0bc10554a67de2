"""The drawings of the report: inline SVG and HTML, no script, sized by the page.

Lines keep their width however a drawing is stretched (``non-scaling-stroke``), so one drawing fits phone and
desktop; all lettering stays outside of it, in HTML.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from unmask.detection.result import Detection, FaceScore, Still
from unmask.printing import counted

_SHAPES = {
    "fake": '<path d="M5 0 10 9H0z"/>',
    "real": '<circle cx="5" cy="5" r="4.6"/>',
    "uncertain": '<path d="M5 0 10 5 5 10 0 5z"/>',
    "no face": '<path d="M0 4h10v2H0z"/>',
    "not analysed": '<path d="M1 0 5 4 9 0 10 1 6 5 10 9 9 10 5 6 1 10 0 9 4 5 0 1"/>',
}


def badge(detection: Detection) -> str:
    """The verdict as a word with a shape of its own, so that it does not rest on colour."""
    word = detection.verdict or "not analysed"
    style = word if word in ("fake", "real", "uncertain") else ""
    shape = f'<svg viewBox="0 0 10 10" aria-hidden="true">{_SHAPES[word]}</svg>'
    return f'<span class="verdict {style}">{shape}{word}</span>'


def scale_bar(score: float, threshold: float, uncertain: tuple[float, float] | None) -> str:
    """The score on a bar from 0 to 1 with the threshold and, if there is one, the uncertain band."""
    at = f"left:clamp(1.4em,{100 * score:.1f}%,100% - 1.4em)"
    under = f"left:clamp(4.5em,{100 * threshold:.1f}%,100% - 4.5em)"
    band = ""
    if uncertain is not None:
        low, high = uncertain
        band = f'<i class="band" style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></i>'
    label = f"Score {score:.3f} on a scale from 0, real, to 1, fake. Threshold {threshold:.3f}."
    return (
        f'<div class="scale" role="img" aria-label="{label}">'
        f'<div class="at number"><span style="{at}">{score:.3f}</span></div>'
        f'<div class="bar"><i class="zone" style="left:{100 * threshold:.1f}%"></i>{band}'
        f'<i class="tick" style="left:{100 * threshold:.1f}%"></i>'
        f'<i class="mark" style="left:{100 * score:.1f}%"></i></div>'
        f'<div class="ends number"><span>0 real</span><span>fake 1</span>'
        f'<span class="limit" style="{under}">threshold {threshold:.3f}</span></div></div>'
    )


def picture(jpeg: bytes, alt: str) -> str:
    """An image element that carries its own data; ``alt`` must be escaped."""
    return f'<img alt="{alt}" src="data:image/jpeg;base64,{b64encode(jpeg).decode()}">'


def still_with_boxes(detection: Detection, still: Still) -> str:
    """The frame of the most telling face with a box round every face in it; dashed where it did not count."""
    boxes = []
    for track in detection.tracks:
        for face in track.faces:
            if face.position == still.position:
                dash = "" if track.counted else ' stroke-dasharray="6 5"'
                box = face.box
                place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
                # White on black is seen on any picture.
                boxes.append(f'<rect {place} stroke="#000" stroke-width="5"/>')
                boxes.append(f'<rect {place} stroke="#fff" stroke-width="2.5"{dash}/>')
    overlay = f'<svg viewBox="0 0 {still.width} {still.height}" aria-hidden="true">{"".join(boxes)}</svg>'
    # A tall picture is made narrower, so that it is never taller than about 440 pixels.
    width = min(720.0, 440 * still.width / still.height)
    shape = f"aspect-ratio:{still.width}/{still.height};width:min(100%,{width:.0f}px)"
    return f'<div class="still" style="{shape}">{picture(still.jpeg, "The analysed frame")}{overlay}</div>'


def timeline(detection: Detection) -> str:
    """Frame scores over time: dots for the deciding track, thin lines for others, ticks where no face was."""
    times = detection.times
    first, last = times[0], times[-1]
    span = max(last - first, 1e-6)

    def x(time: float) -> float:
        return 1000 * (time - first) / span

    def line(faces: Sequence[FaceScore]) -> str:
        return "M" + " L".join(f"{x(face.time):.1f} {100 - 100 * face.score:.1f}" for face in faces)

    deciding = detection.tracks[0]
    others = [track for track in detection.tracks[1:] if track.counted]
    seen = {face.position for track in detection.tracks for face in track.faces}
    misses = "".join(f"M{x(time):.1f} 97v3" for place, time in enumerate(times) if place not in seen)
    dots = "".join(
        f'<path class="dot" d="M{x(face.time):.1f} {100 - 100 * face.score:.1f}h.01">'
        f"<title>{face.time:.2f} s: {face.score:.3f}</title></path>"
        for face in deciding.faces
    )
    threshold = 100 - 100 * detection.threshold
    zone = f'<path class="zone" d="M0 0H1000V{threshold:.1f}H0z"/>'
    if detection.uncertain is not None:
        low, high = (100 - 100 * value for value in detection.uncertain)
        zone += f'<path class="band" d="M0 {high:.1f}H1000V{low:.1f}H0z"/>'
    summary = _summary(detection, deciding.faces, len(others))
    drawing = (
        '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{summary}">{zone}'
        '<path class="grid" d="M0 0H1000M0 50H1000M0 100H1000"/>'
        f'<path class="threshold" d="M0 {threshold:.1f}H1000"/>'
        + "".join(f'<path class="other" d="{line(track.faces)}"/>' for track in others)
        + f'<path class="mean" d="{line(deciding.faces)}"/><path class="miss" d="{misses}"/>{dots}</svg>'
    )
    places = ((0, "1"), (75, "0.5"), (150, "0"))
    axis = "".join(f'<span style="top:{top}px">{value}</span>' for top, value in places)
    legend = [_key("dot", "M10 4h.01", "deciding face"), _key("threshold", "M0 4H20", "threshold")]
    legend += [_key("band", "M0 0H20V8H0z", "uncertain")] if detection.uncertain is not None else []
    legend += [_key("other", "M0 4H20", "other faces")] if others else []
    legend += [_key("miss", "M10 0v8", "no face found")] if misses else []
    return (
        f'<div class="plot"><div class="y number">{axis}</div>{drawing}'
        f'<div class="x number"><span>{first:.1f} s</span><span>{last:.1f} s</span></div></div>'
        f'<ul class="legend">{"".join(legend)}</ul>'
    )


def _summary(detection: Detection, faces: Sequence[FaceScore], others: int) -> str:
    """The drawing in words."""
    fake = sum(face.score >= detection.threshold for face in faces)
    highest = max(faces, key=lambda face: face.score)
    more = f" {counted(others, 'other face')} drawn thinly." if others else ""
    return (
        f"Scores of the deciding face from {detection.times[0]:.1f} to {detection.times[-1]:.1f} seconds:"
        f" {fake} of {len(faces)} frames at or above the threshold, the highest {highest.score:.3f}"
        f" at {highest.time:.1f} seconds.{more}"
    )


def _key(style: str, path: str, text: str) -> str:
    line = f'<path class="{style}" d="{path}"/>'
    return f'<li><svg viewBox="0 0 20 8" aria-hidden="true">{line}</svg>{text}</li>'
