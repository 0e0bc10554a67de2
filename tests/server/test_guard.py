"""Names the server answers to, and sessions."""

from __future__ import annotations

import time

import pytest

from unmask.server import guard
from unmask.server.guard import answers_to, is_token, new_session

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
