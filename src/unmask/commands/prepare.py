"""``unmask prepare``: a data set's videos and images -> a face table."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unmask.commands.prepare_check import SHOWN, check, list_layouts
from unmask.commands.terminal import FAILED, add_executor, complain, count, executor, positive, print_table, progress
from unmask.errors import UnmaskError
from unmask.printing import cell, counted, printable

if TYPE_CHECKING:
    from unmask.data.prepare import PrepareRecipe, Report

#: From one line about the progress to the next, where stderr is no terminal.
LOG_SECONDS = 60.0


def add(commands: Any) -> None:
    prepare = commands.add_parser(
        "prepare",
        help="a data set's videos or images -> a face table",
        description="Find, follow and crop the faces in the clips of a data set. Writes a face table,"
        " OUT/part-*.parquet, which can be read while it grows, and OUT/_report.json. A stopped run goes on if the"
        " command is given again.",
        epilog="Exit code: 0 all clips done (those without a face are named), 1 some cannot be used (each is named, the"
        " rest is done), 2 wrong usage. What is missing in SRC is named and does not stop the rest.",
    )
    prepare.add_argument("layout", nargs="?", metavar="LAYOUT", help="name of the data set's layout, see --list")
    prepare.add_argument("src", nargs="?", metavar="SRC", help="its folder, or the part of it that is there")
    prepare.add_argument("out", nargs="?", metavar="OUT", help="folder of the face table")
    prepare.add_argument("--list", action="store_true", help="describe the layouts, do nothing else")
    prepare.add_argument(
        "--check", action="store_true", help="only say what SRC holds and what is missing; needs no OUT"
    )
    prepare.add_argument("--json", metavar="FILE", help="also write the report as JSON, in full")

    what = prepare.add_argument_group("which clips")
    what.add_argument("--split", metavar="S", help="only clips of this split: train, val or test")
    what.add_argument("--limit", type=positive, metavar="N", help="at most N clips, drawn at random")
    what.add_argument(
        "--shard",
        metavar="i/n",
        help="only share i of n of the clips, i from 0 to n-1: one per machine, with one OUT or several",
    )
    what.add_argument("--retry", action="store_true", help="try clips again that were broken or without a face before")

    how = prepare.add_argument_group("how they become rows")
    how.add_argument("--frames", type=positive, default=32, metavar="N", help="frames taken of each clip (default: 32)")
    how.add_argument("--rate", type=float, metavar="R", help="frames per second, in place of --frames")
    how.add_argument(
        "--people",
        choices=("main", "all"),
        default="main",
        help="main: the person whom the masks show as manipulated, else the largest seen long enough; all: everybody"
        " seen long enough, but nobody in a fake whom the masks show as untouched (default: main)",
    )
    how.add_argument(
        "--margin",
        type=float,
        default=1.3,
        metavar="M",
        help="side of the crop as a multiple of the face box (default: 1.3, as in FF++)",
    )
    how.add_argument("--shift-y", type=float, default=0.0, metavar="D", help="move crops down by D times their side")
    how.add_argument("--size", type=positive, default=224, metavar="PX", help="side of the crops (default: 224)")
    how.add_argument("--align", action="store_true", help="turn faces upright, by five landmarks")
    how.add_argument(
        "--like-original",
        action="store_true",
        help="cut each fake exactly where its original is cut (decodes the original once more for each fake)",
    )
    how.add_argument(
        "--format",
        choices=("jpeg", "png"),
        default="jpeg",
        help="of the crops: JPEG of quality 95, or PNG (default: jpeg)",
    )
    how.add_argument(
        "--min-face", type=count, default=32, metavar="PX", help="leave out faces whose box is smaller (default: 32)"
    )
    how.add_argument(
        "--min-score",
        type=float,
        default=0.9,
        metavar="P",
        help="leave out faces that the face detector is less sure of (default: 0.9)",
    )
    how.add_argument(
        "--min-sharpness",
        type=float,
        default=0.0,
        metavar="V",
        help="leave out crops less sharp; a good crop has 0.2 to 0.4 (default: 0)",
    )

    where = prepare.add_argument_group("who does it")
    where.add_argument("--workers", type=positive, metavar="N", help="worker processes (default: one per core)")
    where.add_argument(
        "--timeout", type=positive, default=600, metavar="S", help="most seconds for one clip (default: 600)"
    )
    where.add_argument("--hwaccel", metavar="DEVICE", help="decode on this device: cuda, vaapi, qsv, videotoolbox, ...")
    add_executor(where)
    prepare.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.list:
        return list_layouts()
    if options.layout is None or options.src is None or (options.out is None and not options.check):
        raise UnmaskError("prepare", "needs LAYOUT, SRC and OUT (or --check, or --list)")
    if options.check:
        return check(options.layout, options.src, options.json)

    from unmask.data.layouts import read_layout
    from unmask.data.prepare import prepare
    from unmask.faces.video import check_hwaccel
    from unmask.parts import Shard
    from unmask.writing import check_writable, write_json

    try:
        recipe = _recipe(options)
        shard = Shard.parse(options.shard) if options.shard is not None else Shard()
    except ValueError as error:
        raise UnmaskError("prepare", str(error)) from error
    if options.hwaccel is not None:
        check_hwaccel(options.hwaccel)
    if options.json is not None:
        check_writable(options.json)
    index = read_layout(options.layout, options.src)
    for problem in index.problems[:SHOWN]:
        complain(problem)
    if len(index.problems) > SHOWN:
        complain(f"... {len(index.problems) - SHOWN:,} more; --check names them all")
    log = _Log()
    with progress() as show:

        def tell(done: int, todo: int, clip: Any, note: Mapping[str, Any]) -> None:
            if show is not None:
                show("clips", done, todo)
            else:
                log(done, todo)
            if note["state"] == "broken":
                complain(note["reason"])

        report = prepare(
            index,
            options.out,
            recipe,
            split=options.split,
            limit=options.limit,
            shard=shard,
            workers=options.workers,
            timeout=options.timeout,
            retry=options.retry,
            progress=tell,
            **executor(options.ray),
        )
    _print(report, options.out)
    if options.json is not None:
        write_json(options.json, report.to_json())
    return FAILED if report.broken else 0


class _Log:
    """A line a minute where nobody is looking now but somebody may read it later."""

    def __init__(self) -> None:
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, todo: int) -> None:
        now = time.monotonic()
        if now - self._said < LOG_SECONDS or done == todo:
            return
        self._said = now
        left = (now - self._started) / done * (todo - done) / 60
        print(f"{done:,} of {counted(todo, 'clip')}, about {left:,.0f} minutes left", file=sys.stderr, flush=True)


def _recipe(options: argparse.Namespace) -> PrepareRecipe:
    from unmask.data.prepare import PrepareRecipe
    from unmask.faces import CropRecipe

    return PrepareRecipe(
        frames=options.frames,
        rate=options.rate,
        people=options.people,
        crop=CropRecipe(margin=options.margin, shift_y=options.shift_y, size=options.size),
        align=options.align,
        like_original=options.like_original,
        format=options.format,
        min_face=options.min_face,
        min_score=options.min_score,
        min_sharpness=options.min_sharpness,
        hwaccel=options.hwaccel,
    )


def _print(report: Report, out: str) -> None:
    from rich.table import Table

    table = Table("data set", "method", "quality", "split", "label", box=None, pad_edge=False)
    for column in ("clips", "faces"):
        table.add_column(column, justify="right")
    for entry in report.counts:
        *names, clips, rows = entry.values()
        table.add_row(*(cell(name or "-") for name in names), f"{clips:,}", f"{rows:,}")
    print_table(table)
    for note in report.notes[:SHOWN]:
        print(f"note: {printable(note)}")
    without = [each["reason"] for each in report.reasons if each["state"] == "no face"]
    for reason in without[:SHOWN]:
        print(f"without a face: {printable(reason)}")
    if len(without) > SHOWN:
        print(f"without a face: {len(without) - SHOWN:,} more")
    for remark in report.remarks[:SHOWN]:
        print(f"remark: {printable(remark)}")
    if len(report.remarks) > SHOWN:
        print(f"remarks: {len(report.remarks) - SHOWN:,} more")
    for reason, faces in report.left_out.items():
        print(f"left out: {counted(faces, 'face')}: {printable(reason)}")
    states = f"{report.done:,} done, {report.without_face:,} without a face, {report.broken:,} broken"
    left = f", {report.to_do:,} not yet" if report.to_do else ""
    print(f"{counted(report.clips, 'clip')}: {states}{left}; {counted(report.rows, 'face')} in {printable(out)}")
    now = f"{counted(report.clips_now, 'clip')}, {counted(report.rows_now, 'face')}, {report.minutes:.1f} minutes"
    print(f"this run: {now}", flush=True)
