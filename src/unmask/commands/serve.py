"""``unmask serve``: judge what is uploaded, for people on a page and for programs."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

from unmask.commands.terminal import complain, positive
from unmask.errors import UnmaskError

TOKEN = "UNMASK_TOKEN"
_SHORTEST_TOKEN = 16
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def add(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="a page and an API for uploads",
        description="Serve a page and an HTTP API that judge uploaded images and videos.",
        epilog=f"A token may also stand in the environment variable {TOKEN}. See docs/server.md.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=_port, default=8000, help="port to listen on, 0 for any free one (default: 8000)")
    serve.add_argument("--detector", default="default", metavar="D", help="folder of a detector (default: bundled)")
    serve.add_argument("--data", metavar="DIR", help="folder for uploads and results (default: below ~/.local)")
    serve.add_argument(
        "--token-file", metavar="FILE", help="file with tokens, one per line; each of them grants access"
    )
    serve.add_argument("--insecure", action="store_true", help="let everybody on the network in without a token")
    serve.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name under which the server is reached, such as behind a proxy; may be given again",
    )
    limits = serve.add_argument_group("limits")
    limits.add_argument("--workers", type=positive, default=1, metavar="N", help="jobs at a time (default: 1)")
    limits.add_argument("--queue", type=positive, default=32, metavar="N", help="jobs that may wait (default: 32)")
    limits.add_argument("--max-size", type=size, default="1G", metavar="SIZE", help="largest upload (default: 1G)")
    limits.add_argument(
        "--max-pixels", type=positive, default=100_000_000, metavar="N", help="largest picture (default: 100000000)"
    )
    limits.add_argument(
        "--max-duration", type=seconds, default="2h", metavar="TIME", help="longest video (default: 2h)"
    )
    limits.add_argument(
        "--timeout", type=seconds, default="10m", metavar="TIME", help="longest a job may take (default: 10m)"
    )
    limits.add_argument("--memory", type=size, default="2G", metavar="SIZE", help="most a job may use (default: 2G)")
    limits.add_argument(
        "--keep", type=seconds, default="1h", metavar="TIME", help="how long results are kept (default: 1h)"
    )
    limits.add_argument(
        "--keep-at-most",
        type=positive,
        default=1000,
        metavar="N",
        help="most results kept; the oldest go first (default: 1000)",
    )
    serve.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UnmaskError("serve", f"needs {error.name}: pip install 'unmask[server]'") from error
    from unmask.server import Settings
    from unmask.server.run import serve
    from unmask.server.settings import default_folder

    found = tokens(options.token_file)
    if not found and not _is_loopback(options.host):
        if not options.insecure:
            reason = "everybody on the network could use it; give a --token-file, or --insecure if that is meant"
            raise UnmaskError(f"--host {options.host}", reason)
        complain(f"{options.host} is open to everybody on the network, without a token")
    if sys.platform != "linux":
        complain("memory of a job is not limited on this system")
    settings = Settings(
        detector=options.detector,
        folder=default_folder() if options.data is None else Path(options.data),
        tokens=found,
        hosts=tuple(options.allow_host),
        workers=options.workers,
        queue=options.queue,
        max_bytes=options.max_size,
        max_pixels=options.max_pixels,
        max_duration=options.max_duration,
        timeout=options.timeout,
        memory=options.memory,
        keep=options.keep,
        keep_at_most=options.keep_at_most,
    )
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listening = socket.create_server((options.host, options.port), family=family, backlog=512)
    except OSError as error:
        reason = str(error.strerror).partition(" (while ")[0]  # Python adds the address to the text of the system
        raise UnmaskError(f"{options.host}:{options.port}", f"cannot listen there ({reason})") from error
    with listening:
        serve(settings, listening)
    return 0


def tokens(path: str | None) -> tuple[str, ...]:
    """The tokens in a file and in the environment.

    Raises:
        UnmaskError: the file cannot be read or holds none, or a token is so short that it can be guessed.
    """
    found = {TOKEN: [os.environ[TOKEN].strip()]} if TOKEN in os.environ else {}
    if path is not None:
        try:
            found[path] = Path(path).read_text(encoding="utf-8-sig").split()  # editors on Windows put a mark before it
        except (OSError, ValueError) as error:
            raise UnmaskError(path, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
        if not found[path]:
            raise UnmaskError(path, "holds no token")
    for where, held in found.items():
        if any(len(token) < _SHORTEST_TOKEN for token in held):
            raise UnmaskError(where, f"a token needs at least {_SHORTEST_TOKEN} characters")
    return tuple(token for held in found.values() for token in held)


def size(text: str) -> int:
    """Bytes: ``500M``, ``1.5G``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", text.strip(), re.IGNORECASE)
    if not found or not (value := int(float(found[1]) * _UNITS[found[2].upper()])):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 500M or 2G")
    return value


def seconds(text: str) -> float:
    """Seconds: ``90``, ``30s``, ``10m``, ``2h``, ``7d``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not found or not (value := float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 30s, 10m or 2h")
    return value


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
