"""``unmask attack``: how a finished detector stands up to noise, blur, flow and compression."""

from __future__ import annotations

import argparse
from typing import Any

from unmask.commands.terminal import complain, count, failures, positive, print_table, progress


def add(commands: Any) -> None:
    attack = commands.add_parser(
        "attack",
        help="robustness of a finished detector: noise, blur, flow, compression",
        description="Attack a detector on face tables, taken as one, with noise, blur, flow and free kernels, each"
        " compared with a random change as strong, and with codecs. The attacker knows weights and labels.",
        epilog="Exit code: 0 all rows attacked, 1 some left out (each is named), 2 wrong usage, unusable detector or"
        " table.",
    )
    attack.add_argument("detector", metavar="DETECTOR", help="folder of a detector with its weights, or `default`")
    attack.add_argument("tables", nargs="+", metavar="DATA", help="Parquet file, or a folder of them")
    attack.add_argument(
        "--attack",
        action="extend",
        nargs="+",
        metavar="NAME",
        help="noise, blur, flow, kernel, compression (default: all)",
    )
    attack.add_argument("--split", metavar="S", help="only rows of this split")
    attack.add_argument("--limit", type=positive, metavar="N", help="at most N rows, as many reals as fakes")
    attack.add_argument(
        "--seed", type=count, default=0, metavar="N", help="draws rows, attacks and resamples (default: 0)"
    )
    attack.add_argument("--json", metavar="FILE", help="write one object with every figure and interval")
    attack.add_argument(
        "--bootstrap",
        type=count,
        default=1000,
        metavar="N",
        help="resamples for the intervals, 0: none (default: 1000)",
    )
    attack.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from unmask.writing import check_writable, write_json

    if options.json is not None:
        check_writable(options.json)

    from unmask.data.cut import other_cuts
    from unmask.data.table import FaceTable
    from unmask.evaluation.attack_plan import plan
    from unmask.evaluation.attack_result import render_attacks
    from unmask.evaluation.attacks import attack_detector, load_attackable

    plan(options.attack)  # a name that is none is said before the work
    scorer = load_attackable(options.detector)
    for line in other_cuts(options.tables, scorer.card.crop):
        complain(f"{line}: the scores mean little")
    with progress() as show:
        found = attack_detector(
            scorer,
            FaceTable.read(options.tables, options.split),
            tables=options.tables,
            attacks=options.attack,
            split=options.split,
            limit=options.limit,
            bootstrap=options.bootstrap,
            seed=options.seed,
            progress=show,
        )
    if options.json is not None:
        write_json(options.json, found.to_json())
    print_table(render_attacks(found))
    counts = found.counts
    print(f"{counts['real_rows']:,} reals and {counts['fake_rows']:,} fakes of {counts['components']:,} sources")
    return failures([f"{row['row']}: {row['reason']}" for row in found.left_out])
