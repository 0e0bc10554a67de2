"""``unmask evaluate``: measure a detector on face tables."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any

from unmask.commands.terminal import complain, count, failures, positive, print_table, progress, refuse
from unmask.errors import UnmaskError


def add(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a detector on face tables",
        description="Measure a detector on face tables: AUC, AP, EER, accuracy and more, with 95 % intervals.",
        epilog="Exit code: 0 all tables measured, 1 some could not be, 2 wrong usage or unusable detector.",
    )
    evaluate.add_argument("detector", nargs="?", metavar="DETECTOR", help="folder of a detector, or `default`")
    evaluate.add_argument(
        "tables",
        nargs="*",
        metavar="DATA",
        help="face table: Parquet file, or a folder of them; each is measured by itself",
    )
    evaluate.add_argument("--split", metavar="S", help="only rows of this split")
    evaluate.add_argument("--json", metavar="FILE", help="write all results: a list with one object per table")
    evaluate.add_argument(
        "--bootstrap",
        type=count,
        default=1000,
        metavar="N",
        help="resamples for the intervals, 0: none (default: 1000)",
    )
    evaluate.add_argument(
        "--recrop",
        action="store_true",
        help="find the face in every image and crop it as the detector needs it: for tables cut with another margin",
    )
    evaluate.add_argument(
        "--where",
        action="store_true",
        help="instead: do heat maps show where a face was forged? Measured on forgeries of which one half is restored;"
        " DATA holds forgeries with masks and their originals, as the folder that `unmask forge` writes",
    )
    protocols = evaluate.add_argument_group(
        "protocols",
        "Instead of DETECTOR and DATA: train every method of a protocol alike, test all on what none has seen, and"
        " compare them. Writes OUT/summary.json, and OUT/page.html with all figures.",
    )
    protocols.add_argument(
        "--protocol", metavar="FILE.toml", help="says who trains on what, and is tested on what; see recipes/protocols/"
    )
    protocols.add_argument("--data", metavar="DIR", help="folder of the face tables that the protocol names")
    protocols.add_argument(
        "--out", metavar="DIR", help="folder of the comparison; runs finished there are not run again"
    )
    protocols.add_argument("--jobs", type=positive, metavar="N", help="trainings side by side (default: 1)")
    protocols.add_argument(
        "--quick",
        action="store_true",
        help="only try whether it works: two seeds, three rounds a run, an eighth of the rows: minutes, no evidence",
    )
    protocols.add_argument(
        "--summary-only",
        action="store_true",
        help="train nothing, only sum up and draw the finished runs; without --data all figures but the faces",
    )
    protocols.add_argument(
        "--plots", metavar="DIR", help="also write each figure of OUT/page.html as SVG and WebP (needs unmask[train])"
    )
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.protocol is not None:
        return _protocol(options)
    refuse(options, ("data", "out", "jobs", "quick", "summary_only", "plots"), "goes with --protocol")
    if options.detector is None or not options.tables:
        raise UnmaskError("evaluate", "needs a DETECTOR and DATA, or --protocol")
    if options.where:
        return _where(options)
    from unmask.writing import check_writable, write_json

    if options.json is not None:
        check_writable(options.json)

    from unmask.data.cut import other_cuts
    from unmask.detector import Scorer
    from unmask.evaluation import evaluate, render

    scorer = Scorer.load(options.detector)
    if not options.recrop:
        with suppress(UnmaskError):  # a table that is not there is said among the results
            for line in other_cuts(options.tables, scorer.card.crop):
                complain(f"{line}: the scores mean little (--recrop cuts wider faces anew)")
    with progress() as show:
        evaluation = evaluate(
            scorer,
            options.tables,
            split=options.split,
            bootstrap=options.bootstrap,
            recrop=options.recrop,
            progress=show,
        )
    if options.json is not None:
        write_json(options.json, evaluation.to_json())
    print_table(render(evaluation))
    return failures(evaluation.errors)


def _where(options: argparse.Namespace) -> int:
    refuse(options, ("recrop",), "does not go with --where: a mask fits its own crop")
    from unmask.data.table import FaceTable
    from unmask.detector import Scorer
    from unmask.evaluation.evaluate import how_judged
    from unmask.evaluation.where import measure_where, render
    from unmask.writing import check_writable, write_json

    if options.json is not None:
        check_writable(options.json)
    scorer = Scorer.load(options.detector)
    results, errors = [], []
    for path in options.tables:
        try:
            with progress() as show:
                table = FaceTable.read(path, options.split)
                found = measure_where(scorer, table, resamples=options.bootstrap, progress=show)
        except UnmaskError as error:
            errors.append(str(error))
            continue
        print_table(render(path, found))
        protocol = how_judged(scorer, options.split, options.bootstrap, 0)
        results.append({"table": path, "methods": [each.to_json() for each in found], "protocol": protocol})
    if options.json is not None:
        write_json(options.json, results)
    return failures(errors)


def _protocol(options: argparse.Namespace) -> int:
    from pathlib import Path

    if options.detector is not None or options.out is None or (options.data is None and not options.summary_only):
        needs = "needs --out, and --data unless --summary-only, and takes neither DETECTOR nor DATA"
        raise UnmaskError("--protocol", needs)
    refuse(options, ("split", "recrop", "where"), "goes with a DETECTOR: a protocol says what it is tested on")

    from unmask.protocols import evidence, measure, read_protocol, run_protocol, summarise
    from unmask.protocols.plots import need_matplotlib, write_page
    from unmask.protocols.render import render, render_best
    from unmask.protocols.scoring import Tests
    from unmask.writing import check_writable, write_json

    if options.json is not None:
        check_writable(options.json)
    if options.plots is not None:
        need_matplotlib()  # asked for: said now, not after hours
    out = Path(options.out)
    if options.summary_only:
        protocol = read_protocol(options.protocol, quick=options.quick)
    else:
        protocol = run_protocol(options.protocol, options.data, out, jobs=options.jobs or 1, quick=options.quick)
    measured = measure(protocol, out, options.bootstrap)
    if not measured:
        raise UnmaskError(out, f"holds no finished run of {protocol.name}")
    summary = summarise(protocol, measured)
    if protocol.best and protocol.claim == "report":
        summary["evidence"] = evidence(summary)
    write_json(options.json or out / "summary.json", summary)
    print_table(render(summary))
    if (best := render_best(summary)) is not None:
        print_table(best)
    try:
        need_matplotlib()
        tables = Tests(protocol, Path(options.data), out / "cache").tables() if options.data else {}
        write_page(protocol, tables, out, summary, measured, None if options.plots is None else Path(options.plots))
    except UnmaskError as error:  # the numbers are there: they do not depend on being drawn
        complain(f"no page: {error}")
    return 0
