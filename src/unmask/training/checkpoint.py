"""Checkpoints from which a run goes on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from unmask.errors import UnmaskError
from unmask.writing import replacing

#: Format of the checkpoint; another one is refused rather than half understood.
FORMAT = 1


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values atomically: a kill leaves the old checkpoint or the new one, never half.

    Raises:
        UnmaskError: it cannot be written, for want of room say.
    """
    with replacing(path) as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:
            # Of a file that could not be written torch says where it stands in it, and not why.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        UnmaskError: it is missing, damaged, or of another format.
    """
    if not path.is_file():
        raise UnmaskError(path, "no checkpoint to resume from")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UnmaskError(path, f"not a readable checkpoint ({str(error).splitlines()[0]})") from error
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise UnmaskError(path, f"checkpoint of format {version}, this version reads format {FORMAT}")
    return content
