"""The same job on a real Ray with two actors, one of which is killed at work."""

from __future__ import annotations

import functools
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.prepare import clips
from tests.data.prepare.clips import clip_of, index_of
from unmask.data import FaceTable
from unmask.data.layouts import Clip
from unmask.data.prepare import PrepareRecipe, prepare
from unmask.faces import CropRecipe

pytest.importorskip("ray", reason="Ray is not installed: pip install 'unmask[ray]'")

# Ray leaves its sockets and log files to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _watched(folder: Path, make: Callable[[], Callable[[Clip], Any]]) -> Callable[[Clip], Any]:
    """Leave a note of the actor that each clip was begun by."""
    do = make()

    def watched(clip: Clip) -> Any:
        (folder / clip.video).write_text(str(os.getppid()))
        return do(clip)

    return watched


def test_an_actor_killed_at_work_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    from unmask.on_ray import work_on_ray

    actors, out = tmp_path / "actors", tmp_path / "out"
    actors.mkdir()
    index = index_of(*(clip_of(clips.with_face(tmp_path / f"clip{i}.mp4", 2)) for i in range(10)))
    killed = []

    def executor(
        make: Callable[[], Any], items: Iterable[Clip], workers: int, timeout: float | None
    ) -> Iterator[tuple[Clip, Any]]:
        for clip, answer in work_on_ray(functools.partial(_watched, actors, make), items, workers, timeout):
            if not killed:
                killed.append(int((actors / clip.video).read_text()))
                os.kill(killed[0], signal.SIGKILL)
            yield clip, answer

    recipe = PrepareRecipe(frames=2, crop=CropRecipe(size=64))
    report = prepare(index, out, recipe, workers=2, timeout=60, executor=executor)
    assert (report.done, report.broken, report.to_do) == (10, 0, 0)
    table = FaceTable.read(out)
    rows = Counter(zip(table.video.tolist(), table.frame.tolist(), strict=True))
    assert rows == Counter({(f"clip{i}", frame): 1 for i in range(10) for frame in range(2)})
    assert {int(path.read_text()) for path in actors.iterdir()} - set(killed)
