"""The tables of a comparison in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from unmask.printing import cell
from unmask.protocols.protocol import SCOPES


def render(summary: Mapping[str, Any]) -> Table:
    """Methods down, scopes across: mean AUC in points, ± its standard deviation over seeds, and gains over plain."""
    scopes = [scope for scope in SCOPES if any(scope in each for each in summary["methods"].values())]
    title = f"{summary['protocol']}: {summary['finished']} of {summary['planned']} runs; AUC, gain over plain"
    table = Table(title=cell(title, "table.title"), title_justify="left")
    table.add_column("method", no_wrap=True)
    for scope in scopes:
        table.add_column(scope, justify="right")
        table.add_column("gain", justify="right")
    table.add_column("img/s", justify="right")
    for name, method in summary["methods"].items():
        row: list[str] = []
        gains = summary["gains"].get(name, {})
        for scope in scopes:
            row += [spread_text(method.get(scope)), _interval(gains.get(scope, {}).get("over_plain"))]
        speed = method["images_per_second"]
        table.add_row(cell(name), *row, "" if speed is None else f"{speed:.1f}")
    return table


def render_best(summary: Mapping[str, Any]) -> Table | None:
    """What the best game gains over each other method, seed by seed; None where there is none."""
    over: Mapping[str, Mapping[str, Any]] = summary["best_over"]
    if not over:
        return None
    scopes = [scope for scope in SCOPES if any(scope in each for each in over.values())]
    table = Table(title=cell(f"{summary['best']}: gain over each", "table.title"), title_justify="left")
    table.add_column("method", no_wrap=True)
    for scope in (*scopes, "seeds"):
        table.add_column(scope, justify="right")
    for name, gains in over.items():
        found = [gains[scope] for scope in scopes]
        seeds = max((each["seeds"] for each in found if each), default=0)
        table.add_row(cell(name), *map(_interval, found), str(seeds))
    return table


def spread_text(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return ""
    return f"{spread['mean']:.1f}" + ("" if spread["sd"] is None else f" ± {spread['sd']:.1f}")


def _interval(over: Mapping[str, Any] | None) -> str:
    if over is None:
        return ""
    interval = "" if over["low"] is None else f" [{over['low']:+.1f}, {over['high']:+.1f}]"
    return f"{over['mean']:+.1f}{interval}"
