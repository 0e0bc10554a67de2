"""What a run writes down while it goes: JSON lines, TensorBoard where it is installed, and a progress bar."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unmask.writing import write_text


class RunLog:
    """Rank 0's account of a run, in ``log.jsonl``: one object a line, ``kind`` and ``step`` in each.

    Args:
        folder: the run's folder.
        first_step: where the run starts; lines of later steps, written before a kill, are dropped.
        steps: where it ends.
        speak: False on every rank but the first.
    """

    def __init__(self, folder: Path, first_step: int, steps: int, speak: bool) -> None:
        self.speak = speak
        self._path = folder / "log.jsonl"
        self._console = Console(stderr=True)
        self._last_line = time.monotonic()
        self._board: Any = None
        if not speak:
            return
        kept = [line for line in self._lines() if json.loads(line)["step"] <= first_step] if first_step else []
        write_text(self._path, "".join(kept))
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=steps, completed=first_step, status="")

    def _lines(self) -> list[str]:
        if not self._path.is_file():
            return []
        with self._path.open(encoding="utf-8") as file:
            # A kill may have cut the last line in the middle.
            return [line for line in file if line.endswith("\n")]

    def __enter__(self) -> Self:
        if self.speak:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.speak:
            self._progress.stop()
            if self._board is not None:
                self._board.close()

    def say(self, text: str) -> None:
        """A line to the person at the terminal; in a file it stays one line, however long."""
        if self.speak:
            self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one object to ``log.jsonl`` and its numbers to TensorBoard."""
        if not self.speak:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in _numbers(values):
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def advance(self, step: int, status: str) -> None:
        """Move the bar; where there is no terminal, a line about every minute."""
        if not self.speak:
            return
        self._progress.update(self._task, completed=step, status=status)
        if not self._console.is_terminal and time.monotonic() - self._last_line > 60:
            self._last_line = time.monotonic()
            task = self._progress.tasks[0]
            self.say(f"step {step}/{int(task.total or 0)}  {status}")


def _numbers(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found.append((prefix + name, float(value)))
    return found
