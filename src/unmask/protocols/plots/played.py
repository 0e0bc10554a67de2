"""What the adversaries played: sigma over the training, over the face, and the frequencies that it took away."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unmask.detector.file import CARD, read_card
from unmask.errors import UnmaskError
from unmask.protocols.plots.outcomes import Array, Comparison
from unmask.protocols.plots.replay import Replay, adversary_of, replay, stand_in
from unmask.protocols.plots.style import FAKE, REAL, Panel, Section, legend_below, new_axes, styled

_KINDS: Mapping[str, tuple[str, str]] = {"real": (REAL, "-"), "fake": (FAKE, "--")}
#: Quantiles of sigma that are drawn, as ``describe_sigma`` names them: two bands and the middle.
_LEVELS = ("q05", "q25", "q50", "q75", "q95")
_CELL = 4  # pixels a side that a map is averaged over: an ascent from a random start is grainy


@styled()
def sigma_over_training(comparison: Comparison) -> Section:
    """The distribution of sigma at each logged step, one panel a method that blurred."""
    section = Section(
        "sigma",
        "Sigma played over training",
        "Median of the pixels' sigma (line), from 25 to 75 % and from 5 to 95 % of them (bands); quantiles averaged"
        " over runs. Reals solid, fakes dashed: where they part, the blur itself gives the label away.",
    )
    played = {name: found for name in comparison.finished if (found := _played(comparison, name))}
    most = max((values[:, -1].max() for found in played.values() for _, values in found.values()), default=1.0)
    for name, found in played.items():
        figure, (axes,) = new_axes(2.9)
        for kind, (colour, line) in _KINDS.items():
            if kind not in found:
                continue
            steps, values = found[kind]
            for low, high, alpha in ((0, 4, 0.1), (1, 3, 0.2)):
                axes.fill_between(steps, values[:, low], values[:, high], color=colour, alpha=alpha, lw=0)
            axes.plot(steps, values[:, 2], color=colour, linestyle=line, label=f"{kind}s")
        axes.set(xlabel="step", ylabel="sigma (px)", ylim=(0, 1.05 * most))
        axes.grid(True, axis="y")
        legend_below(figure, axes)
        section.panels.append(Panel(f"sigma-{name}", name, figure))
    if not section.panels:
        section.missing.append("No finished run logged a sigma: none was trained against a blur.")
    return section


def _played(comparison: Comparison, method: str) -> dict[str, tuple[Array, Array]]:
    """By ``real`` and ``fake``: steps (T,) and the mean quantiles (T, levels) of a method's runs."""
    held: dict[str, dict[int, list[list[float]]]] = {}
    for each in comparison.of(method):
        for line in comparison.log(each.run):
            for kind, part in line.get("sigma", {}).items():
                held.setdefault(kind, {}).setdefault(line["step"], []).append([part[level] for level in _LEVELS])
    return {
        kind: (np.array(sorted(steps), dtype=float), np.stack([np.mean(steps[step], axis=0) for step in sorted(steps)]))
        for kind, steps in held.items()
    }


def replayed(comparison: Comparison, limit: int = 64) -> tuple[Section, Section]:
    """The two figures that attack a detector again: :func:`sigma_map` and :func:`spectrum`, of one finished run.

    The run is the first of the best game, else of the first game that blurs, on reals and the first manipulation of
    the training's data set.

    Args:
        comparison: what is done.
        limit: faces of each class.
    """
    try:
        found, told = _replay(comparison, limit)
    except UnmaskError as error:
        return (
            Section("map", "Where the adversary blurs", "", missing=[f"{error}."]),
            Section("spectrum", "What the adversary removes", "", missing=[f"{error}."]),
        )
    return sigma_map(found, told), spectrum(found, told)


