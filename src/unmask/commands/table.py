"""``unmask table``: what is in face tables, and what is wrong with them."""

from __future__ import annotations

import argparse
from typing import Any

from unmask.commands.terminal import FAILED, count, positive, print_table, progress
from unmask.cores import cores
from unmask.printing import cell, counted, printable


def add(commands: Any) -> None:
    table = commands.add_parser(
        "table",
        help="count the rows of face tables and flag what is wrong",
        description="Count the rows of face tables by data set, manipulation, quality, split and label, decode every"
        " image, and flag leaks between splits, duplicates, doubled keys, one-class splits and unreadable rows. All"
        " tables are taken as one: name every split.",
        epilog="Exit code: 0 clean, 1 something is flagged, 2 wrong usage, or nothing can be read.",
    )
    table.add_argument("tables", nargs="+", metavar="TABLE", help="Parquet file, or a folder of them")
    table.add_argument("--json", metavar="FILE", help="also write the counts and every finding as JSON")
    table.add_argument(
        "--show", type=count, default=3, metavar="N", help="print at most N findings of each kind (default: 3)"
    )
    table.add_argument("--threads", type=positive, metavar="N", help="threads that decode (default: one per core)")
    table.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from unmask.writing import check_writable, write_json

    if options.json is not None:
        check_writable(options.json)

    from rich.table import Table

    from unmask.data.inspect import inspect_tables

    with progress() as show:
        found = inspect_tables(options.tables, threads=options.threads or cores(), progress=show)
    if options.json is not None:
        write_json(options.json, found.to_json())
    grid = Table("data set", "split", "manipulation", "quality", "label")
    for name in ("rows", "videos", "sources"):
        grid.add_column(name, justify="right")
    for each in found.counts:
        names = (each.dataset, each.split or "-", each.method, each.quality, each.label)
        grid.add_row(*map(cell, names), *(f"{number:,}" for number in (each.rows, each.videos, each.sources)))
    print_table(grid)
    sizes = ", ".join(f"{size} ({number:,})" for size, number in list(found.sizes.items())[:4])
    print(f"{counted(found.rows, 'row')} in {counted(len(found.tables), 'file')}; images {sizes or 'none'}")
    for flag in found.flags:
        print(f"{flag.kind}: {printable(flag.message)}")
        for line in flag.rows[: options.show]:
            print(f"  {printable(line)}")
        if len(flag.rows) > options.show:
            print(f"  ... and {len(flag.rows) - options.show:,} more")
    if not found.flags:
        print("nothing is wrong")
    return FAILED if found.flags else 0
