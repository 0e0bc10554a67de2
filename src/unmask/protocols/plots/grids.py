"""Heat maps of manipulation against quality: AUC of every method, and what it gains over plain training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unmask.protocols.plots.outcomes import UNSEEN, Array, Comparison
from unmask.protocols.plots.style import Panel, Section, new_axes, styled
from unmask.protocols.protocol import Run

if TYPE_CHECKING:
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

#: A run, or a pair of runs, and its value in each cell.
Values = Sequence[tuple[Run, Mapping[str, float]]]


@styled()
def heat_maps(comparison: Comparison) -> tuple[Section, Section]:
    """AUC of every finished method, and the gain of all but plain, both in points of 100."""
    from matplotlib.colors import Normalize, TwoSlopeNorm

    marked = (
        "Mean over seeds and over the trainings that did not include the manipulation;"
        " * marks a manipulation that every run was trained on."
    )
    level = Section("auc", "AUC by manipulation and quality", f"AUC, %. {marked} Dark is 50 or less, bright is 100.")
    gain = Section("gain", "Gain over plain by manipulation and quality", f"Points of AUC. {marked} Blue is a gain.")
    plain = comparison.protocol.plain.name
    before = {(each.run.manipulation, each.run.seed): each.cells for each in comparison.of(plain)}
    gains: dict[str, Values] = {}
    for name in comparison.finished:
        runs = [(each.run, each.cells) for each in comparison.of(name)]
        figure = _figure(comparison, runs, "cividis", Normalize(50, 100), ".1f")
        level.panels.append(Panel(f"auc-{name}", name, figure))
        pairs = [(run, cells, before.get((run.manipulation, run.seed))) for run, cells in runs]
        gains[name] = [
            (run, {cell: value - other[cell] for cell, value in cells.items()})
            for run, cells, other in pairs
            if other is not None
        ]
    if not level.panels:
        level.missing.append("No run is finished.")
    gains.pop(plain, None)
    shown = {name: values for name, values in gains.items() if values}
    tables = [_table(comparison, values)[0] for values in shown.values()]
    most = max([1.0, *(float(np.nanmax(np.abs(table))) for table in tables)])
    for name, values in shown.items():
        figure = _figure(comparison, values, "RdBu", TwoSlopeNorm(0, -most, most), "+.1f")
        gain.panels.append(Panel(f"gain-{name}", name, figure))
    if not gain.panels:
        gain.missing.append("No run is finished beside one of plain training from the same seed on the same data.")
    return level, gain


def _rows(comparison: Comparison) -> list[tuple[str, str]]:
    return list(dict.fromkeys((cell.dataset, cell.manipulation) for cell in comparison.protocol.cells()))


def _columns(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(cell.quality for cell in comparison.protocol.cells()))


def _table(comparison: Comparison, values: Values) -> tuple[Array, list[bool]]:
    """(manipulations, qualities) in points of 100, NaN where nothing is tested; rows that every run has seen."""
    columns, rows = _columns(comparison), _rows(comparison)
    table, seen = np.full((len(rows), len(columns)), np.nan), [False] * len(rows)
    for cell in comparison.protocol.cells():
        unseen = [cells for run, cells in values if comparison.protocol.scope(run, cell) in UNSEEN]
        row = rows.index((cell.dataset, cell.manipulation))
        seen[row] = not unseen
        held = unseen or [cells for _, cells in values]
        table[row, columns.index(cell.quality)] = 100 * np.mean([cells[cell.name] for cells in held])
    return table, seen


def _figure(comparison: Comparison, values: Values, colours: str, norm: Normalize, form: str) -> Figure:
    import matplotlib

    columns, rows = _columns(comparison), _rows(comparison)
    table, seen = _table(comparison, values)
    # Manipulations, of which there are more, go down: their names are read without turning the head.
    figure, (axes,) = new_axes(0.24 * len(rows) + 1.2)
    mesh = axes.pcolormesh(np.ma.masked_invalid(table), cmap=matplotlib.colormaps[colours], norm=norm)
    mesh.set_edgecolor("face")  # no seams between cells
    several = len({dataset for dataset, _ in rows}) > 1
    names = [name if not several or name == dataset else f"{dataset}: {name}" for dataset, name in rows]
    axes.set_yticks(np.arange(len(rows)) + 0.5, [f"{name}{' *' * old}" for name, old in zip(names, seen, strict=True)])
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.tick_params(axis="x", rotation=35 if len(columns) > 3 else 0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right" if len(columns) > 3 else "center")
        label.set_rotation_mode("anchor")
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set_xlabel("quality")
    for spine in axes.spines.values():
        spine.set_visible(False)
    size = min(9.0, 60 / len(columns))
    for (row, column), value in np.ndenumerate(table):
        if np.isnan(value):
            continue
        ink = _ink(matplotlib.colormaps[colours](norm(value)))
        text = format(round(value, 1) + 0.0, form).replace("-", "−")  # no minus before a zero
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=size, color=ink)
    return figure


def _ink(ground: Sequence[float]) -> str:
    """Black or white, whichever stands out more on a colour (contrast ratio of WCAG 2)."""
    red, green, blue = (((value + 0.055) / 1.055) ** 2.4 for value in ground[:3])
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"
