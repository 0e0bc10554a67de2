"""Curves: ROC by scope, AUC against the strength of the quality, reliability of the scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from unmask.evaluation.metrics import ECE_BINS
from unmask.protocols.plots.outcomes import GRID, UNSEEN, Array, Comparison, area, over_seeds, reliability, roc
from unmask.protocols.plots.style import PLAIN, Panel, Section, legend_below, new_axes, styled
from unmask.protocols.protocol import Scope
from unmask.protocols.summary import Measured, student

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 0.005  # share of the rows below which a bin says nothing


@styled()
def roc_curves(comparison: Comparison) -> Section:
    """One panel a scope: the mean of the runs' curves over all cells of the scope, and its range over seeds."""
    section = Section(
        "roc",
        "ROC",
        "All cells of a scope pooled, one curve a run; the mean at each false positive rate over trainings and seeds."
        " The band goes from the lowest to the highest seed. AUC is that of the mean curve: pooled cells share one"
        " threshold, so it differs from the mean AUC of the cells.",
    )
    for scope in UNSEEN:
        found = {}
        for name in comparison.focus:
            curves, areas = (
                over_seeds(comparison.of(name), partial(_pooled, comparison, scope, of)) for of in (roc, area)
            )
            if curves is not None and areas is not None:
                found[name] = curves, float(areas.mean())
        if not found:
            section.missing.append(f"{scope}: no finished run has such cells.")
            continue
        figure, (axes,) = new_axes(4.6 + 0.12 * len(found))
        axes.plot([0, 1], [0, 1], color=PLAIN, lw=0.7)
        for name, (curves, share) in found.items():
            look = comparison.looks[name]
            mean = curves.mean(axis=0)
            label = f"{name} (AUC {100 * share:.1f} %)"
            axes.plot(GRID, mean, color=look.colour, linestyle=look.line, label=label)
            if len(curves) > 1 and len(found) <= 4:
                axes.fill_between(GRID, curves.min(axis=0), curves.max(axis=0), color=look.colour, alpha=0.15, lw=0)
        axes.set(
            xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.005), aspect="equal"
        )
        axes.grid(True)
        legend_below(figure, axes, 1)
        section.panels.append(Panel(f"roc-{scope.lower()}", scope, figure))
    section.missing.extend(comparison.alone)
    return section


def _pooled(
    comparison: Comparison, scope: Scope, of: Callable[..., Array | float], each: Measured
) -> Array | float | None:
    """A function of labels and scores, for all cells of a scope together."""
    pooled = comparison.pooled(each.run, [scope])
    return None if pooled is None else of(*pooled)


@styled()
def strength_curves(comparison: Comparison) -> Section:
    """AUC on manipulations never trained on, against the rate factor of H.264, and at every other quality."""
    section = Section(
        "strength",
        "AUC against the strength of the quality",
        "Mean AUC over the manipulations that a run was not trained on (GF and GFQ); bars are 95 % intervals of"
        " Student's t over seeds, cut off at the frame.",
    )
    protocol = comparison.protocol
    qualities = dict.fromkeys(cell.quality for cell in protocol.cells() if cell.dataset == protocol.training.dataset)
    factors = {name: int(match[1]) for name in qualities if (match := re.fullmatch(r"h264-(\d+)", name))}
    others = [name for name in qualities if name not in factors]
    found = {
        name: {quality: held for quality in qualities if (held := _at(comparison, name, quality)) is not None}
        for name in comparison.focus
    }
    means = [values.mean() for by_quality in found.values() for values in by_quality.values()]
    if not means:
        section.missing.append("No finished run has cells of a manipulation it was not trained on.")
        return section
    limits = (min(means) - 6, min(max(means) + 6, 101))
    if len(factors) > 1:
        start = [protocol.training.quality] if protocol.training.quality in qualities else []
        ordered = sorted(factors, key=lambda name: factors[name])
        gap = max(4, (factors[ordered[-1]] - factors[ordered[0]]) / 4)
        places = {name: float(factors[name]) for name in ordered} | dict.fromkeys(start, factors[ordered[0]] - gap)
        labels = {name: str(factors[name]) for name in ordered} | {name: name for name in start}
        section.panels.append(
            _points(comparison, found, places, labels, limits, "h264", "H.264", "H.264 constant rate factor")
        )
        others = [name for name in others if name not in start]
    else:
        section.missing.append("A curve needs two or more rates of H.264.")
        others = list(qualities)
    if others:
        places = {name: float(number) for number, name in enumerate(others)}
        names = {name: name for name in others}
        section.panels.append(
            _points(comparison, found, places, names, limits, "others", "Other qualities", "quality", join=False)
        )
    section.missing.extend(comparison.alone)
    return section


