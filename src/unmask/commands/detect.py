"""``unmask detect``: judge images, videos and folders."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unmask.commands.terminal import FAILED, INTERRUPTED, complain, positive, printable, progress
from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from unmask.detection import Detection
    from unmask.detector import Card


def add(commands: Any) -> None:
    detect = commands.add_parser(
        "detect",
        help="judge images, videos and folders",
        description="Judge images, videos and the media files below folders. Prints verdict, score and path.",
        epilog="Exit code: 0 all done, 1 some inputs failed (the rest are done), 2 usage or bad detector.",
    )
    detect.add_argument("paths", nargs="+", metavar="PATH", help="image, video or folder")
    detect.add_argument(
        "--detector", default="default", metavar="D", help="folder of a detector (default: the bundled one)"
    )
    detect.add_argument("--json", metavar="FILE", help="write a list with one object an input")
    detect.add_argument("--report", metavar="FILE.html", help="write one self-contained page")
    detect.add_argument(
        "--frames",
        type=positive,
        default=32,
        metavar="N",
        help="frames analysed of each video (default: 32)",
    )
    archive = detect.add_argument_group(
        "archives", "With --out: many files, in processes of their own, resumed where the last run stopped."
    )
    archive.add_argument("--out", metavar="DIR", help="folder of Parquet parts; what it names is not judged again")
    archive.add_argument("--shard", metavar="i/n", help="only the i-th of n shares of the files, i from 0")
    archive.add_argument("--workers", type=positive, default=os.cpu_count() or 1, metavar="N", help="processes")
    archive.add_argument("--timeout", type=positive, default=600, metavar="S", help="seconds a file may take")
    detect.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.out is not None:
        return _archive(options)
    if options.shard is not None:
        raise UnmaskError("--shard", "needs --out")

    from unmask.writing import check_writable

    for output in (options.json, options.report):
        if output is not None:
            check_writable(output)

    from unmask.detection import load_detector

    detector = load_detector(options.detector)
    done: list[Detection] = []
    code = 0
    try:
        for source, reason in _inputs(options.paths):
            if reason is not None:
                detection = detector.failed(source, reason)
            else:
                detection = next(detector.detect_many([source], options.frames, options.report is not None))
            done.append(detection)
            _print(detection)
        code = FAILED if any(detection.error is not None for detection in done) else 0
    except KeyboardInterrupt:
        complain(f"interrupted: {len(done)} input{'' if len(done) == 1 else 's'} done")
        code = INTERRUPTED
    finally:
        # Also when interrupted, or when nobody reads the printed lines any more: what is done is written.
        _write(options, done, detector.card)
    return code


def _write(options: argparse.Namespace, done: Sequence[Detection], card: Card) -> None:
    from unmask.detection import write_report
    from unmask.writing import write_text

    try:
        if options.json is not None:
            write_text(options.json, json.dumps([each.to_json() for each in done], indent=1) + "\n")
    finally:
        if options.report is not None:
            write_report(options.report, done, card)


def _inputs(paths: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Every input once, in order, folders opened up: (path, None), or (path, why it cannot be used)."""
    from unmask.faces import find_media

    seen: set[str] = set()
    for path in paths:
        found, reason = [path], None
        if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
            try:
                found = [str(each) for each in find_media(path)]
            except (UnmaskError, OSError) as error:
                reason = error.reason if isinstance(error, UnmaskError) else f"cannot be read ({error.strerror})"
            else:
                reason = None if found else "no image or video in this folder"
        if reason is not None:
            yield path, reason
            continue
        for each in found:
            real = os.path.realpath(each)
            if real not in seen:
                seen.add(real)
                yield each, None


def _print(detection: Detection) -> None:
    """One line as soon as it is known: the verdict on stdout, an error on stderr."""
    if detection.error is not None:
        complain(f"{detection.path}: {detection.error}")
        return
    verdict = f"{detection.verdict:<9}"
    score = "  -  " if detection.score is None else f"{detection.score:.3f}"
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        colour = {"fake": "bold red", "real": "green", "uncertain": "yellow"}.get(str(detection.verdict), "dim")
        line = Text.assemble((verdict, colour), f"  {score}  {printable(detection.path)}")
        Console(highlight=False).print(line, soft_wrap=True)
    else:
        print(f"{verdict}  {score}  {printable(detection.path)}", flush=True)


def _archive(options: argparse.Namespace) -> int:
    from pathlib import Path

    from unmask.detection.archive import Shard, detect_archive, summarise_archive
    from unmask.detection.archive_page import render_summary
    from unmask.writing import write_text

    if options.json is not None or options.report is not None:
        raise UnmaskError("--out", "writes its own summary: leave out --json and --report")
    try:
        shard = None if options.shard is None else Shard.parse(options.shard)
    except ValueError as error:
        raise UnmaskError("--shard", str(error)) from error
    code, paths = 0, []
    for path, reason in _inputs(options.paths):
        if reason is None:
            paths.append(path)
        else:
            complain(f"{path}: {reason}")
            code = FAILED
    with progress() as show:
        judged = detect_archive(
            paths,
            options.out,
            options.detector,
            frames=options.frames,
            shard=shard,
            workers=options.workers,
            timeout=options.timeout,
            progress=None if show is None else lambda count, total, row: show(options.out, count, total),
        )
    out = Path(options.out)
    summary = summarise_archive(out)
    write_text(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_text(out / "summary.html", render_summary(summary, options.out))
    tally = ", ".join(f"{count} {verdict}" for verdict, count in sorted(summary["verdicts"].items()))
    print(f"{judged} files judged now, {summary['files']} in {printable(options.out)}: {tally or 'none'}")
    return FAILED if code or summary["errors"] else 0
