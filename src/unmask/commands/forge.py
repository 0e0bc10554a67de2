"""``unmask forge``: fakes from the reals of a face table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from unmask.commands.terminal import count, failures, positive, progress
from unmask.errors import UnmaskError


def add(commands: Any) -> None:
    forge = commands.add_parser(
        "forge",
        help="make fakes from the reals of a face table",
        description="Make a forgery of every real of a face table by each method. Writes OUT/METHOD.parquet, and"
        " OUT/real.parquet with the reals encoded like the forgeries.",
        epilog="Exit code: 0 all reals forged, 1 some left out (each is named), 2 wrong usage. Finished files"
        " are kept.",
    )
    forge.add_argument("table", nargs="?", metavar="SRC", help="face table: Parquet file, or a folder of them")
    forge.add_argument("out", nargs="?", metavar="OUT", help="folder of the forged tables")
    forge.add_argument(
        "--method",
        action="extend",
        nargs="+",
        default=[],
        metavar="M",
        help="forgeries to make, see --list (default: all but given)",
    )
    forge.add_argument("--split", metavar="S", help="only rows of this split")
    forge.add_argument("--limit", type=positive, metavar="N", help="at most N reals, drawn by the seed")
    forge.add_argument("--seed", type=count, default=0, metavar="N", help="draws reals, donors and shapes (default: 0)")
    forge.add_argument(
        "--models", metavar="DIR", help="use the networks fitted in an earlier run: its OUT, that of the training split"
    )
    forge.add_argument("--force", action="store_true", help="make files again that are there already")
    forge.add_argument("--list", action="store_true", help="describe the forgeries, do nothing else")
    forge.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from unmask.forge import FORGERIES, Forger

    if options.list:
        for method in FORGERIES.values():
            print(f"{method.name:<14} {method.description}")
        print(f"{'given':<14} the fakes that SRC has of these reals, one per source, encoded as the others are")
        return 0
    if options.table is None or options.out is None:
        raise UnmaskError("forge", "needs SRC and OUT, before any --method (or --list)")
    wanted = ["real", *(options.method or FORGERIES)]
    for name in wanted[1:]:
        if name not in (*FORGERIES, "given"):
            raise UnmaskError(f"forgery {name!r}", f"expected one of given, {', '.join(FORGERIES)}")

    from unmask.data import FaceTable

    table, out = FaceTable.read(options.table, options.split), Path(options.out)
    models = None if options.models is None else Path(options.models)
    left_out: dict[str, None] = {}
    with progress() as show:
        forger = Forger(table, out, seed=options.seed, limit=options.limit, models=models, progress=show)
        for name in wanted:
            path = out / f"{name}.parquet"
            if path.exists() and not options.force:
                print(f"{path}: there already")
                continue
            done = forger.forge(name)
            print(f"{path}: {done.rows} rows, {len(done.left_out)} reals left out", flush=True)
            left_out |= dict.fromkeys(done.left_out)
    return failures(left_out)
