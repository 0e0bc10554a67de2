"""``unmask detect PATH... --out DIR``: archives of any size, resumed, shared out over processes and machines."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unmask.commands.inputs import inputs
from unmask.commands.terminal import FAILED, INTERRUPTED, add_executor, complain, executor, positive, progress
from unmask.cores import cores
from unmask.errors import UnmaskError
from unmask.printing import counted, printable

#: Where nobody is looking now but somebody may read it later, a line every so often.
LOG_SECONDS = 60.0


def add(detect: argparse.ArgumentParser) -> None:
    archive = detect.add_argument_group(
        "archives",
        "With --out: many files, judged in worker processes. A stopped run goes on if the command is given again.",
    )
    archive.add_argument(
        "--out", metavar="DIR", help="folder of Parquet parts, one row a file; files that it holds are not judged again"
    )
    archive.add_argument("--shard", metavar="i/n", help="only share i of n of the files, i from 0 to n-1")
    archive.add_argument("--retry", action="store_true", help="judge files again that had an error before")
    archive.add_argument("--workers", type=positive, metavar="N", help="worker processes (default: one per core)")
    archive.add_argument("--timeout", type=positive, metavar="S", help="most seconds for one file (default: 600)")
    add_executor(archive)


def run(options: argparse.Namespace) -> int:
    from unmask.detection.archive import detect_archive
    from unmask.detection.archive_summary import render_summary, summarise_archive
    from unmask.parts import Shard
    from unmask.writing import write_json, write_text

    if options.json is not None or options.report is not None:
        raise UnmaskError("--out", "writes its own summary: leave out --json and --report")
    try:
        shard = None if options.shard is None else Shard.parse(options.shard)
    except ValueError as error:
        raise UnmaskError("--shard", str(error)) from error
    failed, said, done = False, time.monotonic(), 0

    def paths() -> Iterator[str]:
        nonlocal failed
        for path, reason in inputs(options.paths):
            if reason is None:
                yield path
            else:
                complain(f"{path}: {reason}")
                failed = True

    with progress() as show:
        # Where somebody watches, the files are counted first: names only, which is quick beside judging them.
        total = None if show is None else sum(reason is None for _, reason in inputs(options.paths, quiet=True))

        def tell(looked_at: int, row: dict[str, Any]) -> None:
            nonlocal said, done
            done += 1
            if row["error"] is not None:
                complain(f"{row['path']}: {row['error']}")
            if show is not None and total is not None:
                show(options.out, looked_at, total)
            elif time.monotonic() - said > LOG_SECONDS:
                said = time.monotonic()
                print(f"looked at {counted(looked_at, 'file')}", file=sys.stderr, flush=True)

        try:
            judged = detect_archive(
                paths(),
                options.out,
                options.detector,
                frames=options.frames,
                runtime=options.runtime,
                shard=shard,
                workers=options.workers or cores(),
                timeout=options.timeout or 600,
                retry=options.retry,
                progress=tell,
                **executor(options.ray),
            )
        except KeyboardInterrupt:
            complain(f"interrupted: {counted(done, 'file')} judged now; the same command goes on from there")
            return INTERRUPTED
    out = Path(options.out)
    summary = summarise_archive(out)
    # Names that Parquet readers leave out when they read the folder.
    write_json(out / "_summary.json", summary)
    write_text(out / "_summary.html", render_summary(summary, printable(options.out)))
    tally = ", ".join(f"{count:,} {verdict}" for verdict, count in summary["verdicts"].items())
    if judged.failed_before:
        before = counted(judged.failed_before, "file")
        complain(f"{before} could not be judged earlier: see _summary.html, or add --retry")
    now = counted(judged.files, "file")
    print(f"{now} judged now, {summary['files']:,} in {printable(options.out)}: {tally or 'none'}")
    return FAILED if failed or judged.failed or judged.failed_before else 0
