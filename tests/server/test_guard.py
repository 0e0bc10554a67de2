"""Names the server answers to, and sessions."""

from __future__ import annotations

import time

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from unmask.server import Settings, guard
from unmask.server.guard import Guard, answers_to, cookie_name, is_token, new_session
from unmask.server.metrics import Metrics

TOKENS = ("first-token-of-two", "sécond-token-of-two")


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.168.1.7", True),
        ("unmask.example", True),
        ("Unmask.Example:443", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("unmask.example.evil", False),
        ("evil.example@localhost", False),
        ("localhost/evil", False),
        ("[::1", False),
        ("", False),
        (":8000", False),
        ("localhost:port", True),
    ],
)
def test_names(host: str, known: bool) -> None:
    assert answers_to(host, ("unmask.example",)) == known


def test_tokens() -> None:
    assert all(is_token(token, TOKENS) for token in TOKENS)
    assert not any(is_token(text, TOKENS) for text in ("", "first", TOKENS[0] + " ", "\udcff"))
    assert not is_token("", ())


@pytest.mark.parametrize(("sent", "known"), [(TOKENS[0], True), (TOKENS[1], True), ("other", False), ("\udcff", False)])
def test_a_token_in_a_header(sent: str, known: bool) -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None: ...

    headers = [(b"authorization", b"Bearer " + sent.encode("utf-8", "surrogateescape"))]
    request = Request({"type": "http", "headers": headers})
    assert Guard(nothing, Settings(tokens=TOKENS), Metrics())._knows(request) is known


def test_a_session_lasts_for_a_while_and_for_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = new_session(TOKENS[1])
    assert guard._is_session(cookie, TOKENS)
    assert not guard._is_session(cookie, TOKENS[:1])
    until, _, signature = cookie.partition(".")
    for forged in (
        f"{int(until) + 1}.{signature}",
        f"{until}.{signature[:-1]}g",
        f"{until}.",
        ".",
        "",
        f"é.{signature}",
    ):
        assert not guard._is_session(forged, TOKENS)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + guard.SESSION + 1)
    assert not guard._is_session(cookie, TOKENS)


@pytest.mark.parametrize("others", ['prefs={"a":1}; ', "a=b c; ", "é=1; ", "only a name; ", ""])
def test_cookies_of_others_do_not_hide_the_session(others: str) -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None: ...

    door = Guard(nothing, Settings(tokens=TOKENS), Metrics())
    for session, known in ((new_session(TOKENS[0]), True), ("1.2", False)):
        cookie = f"{others}unmask_session={session}; last=1"
        assert door._knows(Request({"type": "http", "headers": [(b"cookie", cookie.encode("latin-1"))]})) is known


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:8001", "unmask_session_8001"),
        ("[::1]:8002", "unmask_session_8002"),
        ("[::1]", "unmask_session"),
        ("unmask.example", "unmask_session"),
        ("localhost:8;9", "unmask_session"),
    ],
)
def test_two_servers_of_a_host_have_two_sessions(host: str, name: str) -> None:
    assert cookie_name(Request({"type": "http", "headers": [(b"host", host.encode())]})) == name
