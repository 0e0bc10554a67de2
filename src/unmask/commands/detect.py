"""``unmask detect``: judge images, videos and folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.commands import detect_archive
from unmask.commands.inputs import inputs
from unmask.commands.terminal import FAILED, INTERRUPTED, complain, positive, refuse
from unmask.errors import UnmaskError
from unmask.printing import counted, printable

if TYPE_CHECKING:
    from unmask.detection import Detection
    from unmask.detector import Card

#: The name of standard output in place of a file's.
_STDOUT = "-"


def add(commands: Any) -> None:
    detect = commands.add_parser(
        "detect",
        help="judge images, videos and folders",
        description="Judge images, videos, and those below folders. Prints a line for each: the verdict (real, fake,"
        " uncertain or no face), the score (calibrated probability that a face was manipulated) and the path.",
        epilog="Exit code: 0 all done, 1 some inputs failed (the rest are done), 2 wrong usage or unusable detector.",
    )
    detect.add_argument("paths", nargs="+", metavar="PATH", help="image, video or folder")
    detect.add_argument(
        "--detector", default="default", metavar="D", help="folder of a detector (default: the bundled one)"
    )
    detect.add_argument(
        "--json",
        metavar="FILE",
        help="write all results: a list with one object per input (-: to stdout, in place of the lines)",
    )
    detect.add_argument(
        "--report", metavar="FILE.html", help="write all results as one self-contained page with heat maps"
    )
    detect.add_argument(
        "--frames",
        type=positive,
        default=32,
        metavar="N",
        help="frames analysed of each video (default: 32)",
    )
    detect.add_argument(
        "--runtime",
        choices=["auto", "torch", "onnx"],
        default="auto",
        help="what runs the detector (default: onnx if the detector is exported and torch has no GPU, else torch)",
    )
    detect_archive.add(detect)
    detect.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.out is not None:
        return detect_archive.run(options)
    refuse(options, ("shard", "retry", "workers", "timeout", "ray"), "needs --out")

    _check_outputs(options)

    from unmask.detection import load_detector

    detector = load_detector(options.detector, runtime=options.runtime)
    done: list[Detection] = []
    code = 0
    try:
        for source, reason in inputs(options.paths):
            if reason is not None:
                detection = detector.failed(source, reason)
            else:
                detection = next(detector.detect_many([source], options.frames, options.report is not None))
            done.append(detection)
            _print(detection, lines=options.json != _STDOUT)
        code = FAILED if any(detection.error is not None for detection in done) else 0
    except KeyboardInterrupt:
        complain(f"interrupted: {counted(len(done), 'input')} done")
        code = INTERRUPTED
    finally:
        # Also when interrupted, or when nobody reads the printed lines any more: what is done is written.
        _write(options, done, detector.card)
    return code


def _check_outputs(options: argparse.Namespace) -> None:
    """Results can be written, and over nothing that is evidence.

    Raises:
        UnmaskError: one cannot, both have one name, or one is the name of an input or of a picture or film.
    """
    from unmask.faces.media import is_media
    from unmask.writing import check_writable

    json = None if options.json == _STDOUT else options.json
    given = [each for each in (json, options.report) if each is not None]
    for each in given:
        check_writable(each)  # as it was given: a Path of ./- is one of -
    outputs = [Path(each) for each in given]
    for output in outputs:
        if is_media(output) or (output.is_file() and any(_same(output, path) for path in options.paths)):
            raise UnmaskError(output, "is an input, or named as an image or video is: no result is written over it")
    if len(outputs) == 2 and (outputs[0] == outputs[1] or _same(*outputs)):
        raise UnmaskError(outputs[0], "is to be the page and the JSON file")


def _same(one: Path, other: str | Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _write(options: argparse.Namespace, done: Sequence[Detection], card: Card) -> None:
    from unmask.detection import write_report
    from unmask.writing import json_text, write_text

    try:
        if options.json is not None:
            text = json_text([each.to_json() for each in done])
            if options.json == _STDOUT:
                print(text, end="")
            else:
                write_text(options.json, text)
    finally:
        if options.report is not None:
            write_report(options.report, done, card)


def _print(detection: Detection, lines: bool) -> None:
    """What is known, as soon as it is: the verdict in a line on stdout; an error, or what it is to be taken with, on
    stderr."""
    if detection.error is not None:
        complain(f"{detection.path}: {detection.error}")
        return
    if lines:
        _print_line(detection)
    for warning in detection.warnings:
        complain(f"{detection.path}: {warning}")


def _print_line(detection: Detection) -> None:
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
