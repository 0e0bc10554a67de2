"""Start, listen, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from unmask.server.app import create_app
from unmask.server.settings import Settings

#: Connections at a time; more are turned away at once (503).
_CONNECTIONS = 256


class _Server(uvicorn.Server):
    """Ends quietly on a signal, and lets clients that wait for a verdict go before it waits for connections."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.jobs.hurry()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def serve(settings: Settings, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; prints the address once uploads are taken.

    Raises:
        UnmaskError: the folder or the detector cannot be used.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("unmask.server").setLevel(logging.INFO)
    asyncio.run(_serve(settings, listening))


async def _serve(settings: Settings, listening: socket.socket) -> None:
    app = create_app(settings)
    jobs = app.state.jobs
    # Started here and not by the lifespan, whose failures end in a traceback.
    await jobs.start()
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level=logging.ERROR,
        lifespan="off",
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=round(settings.grace),
    )
    try:
        host, port = listening.getsockname()[:2]
        print(f"unmask is at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        await _Server(config).serve([listening])
    finally:
        await jobs.stop()
