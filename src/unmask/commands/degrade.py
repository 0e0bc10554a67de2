"""``unmask degrade``: a face table at other qualities."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from unmask.commands.terminal import failures, positive, progress
from unmask.cores import cores
from unmask.errors import UnmaskError


def add(commands: Any) -> None:
    degrade = commands.add_parser(
        "degrade",
        help="a face table at other qualities, by real codecs",
        description="Encode every face of a table with a real codec (H.264, H.265, VP9, JPEG, WebP), resize it or"
        " add noise. Writes OUT/QUALITY.parquet for each quality.",
        epilog="Exit code: 0 all rows done, 1 some left out (each is named), 2 wrong usage. Finished files are kept.",
    )
    degrade.add_argument("table", nargs="?", metavar="SRC", help="face table: Parquet file, or a folder of them")
    degrade.add_argument("out", nargs="?", metavar="OUT", help="folder; one file per quality is written there")
    degrade.add_argument(
        "--quality", action="extend", nargs="+", default=[], metavar="Q", help="qualities to make (needed), see --list"
    )
    degrade.add_argument("--split", metavar="S", help="only rows of this split")
    degrade.add_argument("--workers", type=positive, metavar="N", help="worker processes (default: one per core)")
    degrade.add_argument("--force", action="store_true", help="make files again that are there already")
    degrade.add_argument("--list", action="store_true", help="describe the qualities, do nothing else")
    degrade.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from unmask.data.degrade import ALIASES, QUALITIES, degrade_table, get_quality

    if options.list:
        names = {target: name for name, target in ALIASES.items()}
        for quality in QUALITIES.values():
            also = f" (short: {names[quality.name]})" if quality.name in names else ""
            print(f"{quality.name:<14} {quality.description}{also}")
        return 0
    if options.table is None or options.out is None or not options.quality:
        raise UnmaskError("degrade", "needs SRC and OUT, and behind them --quality (or --list)")
    qualities = [get_quality(name) for name in options.quality]

    from unmask.data import FaceTable
    from unmask.writing import make_folder

    table, out = FaceTable.read(options.table, options.split), Path(options.out)
    make_folder(out)
    code = 0
    for quality in qualities:
        path = out / f"{quality.name}.parquet"
        if path.exists() and not options.force:
            print(f"{path}: there already")
            continue
        with progress() as show:
            done = degrade_table(table, path, quality.name, workers=options.workers or cores(), progress=show)
        print(f"{path}: {done.rows} rows, PSNR {done.psnr:.1f} dB, SSIM {done.ssim:.3f}", flush=True)
        code |= failures(done.left_out)
    return code
