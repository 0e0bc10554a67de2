"""The tables of a comparison in the terminal."""

from __future__ import annotations

from rich.console import Console

from unmask.protocols.render import render, render_best


def test_names_in_a_protocol_are_no_markup() -> None:
    summary = {
        "protocol": "few[2]",
        "finished": 1,
        "planned": 1,
        "methods": {"game[red]\x1b[1m": {"images_per_second": None, "GF": {"mean": 90.0, "sd": None}}},
        "gains": {},
        "best": "game[red]",
        "best_over": {"plain[v1]": {"GF": {"mean": 1.0, "low": None, "high": None, "seeds": 1}}},
    }
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render(summary))
        console.print(render_best(summary))
    for name in ("few[2]: 1 of 1 runs", "game[red]\\x1b[1m", "game[red]: gain over each", "plain[v1]"):
        assert name in captured.get()
