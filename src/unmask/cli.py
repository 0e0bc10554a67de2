"""The command ``unmask``: parse, call, print.

Exit codes: 0 all done, 1 some inputs failed (each is named on stderr, the rest are done), 2 the command
itself cannot be done (wrong option, unusable detector, output that cannot be written), 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import unmask
from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from unmask.detection import Detection
    from unmask.detector import Card

FAILED = 1
USAGE = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (bad options raise ``SystemExit``, as argparse does)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except UnmaskError as error:
        _complain(error)
        return USAGE
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has left (`unmask detect ... | head`): keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


class _Command(argparse.ArgumentParser):
    """A command whose options may stand before, between and after its inputs."""

    _intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # The intermixed parser of Python 3.11 calls this method for its two passes.
        if self._intermixed:
            return super().parse_known_args(args, namespace)
        self._intermixed = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixed = False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="unmask", description=(unmask.__doc__ or "").splitlines()[0])
    parser.add_argument("--version", action="version", version=f"unmask {unmask.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Command)

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
        type=_positive,
        default=32,
        metavar="N",
        help="frames analysed of each video (default: 32)",
    )
    detect.set_defaults(run=_detect)

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
        "--bootstrap", type=_count, default=1000, metavar="N", help="resamples of the intervals, 0 for none"
    )
    evaluate.add_argument(
        "--recrop",
        action="store_true",
        help="find the face in every image and crop it by the detector's recipe",
    )
    evaluate.set_defaults(run=_evaluate)

    train = commands.add_parser(
        "train",
        help="train a detector from face tables",
        description="Train a detector by a recipe (TOML), alone or in a game against an adversary.",
        epilog="Exit code: 0 done, 2 usage, or a recipe, table or checkpoint that cannot be used.",
    )
    train.add_argument("recipe", metavar="RECIPE", help="TOML file, see recipes/")
    train.add_argument("--data", nargs="+", default=[], metavar="T", help="face tables to train on")
    train.add_argument("--validation", nargs="+", default=[], metavar="T", help="face tables to choose by")
    train.add_argument("--adversary", metavar="A", help="plain, noise, flow, blur-gradient, blur-generator, ...")
    train.add_argument("--out", default="runs/run", metavar="DIR", help="the run's folder (default: runs/run)")
    train.add_argument("--resume", action="store_true", help="go on from the folder's last checkpoint")
    train.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="any field, e.g. run.steps=500")
    train.set_defaults(run=_train)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _positive(text: str) -> int:
    if (value := _count(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _detect(options: argparse.Namespace) -> int:
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
        _complain(f"interrupted: {len(done)} input{'' if len(done) == 1 else 's'} done")
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


def _evaluate(options: argparse.Namespace) -> int:
    from unmask.writing import check_writable, write_text

    if options.json is not None:
        check_writable(options.json)

    from unmask.detector import Scorer
    from unmask.evaluation import evaluate, render

    with _progress() as progress:
        evaluation = evaluate(
            Scorer.load(options.detector),
            options.tables,
            split=options.split,
            bootstrap=options.bootstrap,
            recrop=options.recrop,
            progress=progress,
        )
    if options.json is not None:
        write_text(options.json, json.dumps(evaluation.to_json(), indent=1) + "\n")
    from rich.console import Console

    # A file or pipe has no width: nothing may be cut off there.
    Console(width=None if sys.stdout.isatty() else 200).print(render(evaluation))
    for error in evaluation.errors:
        _complain(error)
    return FAILED if evaluation.errors else 0


def _train(options: argparse.Namespace) -> int:
    import logging

    from unmask.training import read_recipe, train

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    overrides = list(options.set)
    for key, tables in (("data.train", options.data), ("data.validation", options.validation)):
        overrides += [f"{key}={json.dumps(tables)}"] if tables else []
    if options.adversary is not None:
        # The recipe's options are those of its own adversary: another one starts from its defaults.
        overrides = [f"adversary={{name={json.dumps(options.adversary)}}}", "game.play=auto", *overrides]
    folder = train(read_recipe(options.recipe, overrides), options.out, resume=options.resume)
    # Under torchrun every process comes by here; one of them speaks.
    if os.environ.get("RANK", "0") == "0":
        print(folder)
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on stderr, one task a table, where somebody is looking; else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(table: str, done: int, total: int) -> None:
            if table not in tasks:
                tasks[table] = bar.add_task(Path(table).name, total=total)
            bar.update(tasks[table], completed=done)

        yield show


def _print(detection: Detection) -> None:
    """One line as soon as it is known: the verdict on stdout, an error on stderr."""
    if detection.error is not None:
        _complain(f"{detection.path}: {detection.error}")
        return
    verdict = f"{detection.verdict:<9}"
    score = "  -  " if detection.score is None else f"{detection.score:.3f}"
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        colour = {"fake": "bold red", "real": "green", "uncertain": "yellow"}.get(str(detection.verdict), "dim")
        line = Text.assemble((verdict, colour), f"  {score}  {_printable(detection.path)}")
        Console(highlight=False).print(line, soft_wrap=True)
    else:
        print(f"{verdict}  {score}  {_printable(detection.path)}", flush=True)


def _complain(message: object) -> None:
    print(f"unmask: {_printable(str(message))}", file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """One line whatever is in a file name: control characters and undecodable bytes become escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in text
    )