def _at(comparison: Comparison, method: str, quality: str) -> Array | None:
    """(seeds,) mean AUC, in points of 100, over the cells of one quality that count."""

    def value(each: Measured) -> float | None:
        held = [
            100 * each.cells[cell.name]
            for cell in comparison.protocol.cells()
            if cell.quality == quality and comparison.protocol.scope(each.run, cell) in ("GF", "GFQ")
        ]
        return float(np.mean(held)) if held else None

    return over_seeds(comparison.of(method), value)


def _points(
    comparison: Comparison,
    found: dict[str, dict[str, Array]],
    places: dict[str, float],
    labels: dict[str, str],
    limits: tuple[float, float],
    name: str,
    title: str,
    axis: str,
    join: bool = True,
) -> Panel:
    figure, (axes,) = new_axes(3.3 + 0.1 * len(found))
    width = min(np.diff(sorted(places.values())), default=1.0)
    for number, (method, values) in enumerate(found.items()):
        shown = sorted((place, quality) for quality, place in places.items() if quality in values)
        shift = 0.5 * width * ((number + 0.5) / len(found) - 0.5)
        known = [student(values[quality]) for _, quality in shown]
        x, y = np.array([place for place, _ in shown]) + shift, np.array([each["mean"] for each in known])
        options = comparison.looks[method].options()
        if not join:
            options["linestyle"] = ""
        axes.plot(x, y, label=method, **options)
        for place, each in zip(x, known, strict=True):
            if each["low"] is not None:
                axes.plot([place] * 2, [each["low"], each["high"]], color=options["color"], lw=1, alpha=0.6)
    axes.set_xticks(list(places.values()), [labels[quality] for quality in places])
    if not join and len(places) > 4:
        axes.tick_params(axis="x", rotation=35)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set(xlabel=axis, ylabel="AUC (%)", ylim=limits)
    axes.grid(True, axis="y")
    legend_below(figure, axes)
    return Panel(f"strength-{name}", title, figure)


@styled()
def calibration_curves(comparison: Comparison) -> Section:
    """Reliability of calibrated scores, on what a run was trained on and on what it never saw."""
    section = Section(
        "calibration",
        "Calibration",
        f"Share of fakes among rows of like score, in {ECE_BINS} bins, all runs of a method together; reals and fakes"
        " weigh alike. On the diagonal a score is what it says: below it, too many reals are called fake, above it,"
        " fakes pass. The size of a marker is the share of rows. ECE: expected calibration error, the runs' mean.",
    )
    scopes: tuple[tuple[str, str, Sequence[Scope]], ...] = (
        ("in-domain", "In-domain", ("in-domain",)),
        ("unseen", "Unseen (GF, GFQ, GFD)", UNSEEN),
    )
    for name, title, which in scopes:
        figure, (axes,) = new_axes(4.6 + 0.12 * len(comparison.focus))
        axes.plot([0, 1], [0, 1], color=PLAIN, lw=0.7)
        drawn = [_reliability(comparison, axes, method, which) for method in comparison.focus]
        if not any(drawn):
            section.missing.append(f"{title}: no finished run has such cells.")
            continue
        axes.set(xlabel="P(fake)", ylabel="share of fakes", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.grid(True)
        legend_below(figure, axes, 1)
        section.panels.append(Panel(f"calibration-{name}", title, figure))
    return section


def _reliability(comparison: Comparison, axes: Axes, method: str, scopes: Sequence[Scope]) -> bool:
    pooled = [(each, comparison.pooled(each.run, scopes)) for each in comparison.of(method)]
    found = [
        reliability(*rows, comparison.outcome(each.run)[1]["detector"]["calibration"])
        for each, rows in pooled
        if rows is not None
    ]
    if not found:
        return False
    rows, score, fake = (np.sum([getattr(each, name) for each in found], axis=0) for name in ("rows", "score", "fake"))
    kept = rows > _FEW * rows.sum()
    look = comparison.looks[method]
    label = f"{method} (ECE {np.mean([each.error for each in found]):.3f})"
    x, y = score[kept] / rows[kept], fake[kept] / rows[kept]
    axes.plot(x, y, color=look.colour, linestyle=look.line, label=label, lw=1.4)
    face = look.colour if look.filled else "none"
    sizes = 12 + 250 * rows[kept] / rows.sum()
    axes.scatter(x, y, sizes, marker=look.marker, facecolor=face, edgecolor=look.colour, alpha=0.75, clip_on=False)
    return True
