"""``unmask evaluate``: measure a detector on face tables."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from unmask.commands.terminal import FAILED, complain, count, progress


def add(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a detector on face tables",
        description="AUC, AP, EER, accuracy and more on face tables (Parquet), with 95 % intervals.",
        epilog="Exit code: 0 all tables measured, 1 some could not be, 2 usage or bad detector.",
    )
    evaluate.add_argument("detector", metavar="DETECTOR", help="folder of a detector, or `default`")
    evaluate.add_argument("tables", nargs="+", metavar="DATA", help="Parquet file, or a folder of them")
    evaluate.add_argument("--split", metavar="S", help="only rows of this split")
    evaluate.add_argument("--json", metavar="FILE", help="write a list with one object a table")
    evaluate.add_argument(
        "--bootstrap", type=count, default=1000, metavar="N", help="resamples of the intervals, 0 for none"
    )
    evaluate.add_argument(
        "--recrop",
        action="store_true",
        help="find the face in every image and crop it by the detector's recipe",
    )
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from unmask.writing import check_writable, write_text

    if options.json is not None:
        check_writable(options.json)

    from unmask.detector import Scorer
    from unmask.evaluation import evaluate, render

    with progress() as show:
        evaluation = evaluate(
            Scorer.load(options.detector),
            options.tables,
            split=options.split,
            bootstrap=options.bootstrap,
            recrop=options.recrop,
            progress=show,
        )
    if options.json is not None:
        write_text(options.json, json.dumps(evaluation.to_json(), indent=1) + "\n")
    from rich.console import Console

    # A file or pipe has no width: nothing may be cut off there.
    Console(width=None if sys.stdout.isatty() else 200).print(render(evaluation))
    for error in evaluation.errors:
        complain(error)
    return FAILED if evaluation.errors else 0
