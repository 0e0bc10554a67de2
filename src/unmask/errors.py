"""The one exception a user of unmask has to catch."""

from __future__ import annotations

from os import PathLike


class UnmaskError(Exception):
    """An input cannot be used. The message is one line: what was given, and why it cannot be used.

    Args:
        subject: the file, table row or option the error is about.
        reason: what is wrong with it, in plain words.
    """

    def __init__(self, subject: str | PathLike[str], reason: str) -> None:
        self.subject = str(subject)
        self.reason = " ".join(str(reason).split())
        super().__init__(f"{self.subject}: {self.reason}")

    def __reduce__(self) -> tuple[type[UnmaskError], tuple[str, str]]:
        return type(self), (self.subject, self.reason)
