"""What the games gain: over plain training and over their controls, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unmask.protocols.plots.outcomes import UNSEEN, Comparison
from unmask.protocols.plots.style import PLAIN, SOFT, Panel, Section, legend_below, new_axes, styled


@styled()
def forest(comparison: Comparison) -> Section:
    """Gains over plain and over control, one panel a scope."""
    section = Section(
        "forest",
        "Gains",
        "Filled: over plain training; open: over the control of equal strength. Thick line: 95 % interval over drawn"
        " seeds and test sources; thin line: 95 % interval of Student's t over seeds; an arrow where it leaves the"
        " frame. Gains are paired by seed and training data.",
    )
    gains: Mapping[str, Any] = comparison.summary["gains"]
    for scope in UNSEEN:
        rows = [
            (f"{name} − {base}", name, known, against == "over_plain")
            for name in comparison.finished
            for against in ("over_plain", "over_control")
            if (held := gains.get(name, {}).get(scope)) is not None and (known := held[against]) is not None
            for base in (comparison.protocol.plain.name if against == "over_plain" else held["control"],)
        ]
        if not rows:
            section.missing.append(f"{scope}: no two finished runs to compare have such cells.")
            continue
        figure, (axes,) = new_axes(0.28 * len(rows) + 0.9)
        most = reach([known for _, _, known, _ in rows])
        axes.axvline(0, color=SOFT, lw=0.8)
        for place, (_, name, known, over_plain) in enumerate(rows):
            colour = comparison.looks[name].colour
            if known["low"] is not None:
                low, high = np.clip([known["low"], known["high"]], -most, most)
                axes.plot([low, high], [place, place], color=colour, lw=1)
                for end, beyond, arrow in ((low, known["low"] < -most, "<"), (high, known["high"] > most, ">")):
                    if beyond:
                        axes.plot(end, place, arrow, color=colour, ms=5, clip_on=False)
            if known["with_sources"] is not None:
                axes.plot(list(known["with_sources"].values()), [place, place], color=colour, lw=3.2)
            axes.plot(
                known["mean"], place, "o", color=colour, mfc=colour if over_plain else "#fffffe", ms=6.5, zorder=3
            )
        axes.set_yticks(range(len(rows)), [label for label, *_ in rows])
        axes.tick_params(axis="y", length=0, pad=10)
        axes.spines["left"].set_visible(False)
        axes.set(xlabel="gain (points of AUC)", xlim=(-most, most), ylim=(len(rows) - 0.4, -0.6))
        axes.grid(True, axis="x")
        section.panels.append(Panel(f"forest-{scope.lower()}", scope, figure))
    section.missing.extend(comparison.alone)
    return section


def reach(gains: Sequence[Mapping[str, Any]]) -> float:
    """How far from zero the frame goes: Student's t of two seeds may be endless, and would leave nothing to see."""
    inner = [value for known in gains for value in (known["mean"], *(known["with_sources"] or {}).values())]
    least = max(1.0, *map(abs, inner))
    ends = [abs(known[end]) for known in gains for end in ("low", "high") if known[end] is not None]
    return 1.1 * max([least, *(end for end in ends if end <= 3 * least)])


@styled()
def cost(comparison: Comparison) -> Section:
    """Speed of training, relative to plain, against the gain on unseen manipulations and qualities."""
    section = Section(
        "cost",
        "Cost against gain",
        "Images trained on a second, as a share of plain training's on the same machine, against the gain over plain;"
        " bars are 95 % intervals over drawn seeds and test sources. Up and right is better.",
    )
    methods: Mapping[str, Any] = comparison.summary["methods"]
    plain = comparison.protocol.plain.name
    speed = methods.get(plain, {}).get("images_per_second")
    if not speed:
        section.missing.append("No finished run of plain training says how fast it was.")
        return section
    scope = next((each for each in ("GFQ", "GF", "GFD") if each in methods[plain]), None)
    if scope is None:
        section.missing.append("No finished run has cells of a manipulation it was not trained on.")
        return section
    if scope != "GFQ":
        section.missing.append(f"GFQ: no finished run has such cells; the gain is that of {scope}.")
    figure, (axes,) = new_axes(3.6 + 0.1 * len(methods))
    axes.axhline(0, color=PLAIN, lw=0.8)
    axes.plot(1, 0, label=plain, **comparison.looks[plain].options() | {"linestyle": ""})
    for name in comparison.finished:
        over = comparison.summary["gains"].get(name, {}).get(scope, {}).get("over_plain")
        if over is None or methods[name]["images_per_second"] is None:
            continue
        place = methods[name]["images_per_second"] / speed
        options = comparison.looks[name].options() | {"linestyle": ""}
        if over["with_sources"] is not None:
            axes.plot([place] * 2, list(over["with_sources"].values()), color=options["color"], lw=1, alpha=0.6)
        axes.plot(place, over["mean"], label=name, **options)
    axes.set(xlabel="training speed (plain = 1)", ylabel=f"gain on {scope} (points of AUC)")
    axes.set_xlim(0, 1.12 * axes.dataLim.x1)
    axes.grid(True)
    legend_below(figure, axes)
    section.panels.append(Panel("cost", scope, figure))
    return section
