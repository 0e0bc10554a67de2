"""Archive runs: every file once, whatever happens."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.clips import portrait, write_image
from tests.detectors import make_detector
from unmask.cli import main
from unmask.detection.archive import SCHEMA, Judged, _Done, detect_archive
from unmask.detection.archive_summary import summarise_archive
from unmask.errors import UnmaskError
from unmask.parts import Parts, Shard
from unmask.printing import counted
from unmask.workers import WorkerDied, work


@pytest.fixture
def archive(tmp_path: Path, clip: Path) -> Path:
    """Five images, one clip, one broken file, in nested folders with odd names."""
    folder = tmp_path / "archive"
    (folder / "sub folder é").mkdir(parents=True)
    for number in range(5):
        write_image(folder / f"sub folder é/{number}.png", portrait(224 + number))
    shutil.copy(clip, folder / "clip.mp4")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def _rows(out: Path) -> list[dict[str, object]]:
    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_one_command_judges_a_folder_and_a_second_one_nothing(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.parquet"
    command = [
        "detect",
        str(archive),
        "--detector",
        "default",
        "--out",
        str(out),
        "--workers",
        "2",
        "--frames",
        "3",
    ]
    assert main(command) == 1  # one file is broken
    rows = _rows(out)
    assert len(rows) == 7
    by_name = {Path(str(row["path"])).name: row for row in rows}
    assert by_name["broken.jpg"]["verdict"] is None
    assert "not an image or video" in str(by_name["broken.jpg"]["error"])
    assert by_name["clip.mp4"]["kind"] == "video"
    for name in ("0.png", "clip.mp4"):
        answer = json.loads(str(by_name[name]["detection"]))
        assert (answer["verdict"], answer["score"]) == (by_name[name]["verdict"], by_name[name]["score"])
        assert answer["path"].endswith(name)
    summary = json.loads((out / "_summary.json").read_text())
    assert summary["files"] == 7
    assert summary["verdicts"]["not judged"] == 1
    assert sum(summary["histogram"]) == 6
    assert summary["made_with"]["detector"].startswith("default ")
    page = (out / "_summary.html").read_text()
    assert "7 files checked" in page
    assert f"judged by {summary['made_with']['detector']}, 3 frames of a video" in page
    assert "sub folder é/0.png" in page

    write_image(archive / "new.png", portrait(200))
    assert main(command) == 1
    assert "1 file judged now, 8 in" in capsys.readouterr().out
    # The folder is a data set to others, whatever else lies in it.
    assert ds.dataset(out).count_rows() == 8
    assert sorted(pq.read_table(out, columns=["path"]).column("path").to_pylist()) == sorted(
        str(row["path"]) for row in _rows(out)
    )


def test_what_changed_and_what_failed_is_judged_again(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = [str(archive / "sub folder é/0.png"), str(archive / "broken.jpg")]

    def run(**options: object) -> int:
        return detect_archive(paths, out, "default", **options).files  # type: ignore[arg-type]

    assert run() == 2
    assert run() == 0
    assert run(retry=True) == 1  # the broken one
    write_image(archive / "broken.jpg", portrait(180), format="PNG")
    assert run() == 1
    assert len(_rows(out)) == 4
    # Of each file the latest row counts.
    summary = summarise_archive(out)
    assert summary["files"] == 2
    assert summary["errors"] == {}
    with pytest.raises(UnmaskError, match="was made with frames 32, not 4: use the same options or another folder"):
        run(frames=4)


def test_a_file_that_grew_while_it_was_judged_is_judged_again(archive: Path, tmp_path: Path) -> None:
    path, out = archive / "half.png", tmp_path / "out"
    write_image(path, portrait(160))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    def copying(*arguments: Any) -> Iterator[tuple[str, Any]]:
        for answer in work(*arguments):
            path.write_bytes(whole)  # the copy is complete a moment after it was read
            yield answer

    assert detect_archive([str(path)], out, executor=copying).files == 1
    assert detect_archive([str(path)], out).files == 1
    assert [row["error"] is None for row in _rows(out)] == [False, True]
    assert detect_archive([str(path)], out).files == 0


def test_a_million_files_done_are_eight_bytes_each(tmp_path: Path) -> None:
    keys = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(100_000)]
    with Parts(tmp_path, SCHEMA, items=50_000) as parts:
        for number, key in enumerate(keys):
            parts.add(key, [], number % 2)
    done = _Done(tmp_path, retry=False)
    assert done._judged.nbytes + done._failed.nbytes == 8 * len(keys)
    assert all(key in done for key in keys[:100])
    assert "0123456789abcdef" not in done
    failed = _Done(tmp_path, retry=True)
    assert keys[0] in failed
    assert keys[1] not in failed
    assert [done.failed(key) for key in keys[:3]] == [False, True, False]


def test_a_file_that_ends_its_process_costs_itself(archive: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(archive.rglob("*.png"))]

    def executor(
        make: object, items: Iterable[str], workers: int, timeout: float | None
    ) -> Iterator[tuple[str, object]]:
        return work(functools.partial(_crashing, paths[1]), items, workers, timeout)

    assert detect_archive(paths, tmp_path / "out", "default", executor=executor).files == 5
    errors = {str(row["path"]): row["error"] for row in _rows(tmp_path / "out")}
    assert errors.pop(paths[1]) == "ended the process that read it (exit code 9)"
    assert set(errors.values()) == {None}


def _crashing(path: str) -> Callable[[str], dict[str, object]]:
    def judge(each: str) -> dict[str, object]:
        if each == path:
            os._exit(9)
        return {"path": each, "error": None, "judged": 0}

    return judge


def test_shards_share_the_files_out(archive: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(archive.rglob("*.png"))]
    counts = [detect_archive(paths, tmp_path / "out", "default", shard=Shard(index, 2)).files for index in range(2)]
    assert sum(counts) == 5
    assert sorted(str(row["path"]) for row in _rows(tmp_path / "out")) == paths
    again = [detect_archive(paths, tmp_path / "out", "default", shard=Shard(index, 2)).files for index in range(2)]
    assert again == [0, 0]


#: Parts of one file, so that the kill falls between parts; and after two it waits for its end, however late that is.
_TO_BE_KILLED = """
import itertools, sys, time
from unmask.detection import archive
from unmask.workers import work
def two(*arguments):
    yield from itertools.islice(work(*arguments), 2)
    time.sleep(600)
