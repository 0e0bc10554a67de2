"""All clips of a data set, each once, by many processes or machines, however often the run is stopped."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unmask.cores import cores
from unmask.data.layouts.index import Clip, Index
from unmask.data.prepare.clip import Note, broken, clip_worker
from unmask.data.prepare.recipe import PrepareRecipe
from unmask.data.prepare.report import Report, make_report
from unmask.data.writer import SCHEMA
from unmask.errors import UnmaskError
from unmask.parts import Parts, Shard, check_recipe, name_bytes, read_notes
from unmask.workers import WorkerDied, work
from unmask.writing import write_json

#: In the folder of the parts: what became of the clips.
REPORT_FILE = "_report.json"

#: Clips of a part, and the seconds and bytes of rows after which one is written at the latest.
PART_CLIPS, PART_SECONDS, PART_BYTES = 512, 60.0, 64 << 20

Executor = Callable[..., Iterator[tuple[Clip, Any]]]


def prepare(
    index: Index,
    out: str | Path,
    recipe: PrepareRecipe | None = None,
    *,
    split: str | None = None,
    limit: int | None = None,
    shard: Shard | None = None,
    workers: int | None = None,
    timeout: float | None = 600.0,
    retry: bool = False,
    progress: Callable[[int, int, Clip, Note], None] | None = None,
    executor: Executor = work,
) -> Report:
    """Write the face table of a data set into a folder: what is not in it yet.

    The folder can be read as a face table at any time. A clip is in it with all of its rows or not at all, so a run
    that was killed is simply started again; shards may share the folder, or have their parts put together later.

    Args:
        index: the clips, as :func:`unmask.data.layouts.read_layout` gives them.
        out: the folder, made if it is not there.
        recipe: what is done to each clip; the defaults if none is given.
        split: only clips of this split.
        limit: only so many clips, drawn from all of them: the same on every machine, and among those of a larger
            limit.
        shard: which share of the clips; None for all.
        workers: processes, one thread each; None for one per core.
        timeout: seconds a clip may take; None for no limit.
        retry: also try clips again that were broken or without a face.
        progress: called after every clip with how many are done and are to be done in this run, the clip and the note
            on it (see :data:`unmask.data.prepare.clip.Note`).
        executor: does the work, as :func:`unmask.workers.work` does.

    Returns:
        What became of the clips of all shards, as far as this folder has it; also written as ``_report.json``.

    Raises:
        UnmaskError: no clip is left to prepare, the folder cannot be written or was made by another recipe, or another
            run is at this shard. What was written before stays.
    """
    started = time.monotonic()
    folder, recipe, shard = Path(out), recipe or PrepareRecipe(), shard or Shard()
    clips = _selected(index, split, limit)
    made = {"layout": index.layout, **recipe.to_dict()}
    count = rows_now = 0
    with Parts(folder, SCHEMA, shard, made=made, items=PART_CLIPS, seconds=PART_SECONDS, size=PART_BYTES) as parts:
        check_recipe(folder, made)
        notes = read_notes(folder, made)
        todo = [
            clip
            for clip in clips
            if shard.holds(clip.key) and (clip.key not in notes or (retry and not notes[clip.key]["rows"]))
        ]
        if recipe.like_original:
            todo = _with_originals(todo, index)
        team = min(workers or cores(), max(1, len(todo)))
        try:
            for clip, answer in executor(functools.partial(clip_worker, recipe), todo, team, timeout):
                if isinstance(answer, WorkerDied):
                    answer = [], broken(f"{clip.paths[0]}: {answer}")
                rows, note = answer
                parts.add(clip.key, rows, note)
                count, rows_now = count + 1, rows_now + len(rows)
                if progress is not None:
                    progress(count, len(todo), clip, note)
        except WorkerDied as error:
            raise UnmaskError("prepare", str(error)) from error
        except KeyboardInterrupt:
            parts.write()
            _report(folder, index, clips, made, started, (count, rows_now))
            raise
    return _report(folder, index, clips, made, started, (count, rows_now))


def _selected(index: Index, split: str | None, limit: int | None) -> list[Clip]:
    clips: Sequence[Clip] = index.clips
    if split is not None:
        clips = [clip for clip in clips if clip.split == split]
        if not clips:
            there = sorted({clip.split or "(none)" for clip in index.clips})
            raise UnmaskError(f"split {split!r}", f"no clip is of it; there are {', '.join(there) or 'none'}")
    if limit is not None:
        clips = sorted(clips, key=lambda clip: hashlib.sha256(name_bytes(clip.key)).digest())
        clips = sorted(clips[:limit], key=lambda clip: clip.key)
    if not clips:
        raise UnmaskError(f"layout {index.layout}", "there is no clip")
    return list(clips)


def _with_originals(clips: Sequence[Clip], index: Index) -> list[Clip]:
    """Each fake with what it was made from, where that is there at its quality."""
    reals = {(clip.dataset, clip.quality, clip.source): clip for clip in index.clips if clip.label == "real"}
    return [
        replace(clip, original=reals.get((clip.dataset, clip.quality, clip.source))) if clip.label == "fake" else clip
        for clip in clips
    ]


def _report(
    folder: Path, index: Index, clips: Iterable[Clip], made: dict[str, Any], started: float, now: tuple[int, int]
) -> Report:
    minutes = (time.monotonic() - started) / 60
    report = make_report(index, list(clips), read_notes(folder), made, minutes, now)
    write_json(folder / REPORT_FILE, report.to_json())
    return report
