"""The command ``unmask``: parse, call, print.

Exit codes: 0 all done, 1 some inputs failed (each is named on stderr, the rest are done), 2 the command
itself cannot be done (wrong option, unusable detector, output that cannot be written), 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import unmask
from unmask.commands import COMMANDS
from unmask.commands.terminal import FAILED, INTERRUPTED, USAGE, complain
from unmask.errors import UnmaskError
from unmask.printing import forgiving_streams

#: Packages that a light installation lacks, and the extra that brings each.
_EXTRAS = {
    **dict.fromkeys(("numba", "safetensors", "scipy", "skimage", "sklearn", "timm", "torch", "torchvision"), "torch"),
    **dict.fromkeys(("fastapi", "prometheus_client", "python_multipart", "uvicorn"), "server"),
    "pyarrow": "archive",
    "simplejpeg": "torch",
}
#: Commands that do without torch; the others need it, whatever they miss first.
_LIGHT = ("detect", "prepare", "serve", "table")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (bad options raise ``SystemExit``, as argparse does)."""
    forgiving_streams()
    options = _parser().parse_args(_plain(sys.argv[1:] if arguments is None else arguments))
    try:
        return int(options.run(options))
    except UnmaskError as error:
        complain(error)
        return USAGE
    except ModuleNotFoundError as error:
        if (extra := _extra(error.name or "", options.run.__module__.rpartition(".")[2])) is None:
            raise
        complain(f"{error.name} is not installed; this command needs it: pip install 'unmask[{extra}]'")
        return USAGE
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has left (`unmask detect ... | head`).
        _print_no_more()
        return FAILED
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            _print_no_more()
            complain(f"what was to be written or printed could not be: {error.strerror}")
            return USAGE
        if not isinstance(error.filename, str | bytes):
            raise
        # A path that nobody can look at, wherever it was given: a traceback would end with 1, "some inputs failed".
        complain(f"{os.fsdecode(error.filename)}: {error.strerror}")
        return USAGE


def _plain(arguments: Sequence[str]) -> list[str]:
    """What follows ``--`` made paths that begin with no dash: the parser's second pass would take them for options."""
    if "--" not in arguments:
        return list(arguments)
    end = list(arguments).index("--") + 1
    return [*arguments[:end], *(f"./{each}" if each.startswith("-") else each for each in arguments[end:])]


def _print_no_more() -> None:
    """Keep Python from trying again, and complaining, at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _extra(package: str, command: str) -> str | None:
    """The extra to install for a command that misses a package; None if the package is none of ours."""
    extra = _EXTRAS.get(package.partition(".")[0])
    if extra is None or command in _LIGHT:
        return extra
    return "export" if command == "export" else "torch"


class _Command(argparse.ArgumentParser):
    """A command whose options may stand before, between and after its inputs.

    All but those of many values (``--data``, ``--set``): the inputs that follow one would be among them.
    """

    _intermixed = False

    def error(self, message: str) -> NoReturn:
        greedy = [each.option_strings[0] for each in self._actions if each.option_strings and each.nargs == "+"]
        if greedy and "are required" in message:
            message += f" (to be named before {', '.join(greedy)}: what follows these is taken for theirs)"
        super().error(message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # The intermixed parser of Python 3.11 calls this method for its two passes.
        if self._intermixed:
            return super().parse_known_args(args, namespace)
        self._intermixed = True
        try:
            found = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixed = False
        for action in self._actions:
            # As a folder it would be the current one: in a script, of a variable that is not set. (An option that may
            # stand alone, as --ray, is empty then.)
            if getattr(found[0], action.dest, None) == "" and action.const != "":
                self.error(str(argparse.ArgumentError(action, "is empty")))
        return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unmask",
        description=(unmask.__doc__ or "").splitlines()[0],
        epilog="To judge a clip: unmask detect clip.mp4 --report report.html. More on a command: unmask COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"unmask {unmask.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Command)
    for command in COMMANDS:
        command.add(commands)
    return parser
