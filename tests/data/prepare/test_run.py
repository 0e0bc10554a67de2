"""Runs over a data set: nothing lost and nothing twice, whoever stops them, and a report that says it all."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest

from tests.data.prepare import clips
from tests.data.prepare.clips import clip_of, index_of
from unmask.cli import main
from unmask.data import FaceTable
from unmask.data.layouts import Index
from unmask.data.prepare import PrepareRecipe, prepare, run
from unmask.errors import UnmaskError
from unmask.faces import CropRecipe
from unmask.parts import Parts, Shard

_RECIPE = PrepareRecipe(frames=2, crop=CropRecipe(size=64))


def _here(make: Callable[[], Any], items: Iterable[Any], workers: int, timeout: float | None) -> Iterator[Any]:
    """The work in this process, where a test need not wait for others to start."""
    do = make()
    for item in items:
        yield item, do(item)


def _rows(out: Path) -> Counter[tuple[str, int]]:
    table = FaceTable.read(out)
    return Counter(zip(table.video.tolist(), table.frame.tolist(), strict=True))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Four clips with a face, one without, one that is broken."""
    folder = tmp_path_factory.mktemp("few")
    good = [clip_of(clips.with_face(folder / f"clip{i}.mp4"), split="train" if i else "test") for i in range(4)]
    return index_of(
        *good, clip_of(clips.without_face(folder / "empty.mp4")), clip_of(clips.sound_only(folder / "sound.mp4"))
    )


_EXPECTED = Counter({(f"clip{i}", frame): 1 for i in range(4) for frame in (1, 3)})


def test_a_run_and_its_report(few: Index, tmp_path: Path) -> None:
    told = []
    report = prepare(few, tmp_path, _RECIPE, workers=1, executor=_here, progress=lambda *each: told.append(each[:2]))
    assert _rows(tmp_path) == _EXPECTED
    assert (report.clips, report.done, report.without_face, report.broken, report.to_do) == (6, 4, 1, 1, 0)
    assert (report.rows, report.frames, report.clips_now, report.rows_now) == (8, 10, 6, 8)
    assert told == [(i, 6) for i in range(1, 7)]
    assert {entry["clip"]: entry["reason"].split("/")[-1] for entry in report.reasons} == {
        "made/real/c23/empty": "empty.mp4: no face in 2 frames",
        "made/real/c23/sound": "sound.mp4: has sound but no picture",
    }
    assert [(count["split"], count["clips"], count["rows"]) for count in report.counts] == [
        ("test", 1, 2),
        ("train", 5, 6),
    ]
    assert json.loads((tmp_path / "_report.json").read_text()) == report.to_json()
    # Any reader takes the folder as one table.
    assert pyarrow.dataset.dataset(tmp_path, format="parquet").count_rows() == 8
    assert {path.suffix for path in tmp_path.iterdir() if path.name[0] not in "._"} == {".parquet"}


def test_going_on_does_nothing_twice_and_retry_only_what_failed(few: Index, tmp_path: Path) -> None:
    assert prepare(few, tmp_path, _RECIPE, workers=1, executor=_here, limit=3).clips_now == 3
    assert prepare(few, tmp_path, _RECIPE, workers=1, executor=_here).clips_now == 3
    again = prepare(few, tmp_path, _RECIPE, workers=1, executor=_here)
    assert (again.clips_now, again.rows) == (0, 8)
    tried = []
    prepare(few, tmp_path, _RECIPE, workers=1, executor=_here, retry=True, progress=lambda *e: tried.append(e[2].video))
    assert tried == ["empty", "sound"]
    assert _rows(tmp_path) == _EXPECTED


