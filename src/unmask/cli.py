"""The command ``unmask``: parse, call, print.

Exit codes: 0 all done, 1 some inputs failed (each is named on stderr, the rest are done), 2 the command
itself cannot be done (wrong option, unusable detector, output that cannot be written), 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import unmask
from unmask.commands import COMMANDS
from unmask.commands.terminal import FAILED, INTERRUPTED, USAGE, complain
from unmask.errors import UnmaskError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (bad options raise ``SystemExit``, as argparse does)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except UnmaskError as error:
        complain(error)
        return USAGE
    except KeyboardInterrupt:
        complain("interrupted")
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
    for command in COMMANDS:
        command.add(commands)
    return parser
