"""What every command shares: option types, messages on stderr, progress, exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import UnmaskError
from unmask.printing import printable

if TYPE_CHECKING:
    from rich.progress import TaskID
    from rich.table import Table

FAILED = 1
USAGE = 2
INTERRUPTED = 130


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def positive(text: str) -> int:
    if (value := count(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on stderr, one task a table, where somebody is looking; else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(table: str, done: int, total: int) -> None:
            if table not in tasks:
                tasks[table] = bar.add_task(escape(printable(Path(table).name)), total=total)
            bar.update(tasks[table], completed=done)

        yield show


def add_executor(group: Any) -> None:
    """The option whose value :func:`executor` takes."""
    group.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on the Ray cluster at ADDRESS, or without ADDRESS on a Ray of this machine (needs unmask[ray])",
    )


def executor(ray: str | None) -> dict[str, Any]:
    """Who does the work, for a function with an argument ``executor``: this machine (None), or Ray at an address."""
    if ray is None:
        return {}
    import functools

    from unmask.on_ray import work_on_ray

    return {"executor": functools.partial(work_on_ray, address=ray or None)}


def refuse(options: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    """Name an option that was given and would be passed over in silence."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise UnmaskError(f"--{name.replace('_', '-')}", reason)


def complain(message: object) -> None:
    # As one: the newline that print() writes afterwards may be lost to Ctrl-C, or stand behind another process's line.
    sys.stderr.write(f"unmask: {printable(str(message))}\n")
    sys.stderr.flush()


def failures(messages: Collection[str]) -> int:
    """Say each of them; the exit code that they lead to."""
    for message in messages:
        complain(message)
    return FAILED if messages else 0


def print_table(table: Table) -> None:
    """On stdout. A file or pipe has no width: nothing may be cut off there."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200).print(table)
