"""Start, listen, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from types import FrameType

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from unmask.server.app import create_app
from unmask.server.settings import Settings

#: Connections at a time; more are turned away at once (503).
_CONNECTIONS = 256


class _Impatient(H11Protocol):
    """Closes a connection on which nothing is asked, or not the whole head of a request is said, for so many seconds.

    Else whoever opens connections and is silent keeps all others out: uvicorn limits their number, not their time.
    """

    patience: float
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Time runs while nothing is asked and no answer is under way; of silence between two, uvicorn has its own."""
        answered = self.cycle is not None and self.cycle.response_complete  # a body may follow that nobody reads
        if self.conn.their_state is not h11.IDLE and not answered:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.patience, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


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

    class Impatient(_Impatient):
        patience = settings.idle

    config = uvicorn.Config(
        app,
        http=Impatient,
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
