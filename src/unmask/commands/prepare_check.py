"""``unmask prepare --check`` and ``--list``: what is there of a data set, and what is not; nothing is decoded."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from textwrap import dedent, indent

from unmask.commands.terminal import FAILED, complain, print_table
from unmask.printing import cell, counted, printable

#: So many lines of a kind are printed; all of them are in the JSON.
SHOWN = 10


def check(layout: str, src: str | Path, json_path: str | Path | None = None) -> int:
    """Print what a folder holds. Returns the exit code: 0 all there, 1 something is missing or wrong, and is named.

    Raises:
        UnmaskError: it cannot be read at all, or the JSON file cannot be written.
    """
    from rich.table import Table

    from unmask.data.layouts import read_layout
    from unmask.data.layouts.check import describe
    from unmask.writing import check_writable, write_json

    if json_path is not None:
        check_writable(json_path)
    found = describe(read_layout(layout, src))
    if json_path is not None:
        write_json(json_path, {"src": str(src), **found.to_json()})

    table = Table("data set", "method", "quality", "split", "label", box=None, pad_edge=False)
    for column in ("clips", "files", "with masks"):
        table.add_column(column, justify="right")
    for row in found.counts:
        *names, clips, files, masks = vars(row).values()
        words = [*(name or "-" for name in names), f"{clips:,}", f"{files:,}", f"{masks:,}" if masks else "-"]
        table.add_row(*map(cell, words))
    print_table(table)
    for note in found.notes:
        print(f"note: {printable(note)}")
    print(f"{counted(found.clips, 'clip')}, {counted(len(found.problems), 'problem')}", flush=True)
    for reason, group in groupby(sorted(found.problems, key=lambda each: each.reason), key=lambda each: each.reason):
        problems = list(group)
        for problem in problems[:SHOWN]:
            complain(problem)
        if len(problems) > SHOWN:
            where = f"all are in {json_path}" if json_path is not None else "--json FILE names them all"
            complain(f"... {len(problems) - SHOWN:,} more: {reason} ({where})")
    return FAILED if found.problems else 0


def list_layouts() -> int:
    """Print every layout with the sketch of its folder."""
    from unmask.data.layouts import LAYOUTS

    for layout in LAYOUTS.values():
        print(f"{layout.name:<16} {layout.description}\n{indent(dedent(layout.sketch).strip(), '    ')}\n")
    return 0