def _replay(comparison: Comparison, limit: int) -> tuple[Replay, str]:
    protocol = comparison.protocol
    if not comparison.tables:
        raise UnmaskError(protocol.name, "the faces are not at hand: name the test tables by --data")
    games = [name for name in comparison.finished if protocol.method(name).role == "game"]
    runs = [each.run for name in sorted(games, key=lambda name: name != protocol.best) for each in comparison.of(name)]
    run = next((run for run in runs if any("sigma" in line for line in comparison.log(run))), None)
    if run is None:
        raise UnmaskError(protocol.name, "no run of a game that blurs is finished")
    cell = next((cell for cell in protocol.cells() if cell.dataset == protocol.training.dataset), None)
    if cell is None:
        raise UnmaskError(protocol.name, "no test of the data set that was trained on")
    name, options = adversary_of(comparison.out / run.name)
    detector = comparison.out / run.name / "detector"
    tables = [comparison.tables[each] for each in protocol.tables_of(cell)]
    told = f"{run.name}, {name} played once more against the finished detector"
    if name.startswith("blur-generator") and read_card(detector / CARD).adversary is None:
        name, options = stand_in(name, options)
        told = (
            f"{run.name}; no generator came with its detector, so gradient ascent within the same bounds plays"
            " against the finished detector"
        )
    found = replay(detector, name, options, tables, limit=limit)
    return found, f"{told}, on {found.rows['real']} reals and {found.rows['fake']} fakes of {cell.name}."


@styled()
def sigma_map(found: Replay, told: str) -> Section:
    """Mean sigma over the face for reals and for fakes, and the difference.

    Args:
        found: of :func:`~unmask.protocols.plots.replay.replay`.
        told: a sentence on whose attack it is.
    """
    from matplotlib.colors import TwoSlopeNorm

    section = Section(
        "map", "Where the adversary blurs", f"Mean sigma in cells of {_CELL} x {_CELL} px, over many faces: {told}"
    )
    if not found.sigma:
        section.missing.append("The adversary plays no blur.")
        return section
    maps = {kind: _coarse(sigma) for kind, sigma in found.sigma.items()}
    low, high = min(each.min() for each in maps.values()), max(each.max() for each in maps.values())
    figure, axes = new_axes(2.9, 2)
    for each, (kind, sigma) in zip(axes, maps.items(), strict=True):
        image = each.imshow(sigma, cmap="cividis", vmin=low, vmax=max(high, low + 1e-3), interpolation="none")
        each.set_title(f"{kind}s")
        each.set_axis_off()
    figure.colorbar(
        image, ax=axes, location="bottom", label="sigma (px)", aspect=35, fraction=0.06
    ).outline.set_visible(False)
    section.panels.append(Panel("map", "Reals and fakes", figure))
    difference = maps["fake"] - maps["real"]
    most = max(float(np.abs(difference).max()), 1e-3)
    figure, (axes_one,) = new_axes(2.9)
    image = axes_one.imshow(difference, cmap="PuOr", norm=TwoSlopeNorm(0, -most, most), interpolation="none")
    axes_one.set_axis_off()
    figure.colorbar(image, ax=axes_one, location="right", label="sigma, fakes − reals (px)").outline.set_visible(False)
    section.panels.append(Panel("map-difference", "Fakes less reals", figure))
    return section


def _coarse(sigma: Array) -> Array:
    height, width = (side // _CELL * _CELL for side in sigma.shape)
    return sigma[:height, :width].reshape(height // _CELL, _CELL, width // _CELL, _CELL).mean(axis=(1, 3))


@styled()
def spectrum(found: Replay, told: str) -> Section:
    """Radial power of what was taken away, reals and fakes, beside that of the clean faces; arguments as above."""
    section = Section(
        "spectrum",
        "What the adversary removes",
        "Power by radial frequency of clean minus attacked: median over faces, band from 25 to 75 % of them; thin"
        f" lines, the clean faces themselves. {told}",
    )
    figure, (axes,) = new_axes(3.6)
    for kind, (colour, line) in _KINDS.items():
        if not found.removed[kind].any():
            section.missing.append(f"The adversary leaves {kind}s as they are.")
            continue
        low, middle, high = np.percentile(found.removed[kind], [25, 50, 75], axis=0)
        axes.fill_between(found.frequency, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(found.frequency, middle, color=colour, linestyle=line, label=f"{kind}s, removed")
        clean = np.median(found.clean[kind], axis=0)
        axes.plot(found.frequency, clean, color=colour, linestyle=line, lw=0.8, label=f"{kind}s, clean")
    axes.set(
        xlabel="radial frequency (cycles a pixel)", ylabel="power (squared intensity)", yscale="log", xlim=(0, 0.71)
    )
    axes.grid(True)
    legend_below(figure, axes)
    if len(section.missing) < len(_KINDS):
        section.panels.append(Panel("spectrum", "Reals and fakes", figure))
    return section
