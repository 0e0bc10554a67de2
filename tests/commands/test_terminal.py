"""What every command says on stderr."""

from __future__ import annotations

import io
import sys

import pytest

from unmask.commands.terminal import complain


def test_a_line_is_written_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", Stream())
    complain("a\nb")
    assert written == ["unmask: a\\nb\n"]