def test_retry_brings_in_what_was_mended(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    index = index_of(clip_of(path))
    assert prepare(index, tmp_path / "out", _RECIPE, workers=1, executor=_here).broken == 1
    clips.with_face(path)
    report = prepare(index, tmp_path / "out", _RECIPE, workers=1, executor=_here, retry=True)
    assert (report.broken, report.done, report.reasons) == (0, 1, [])
    assert _rows(tmp_path / "out") == Counter({("late", 1): 1, ("late", 3): 1})


def test_shards_make_one_table(few: Index, tmp_path: Path) -> None:
    first, second = (
        prepare(few, tmp_path, _RECIPE, workers=1, executor=_here, shard=Shard(index, 2)) for index in range(2)
    )
    assert first.to_do > 0
    assert (first.clips_now + second.clips_now, second.to_do) == (6, 0)
    assert _rows(tmp_path) == _EXPECTED


def test_splits_and_limits(few: Index, tmp_path: Path) -> None:
    report = prepare(few, tmp_path, _RECIPE, workers=1, executor=_here, split="test")
    assert (report.clips, report.rows) == (1, 2)
    with pytest.raises(UnmaskError, match=r"split 'val': no clip is of it; there are test, train"):
        prepare(few, tmp_path, _RECIPE, split="val")
    chosen = [{clip.key for clip in run._selected(few, None, limit)} for limit in range(1, 7)]
    assert [len(keys) for keys in chosen] == [1, 2, 3, 4, 5, 6]
    assert all(small < large for small, large in itertools.pairwise(chosen))


def test_two_recipes_do_not_mix(few: Index, tmp_path: Path) -> None:
    prepare(few, tmp_path, _RECIPE, workers=1, executor=_here, limit=1)
    with pytest.raises(UnmaskError, match="was made with frames 2, not 5: use the same options or another folder"):
        prepare(few, tmp_path, PrepareRecipe(frames=5, crop=CropRecipe(size=64)))


def test_two_runs_on_one_folder(few: Index, tmp_path: Path) -> None:
    with Parts(tmp_path, run.SCHEMA), pytest.raises(UnmaskError, match="another run is at shard 0/1 here"):
        prepare(few, tmp_path, _RECIPE, workers=1, executor=_here)


def test_what_was_done_before_an_interruption_stays(few: Index, tmp_path: Path) -> None:
    def interrupt(done: int, *_: object) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(few, tmp_path, _RECIPE, workers=1, executor=_here, progress=interrupt)
    assert json.loads((tmp_path / "_report.json").read_text())["to_do"] == 3
    assert prepare(few, tmp_path, _RECIPE, workers=1, executor=_here).clips_now == 3
    assert _rows(tmp_path) == _EXPECTED


_SCRIPT = """
import sys
from unmask.data.layouts import read_layout
from unmask.data.prepare import PrepareRecipe, prepare, run
from unmask.faces import CropRecipe
{before}
if __name__ == "__main__":
    index = read_layout("folders", sys.argv[1])
    prepare(index, sys.argv[2], PrepareRecipe(frames=2, crop=CropRecipe(size=64)), workers=1)
"""


def _start(folder: Path, before: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(_SCRIPT.format(before=before))
    command = [sys.executable, str(script), str(folder / "src"), str(folder / "out")]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_goes_on_without_a_lost_or_doubled_row(tmp_path: Path) -> None:
    for i in range(12):
        clips.with_face(tmp_path / "src" / "real" / f"clip{i:02}.mp4", 2)
    process = _start(tmp_path, "run.PART_CLIPS = 2")
    end = time.monotonic() + 120
    while not list((tmp_path / "out").glob("part-*.parquet")) and time.monotonic() < end:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = _rows(tmp_path / "out")
    assert before
    assert max(before.values()) == 1
    assert not (tmp_path / "out" / "_report.json").exists()
    code = main(["prepare", "folders", str(tmp_path / "src"), str(tmp_path / "out"), "--frames", "2", "--size", "64"])
    assert code == 0
    after = _rows(tmp_path / "out")
    assert len(after) == 24
    assert set(after.values()) == {1}
    assert json.loads((tmp_path / "out" / "_report.json").read_text())["clips_now"] == 12 - len(before) // 2


def test_a_full_disk_is_named_and_what_is_written_stays(tmp_path: Path) -> None:
    for i in range(2):
        clips.with_face(tmp_path / "src" / "real" / f"clip{i}.mp4", 2)
    full = "import resource\nrun.PART_CLIPS = 1\nresource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    process = _start(tmp_path, full)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.splitlines()[-1].endswith("part-0-of-1-000000.parquet: cannot be written: File too large")
    assert not list((tmp_path / "out").glob("*.parquet"))
    assert (
        main(["prepare", "folders", str(tmp_path / "src"), str(tmp_path / "out"), "--frames", "2", "--size", "64"]) == 0
    )
    assert len(_rows(tmp_path / "out")) == 4


def test_the_command_on_a_tree_with_everything_that_can_be_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    src, out = tmp_path / "src", tmp_path / "out"
    clips.with_face(src / "real" / "ein Bär 熊.mp4")
    clips.lying(src / "fake" / "swap" / "lying.mp4")
    clips.encode(src / "fake" / "swap" / "ten.mp4", [clips.crowd(5, 2)] * 2)
    clips.without_face(src / "real" / "empty.mp4")
    clips.sound_only(src / "real" / "song.mp4")
    clips.cut_off(src / "real" / "cut.mp4")
    command = ["prepare", "folders", str(src), str(out), "--frames", "2", "--people", "all", "--workers", "2"]
    assert main([*command, "--min-face", "20", "--json", str(tmp_path / "report.json")]) == 1
    printed = capsys.readouterr()
    assert (tmp_path / "report.json").read_text() == (out / "_report.json").read_text()
    assert "6 clips: 3 done, 1 without a face, 2 broken; 24 faces in" in printed.out
    assert f"without a face: {src}/real/empty.mp4: no face in 2 frames" in printed.out
    assert f"unmask: {src}/real/song.mp4: has sound but no picture\n" in printed.err
    assert f"unmask: {src}/real/cut.mp4: " in printed.err
    assert len(printed.err.splitlines()) == 2
    table = FaceTable.read(out)
    assert Counter(zip(table.fake.tolist(), table.method.tolist(), strict=True)) == {
        (False, "real"): 2,
        (True, "swap"): 22,
    }


def test_a_name_cannot_break_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    src, out = tmp_path / "src", tmp_path / "out"
    clips.with_face(src / "fake" / "[red]x" / "clip.mp4", 1)
    empty = clips.without_face(src / "real" / "empty.mp4")
    empty.replace(empty.with_name("\x1b[31m\udcff.mp4"))
    assert main(["prepare", "folders", str(src), str(out), "--frames", "1", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"without a face: {src}/real/\\x1b[31m\\udcff.mp4: no face in" in printed
    assert " [red]x " in printed
    assert "2 clips: 1 done, 1 without a face" in printed


def test_progress_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unmask.commands import prepare as command

    monkeypatch.setattr(command, "LOG_SECONDS", 0.0)
    for label in ("real", "fake"):
        clips.with_face(tmp_path / "src" / label / "clip.mp4", 1)
    assert main(["prepare", "folders", str(tmp_path / "src"), str(tmp_path / "out"), "--workers", "1"]) == 0
    assert capsys.readouterr().err == "1 of 2 clips, about 0 minutes left\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["folders"], "prepare: needs LAYOUT, SRC and OUT"),
        (["no-layout", ".", "OUT"], "layout 'no-layout': expected one of"),
        (["folders", "nowhere", "OUT"], "nowhere: no such file or folder"),
        (["folders", "SRC", "OUT", "--shard", "2/2"], "prepare: a shard is i/n with 0 <= i < n"),
        (["folders", "SRC", "OUT", "--margin", "0"], "prepare: margin must be in"),
        (["folders", "SRC", "OUT", "--shift-y", "2"], "prepare: shift_y must be in"),
        (["folders", "SRC", "OUT", "--rate", "-1"], "prepare: rate must be above 0"),
        (["folders", "SRC", "OUT", "--hwaccel", "abacus"], "hwaccel abacus: not known to this PyAV"),
        (["folders", "SRC", "FILE/out"], "FILE/out: the folder cannot be made"),
    ],
)
def test_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    (tmp_path / "FILE").touch()
    clips.with_face(tmp_path / "SRC" / "real" / "a.mp4", 1)
    names = {"SRC", "OUT", "FILE/out"}
    assert main(["prepare", *(str(tmp_path / each) if each in names else each for each in arguments)]) == 2
    assert said in capsys.readouterr().err


def test_a_few_of_the_shared_clips(tmp_path: Path) -> None:
    source = Path(os.environ.get("UNMASK_SHARED", Path(__file__).parents[4] / "shared")) / "data" / "ffpp"
    if not source.is_dir():
        pytest.skip(f"no FF++ clips in {source}")
    from unmask.data.layouts import read_layout

    report = prepare(read_layout("ffpp", source), tmp_path, PrepareRecipe(frames=1), workers=1, executor=_here, limit=2)
    assert (report.done, report.rows) == (2, 2)
