"""Who may ask: names the server answers to, requests of other sites, tokens; and what every answer says to browsers."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import time
import traceback
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unmask.server.metrics import Metrics
from unmask.server.problems import Problem
from unmask.server.settings import Settings
from unmask.server.uploads import linger

SESSION = 12 * 3600
#: What needs no token: the page itself, which shows nothing without one, and whether the server is well.
_OPEN = ("/", "/healthz", "/session", "/openapi.json")

_READING = ("GET", "HEAD", "OPTIONS")
_METHODS = (*_READING, "POST", "DELETE")

_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
#: A report carries its own style and pictures, and nothing in it runs.
REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox allow-popups"
_HEADERS = {
    "Content-Security-Policy": _PAGE,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}

_log = logging.getLogger("unmask.server")


class Guard:
    """Middleware round everything else.

    Args:
        app: what is guarded.
        settings: tokens and host names.
        metrics: where answers are counted.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, receive, send_with_headers)
            else:
                if scope["method"] not in _READING:
                    await linger(Request(scope, receive))
                    refusal.headers["Connection"] = "close"
                await refusal.response()(scope, receive, send_with_headers)
        except Exception as error:
            # Where it happened, but not the message: that may hold what somebody sent.
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("%s at %s:%s", type(error).__name__, place.filename.rpartition("/")[2], place.lineno)
            if not status:
                problem = Problem(500, "the server failed; its log says where")
                await problem.response()(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()

    def _refusal(self, scope: Scope) -> Problem | None:
        request = Request(scope)
        headers = request.headers
        host = headers.get("host", "")
        if not answers_to(host, self._settings.hosts):
            return Problem(421, "the server is not known by this name; it can be allowed with --allow-host")
        if scope["method"] not in _READING and not _same_origin(headers, host):
            return Problem(403, "requests from other sites are refused")
        path = scope["path"]
        if path in _OPEN or path.startswith("/page/") or self._knows(request):
            return None
        return Problem(401, "a token is needed", {"WWW-Authenticate": 'Bearer realm="unmask"'})

    def _knows(self, request: Request) -> bool:
        tokens = self._settings.tokens
        if not tokens:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip().encode("latin-1").decode("utf-8", "surrogateescape")  # which Starlette took for Latin-1
        if scheme.lower() == "bearer" and is_token(token, tokens):
            return True
        # Not SimpleCookie: it stops at the first cookie it cannot read, and other programs on this host set some too.
        return _is_session(request.cookies.get(cookie_name(request), ""), tokens)


def cookie_name(request: Request) -> str:
    """Of the session, another for each port: to a browser, the cookies of a host are those of all its ports."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"unmask_session_{port}" if port.isascii() and port.isdecimal() else "unmask_session"


def is_token(text: str, tokens: tuple[str, ...]) -> bool:
    """Whether it is one of them, in a time that does not depend on how much of it is right."""
    given = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return True in [hmac.compare_digest(given, hashlib.sha256(token.encode()).digest()) for token in tokens]


def new_session(token: str) -> str:
    """What the cookie holds: until when it counts, signed with the token. It dies with the token."""
    until = str(int(time.time()) + SESSION)
    return f"{until}.{_signature(token, until)}"


def _is_session(cookie: str, tokens: tuple[str, ...]) -> bool:
    until, _, signature = cookie.partition(".")
    given = signature.encode()
    signed = True in [hmac.compare_digest(given, _signature(token, until).encode()) for token in tokens]
    return signed and until.isdecimal() and int(until) > time.time()


def _signature(token: str, until: str) -> str:
    return hmac.new(token.encode(), b"unmask session " + until.encode(), hashlib.sha256).hexdigest()


def answers_to(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a ``Host`` header names this server.

    A page of another site can make its own name point here (DNS rebinding) but it cannot take an address or
    ``localhost`` for its name.
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name or any(letter in host for letter in "/?#@\\ "):
        return False
    if name == "localhost" or name in {each.lower() for each in allowed}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Headers, host: str) -> bool:
    """Not a request that a page of another site made a browser send."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == host
    except ValueError:
        return False
