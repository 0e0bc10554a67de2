"""The server: uploads in, verdicts out, and one page for people. It has no detection of its own.

A file is received to disk, put into a queue that SQLite keeps, and judged in a process that may die.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.server.settings import Settings

if TYPE_CHECKING:
    from unmask.server.app import create_app

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> Any:
    # The processes that judge come through here as well, and need no web framework.
    if name == "create_app":
        from unmask.server.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