if __name__ == "__main__":
    archive.PART_FILES = 1
    archive.detect_archive(sys.argv[3:], sys.argv[1], sys.argv[2], executor=two)
"""


def test_a_killed_run_goes_on_and_judges_nothing_twice(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = [str(path) for path in sorted(archive.rglob("*.png"))]
    script = tmp_path / "run.py"
    script.write_text(_TO_BE_KILLED)
    process = subprocess.Popen([sys.executable, str(script), str(out), "default", *paths], start_new_session=True)
    while not list(out.glob("part-*.parquet")):
        assert process.poll() is None
        time.sleep(0.02)
    with pytest.raises(UnmaskError, match="another run is at shard 0/1 here"):
        detect_archive(paths, out, "default")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {str(row["path"]) for row in _rows(out)}
    assert detect_archive(paths, out, "default").files == len(paths) - len(before)
    assert sorted(str(row["path"]) for row in _rows(out)) == paths


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    write_image(tmp_path / "a.png", portrait(160))
    (tmp_path / "a.png").replace(path)
    assert detect_archive([path], tmp_path / "out", "default").files == 1
    assert detect_archive([path], tmp_path / "out", "default").files == 0


def test_the_exit_code_is_of_the_files_that_are_meant(
    archive: Path, light: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("sub folder é/0.png", "broken.jpg"):
        (folder / Path(name).name).write_bytes((archive / name).read_bytes())
    command = ["detect", str(folder), "--out", str(tmp_path / "out"), "--detector", str(light)]
    assert main(command) == 1
    assert "broken.jpg: " in capsys.readouterr().err
    assert main(command) == 1
    assert capsys.readouterr().err == (
        "unmask: 1 file could not be judged earlier: see _summary.html, or add --retry\n"
    )
    assert main([*command, "--retry"]) == 1
    (folder / "broken.jpg").unlink()
    assert main(command) == 0


def test_an_interrupted_run_says_how_far_it_came(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "unmask", "detect", str(archive), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    assert "broken.jpg" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)  # to the workers, too, as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    done = counted(len(_rows(out)), "file")
    assert said == f"unmask: interrupted: {done} judged now; the same command goes on from there\n"


def test_what_a_retry_repaired_has_not_failed(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = str(archive / "sub folder é/0.png"), tmp_path / "out"

    def broken(make: object, paths: Iterable[str], *_: object) -> Iterator[tuple[str, WorkerDied]]:
        yield from ((each, WorkerDied("out of memory")) for each in paths)

    assert detect_archive([path], out, executor=broken) == Judged(1, 1, 0)
    assert detect_archive([path], out) == Judged(0, 0, 1)
    assert detect_archive([path], out, retry=True) == Judged(1, 0, 0)
    assert detect_archive([path], out) == Judged(0, 0, 0)


def test_what_cannot_be_done_is_said(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--shard", "0/2"],
        ["--out", str(tmp_path / "o"), "--shard", "2/2"],
        ["--out", str(tmp_path / "o"), "--shard", "one"],
        ["--out", str(tmp_path / "o"), "--json", str(tmp_path / "j")],
        ["--out", str(archive / "broken.jpg")],
        ["--out", str(tmp_path / "o"), "--detector", str(tmp_path / "nobody")],
    ):
        assert main(["detect", str(archive), *arguments]) == 2
    said = capsys.readouterr().err
    assert "a shard is i/n" in said
    assert "nobody" in said


def test_results_of_another_calibration_are_refused(archive: Path, tmp_path: Path) -> None:
    out, detector = tmp_path / "o", make_detector(tmp_path / "detector", backbone="test_efficientnet")
    detect_archive([str(archive / "broken.jpg")], out, detector=str(detector))
    card = json.loads((detector / "card.json").read_text())
    card["uncertain"] = [0.1, 0.2]
    (detector / "card.json").write_text(json.dumps(card))
    with pytest.raises(UnmaskError, match="calibration"):
        detect_archive([str(archive / "broken.jpg")], out, detector=str(detector))
    card["results"] = {"int8": {}}
    (detector / "card.json").write_text(json.dumps(card))
    with pytest.raises(UnmaskError, match="numbers float, not int8"):
        detect_archive([str(archive / "broken.jpg")], out, detector=str(detector))


def test_parts_of_two_detectors_in_one_folder_are_refused(archive: Path, tmp_path: Path) -> None:
    path, detector = str(archive / "broken.jpg"), str(make_detector(tmp_path / "other", backbone="test_efficientnet"))
    detect_archive([path], tmp_path / "here")
    for index in range(2):
        detect_archive([path], tmp_path / "there", detector=detector, shard=Shard(index, 2))
    (moved,) = (tmp_path / "there").glob("part-*")
    moved.rename(tmp_path / "here" / moved.name)
    reason = rf"here/{moved.name}: was made with .*detector .*, not .*weights [0-9a-f]{{64}}, not [0-9a-f]{{64}}"
    with pytest.raises(UnmaskError, match=reason):
        detect_archive([path], tmp_path / "here")
