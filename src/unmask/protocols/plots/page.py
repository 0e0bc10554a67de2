"""The page: every figure of a comparison in one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import unmask
from unmask.protocols.plots.curves import calibration_curves, roc_curves, strength_curves
from unmask.protocols.plots.gains import cost, forest
from unmask.protocols.plots.grids import heat_maps
from unmask.protocols.plots.outcomes import Comparison
from unmask.protocols.plots.played import replayed, sigma_over_training
from unmask.protocols.plots.style import VARIABLES, Look, Section, inline_svg, write_panel
from unmask.protocols.protocol import SCOPES, Protocol
from unmask.protocols.render import spread_text
from unmask.protocols.summary import Measured
from unmask.writing import write_text

#: Lighter twins of the palette, for a dark page, in its order.
_DARK = ("#4ba6e6", "#ff8d4f", "#35c796", "#e8a4cb", "#f5b83d", "#9bd3f7")


def write_page(
    protocol: Protocol,
    tables: Mapping[str, Path],
    out: Path,
    summary: Mapping[str, Any],
    measured: Sequence[Measured],
    plots: Path | None = None,
    *,
    faces: int = 64,
) -> list[Section]:
    """Draw a comparison as far as it is done into ``OUT/page.html``.

    Args:
        protocol: what was to be done.
        tables: its test tables by name, as ``Tests.tables`` gives them. Without them, what needs faces is named as
            not drawn.
        out: folder of the comparison.
        summary, measured: of :func:`unmask.protocols.summarise` and :func:`unmask.protocols.measure`.
        plots: a folder for each figure by itself, ``NAME.svg`` and ``NAME.webp``; None writes none.
        faces: how many of each class a game is replayed on; 0 leaves those two figures out.

    Returns:
        What is on the page.

    Raises:
        UnmaskError: matplotlib is not installed, or a file cannot be read or written.
    """
    comparison = Comparison(protocol, tables, out, summary, measured)
    sections = draw_all(comparison, faces)
    write_text(out / "page.html", render_page(comparison, sections))
    if plots is not None:
        for section in sections:
            for panel in section.panels:
                write_panel(panel, plots)
    return sections


def draw_all(comparison: Comparison, faces: int = 64) -> list[Section]:
    """Every section of the page, in its order; ``faces`` as for :func:`write_page`."""
    level, gain = heat_maps(comparison)
    sections = [forest(comparison), gain, level, roc_curves(comparison), calibration_curves(comparison)]
    sections += [strength_curves(comparison), cost(comparison), sigma_over_training(comparison)]
    return [*sections, *(replayed(comparison, faces) if faces else ())]


def render_page(comparison: Comparison, sections: Sequence[Section]) -> str:
    """The page as HTML, every name in it escaped."""
    protocol, summary = comparison.protocol, comparison.summary
    seeds = len({each.run.seed for each in comparison.measured})
    use = {"choose": "to choose by, from validation data", "report": "to report"}[protocol.claim]
    about = [
        f"{summary['finished']} of {summary['planned']} runs finished, {seeds} seed{'s' * (seeds != 1)}",
        f"trained on {protocol.training.dataset}: {', '.join(protocol.training.manipulations)}",
        f"numbers {use}",
    ]
    light = "; ".join(f"--{name}: {colour}" for colour, name in VARIABLES.items() if name[0] == "c" and name != "card")
    dark = "; ".join(f"--c{number}: {colour}" for number, colour in enumerate(_DARK))
    template = Template((files("unmask.protocols.plots") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(protocol.name),
        about=escape("; ".join(about)) + ".",
        light=light,
        dark=dark,
        methods=_methods(comparison),
        contents="".join(f'<a href="#{each.name}">{escape(each.title)}</a>' for each in sections),
        sections="\n".join(map(_section, sections)),
        version=escape(unmask.__version__),
    )


def _section(section: Section) -> str:
    figures = "".join(
        f'<figure><figcaption>{escape(panel.title)}</figcaption><div role="img" '
        f'aria-label="{escape(section.title)}: {escape(panel.title)}">{inline_svg(panel)}</div></figure>'
        for panel in section.panels
    )
    caption = f'<p class="soft">{escape(section.caption)}</p>' if section.caption else ""
    missing = "".join(f"<li>{escape(each)}</li>" for each in section.missing)
    missing = f'<div class="missing"><b>Not drawn</b><ul>{missing}</ul></div>' if missing else ""
    body = f'{caption}<div class="panels">{figures}</div>{missing}'
    narrow = ' class="one"' if len(section.panels) < 2 else ""
    return f'<section id="{section.name}"{narrow}><h2>{escape(section.title)}</h2>{body}</section>'


def _methods(comparison: Comparison) -> str:
    """Every method of the protocol, how it is drawn, and its mean AUC by scope."""
    held = comparison.summary["methods"]
    scopes = [scope for scope in SCOPES if any(scope in each for each in held.values())]
    rows = []
    for method in comparison.protocol.methods:
        found = held.get(method.name)
        cells = [f'<th scope="row">{_key(comparison.looks[method.name])}{escape(method.name)}</th>']
        best = ", chosen" if method.name == comparison.protocol.best else ""
        cells.append(f"<td>{method.role}{best}</td>")
        if found is None:
            cells.append(f'<td colspan="{len(scopes) or 1}">no run is finished</td>')
        cells += [f'<td class="number">{spread_text((found or {}).get(scope))}</td>' for scope in scopes if found]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("method", "role", *scopes))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _key(look: Look) -> str:
    """A short piece of the method's line with its marker."""
    shapes = {
        "o": '<circle cx="14" cy="6" r="3.6" {}/>',
        "s": '<path d="M10.5 2.5h7v7h-7z" {}/>',
        "^": '<path d="M14 2 18 9.5H10z" {}/>',
        "v": '<path d="M14 10 18 2.5H10z" {}/>',
        "D": '<path d="M14 1.5 18.5 6 14 10.5 9.5 6z" {}/>',
    }
    colour = f"var(--{VARIABLES[look.colour]})"
    dash = {
        "-": "",
        "--": ' stroke-dasharray="6 3"',
        "-.": ' stroke-dasharray="6 2 2 2"',
        ":": ' stroke-dasharray="2 2"',
    }
    fill = f'fill="{colour if look.filled else "var(--card)"}" stroke="{colour}" stroke-width="1.4"'
    line = f'<path d="M0 6h28" stroke="{colour}" stroke-width="2"{dash[look.line]}/>'
    return f'<svg class="key" viewBox="0 0 28 12" aria-hidden="true">{line}{shapes[look.marker].format(fill)}</svg>'
