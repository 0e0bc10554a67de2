"""`unmask detect` as it is typed: lines, files, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.clips import portrait, write_image, write_video
from tests.detectors import make_detector

from unmask.cli import main
from unmask.detection import Detector
from unmask.detector import QualityLimits

KEYS = {
    "path", "verdict", "score", "threshold", "uncertain", "kind", "width", "height", "duration", "frames",
    "frames_with_face", "tracks", "detector", "warnings", "provenance", "marks", "error",
}  # fmt: skip


@pytest.fixture
def mixed(tmp_path: Path, clip: Path) -> Path:
    """A folder with all that a folder may hold."""
    folder = tmp_path / "mixed"
    (folder / "below").mkdir(parents=True)
    write_image(folder / "a face.png", portrait())
    write_image(folder / "dot.png", np.zeros((1, 1, 3), np.uint8))
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no media")
    (folder / "no film.mkv").write_bytes(b"text" * 100)
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:900])
    (folder / "below" / "clip.mp4").write_bytes(clip.read_bytes())
    return folder


def test_a_mixed_folder_is_done_to_its_end(
    untrained: Path, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, page = tmp_path / "verdicts.json", tmp_path / "report.html"
    missing = str(tmp_path / "missing.mp4")
    outputs = ["--json", str(result), "--report", str(page)]
    command = ["detect", "--detector", str(untrained), str(mixed), *outputs, missing, "--frames", "3"]
    assert main(command) == 1
    found = json.loads(result.read_text())
    assert [Path(each["path"]).name for each in found] == [
        "a face.png", "cut.mp4", "dot.png", "empty.jpg", "no film.mkv", "clip.mp4", "missing.mp4",
    ]  # fmt: skip
    assert [each["error"] is None for each in found] == [True, False, True, False, False, True, False]
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert [lines[0].split()[0], lines[2].split()[0]] == [found[0]["verdict"], found[5]["verdict"]]
    assert lines[1] == f"no face      -    {mixed / 'dot.png'}"
    *errors, other, last = output.err.splitlines()
    assert [*errors, last] == [f"unmask: {each['path']}: {each['error']}" for each in found if each["error"]]
    assert other == f"unmask: {mixed}: left out, for want of an image's or video's suffix: 1 (.txt)"
    assert "no film.mkv" in page.read_text()


def test_the_json_contract(untrained: Path, clip: Path, tmp_path: Path) -> None:
    result = tmp_path / "verdicts.json"
    assert main(["detect", str(clip), "--detector", str(untrained), "--json", str(result), "--frames", "4"]) == 0
    (found,) = json.loads(result.read_text())
    assert set(found) == KEYS
    assert found["path"] == str(clip)
    assert (found["kind"], found["frames"], found["frames_with_face"]) == ("video", 4, 4)
    assert found["verdict"] == ("fake" if found["score"] >= found["threshold"] else "real")
    assert found["detector"] == {
        "name": str(untrained),
        "version": "7",
        "weights": found["detector"]["weights"],
    }
    (track,) = found["tracks"]
    assert set(track) == {"verdict", "score", "counted", "reason", "quality", "warnings", "faces"}
    for face in track["faces"]:
        assert set(face) == {"frame", "time", "box", "found", "score"}
        assert len(face["box"]) == 4
        assert 0 <= face["score"] <= 1


def test_an_error_has_no_verdict(untrained: Path, tmp_path: Path) -> None:
    result = tmp_path / "verdicts.json"
    assert main(["detect", "nothing.mp4", "--detector", str(untrained), "--json", str(result)]) == 1
    (found,) = json.loads(result.read_text())
    assert set(found) == KEYS
    assert (found["verdict"], found["score"], found["tracks"]) == (None, None, [])
    assert found["error"] == "no such file"


def test_a_verdict_says_what_it_is_to_be_taken_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = QualityLimits(crops=500, quantile=0.01, face_side=500.0, sharpness=0.0)
    careful, image = make_detector(tmp_path / "careful", tested=limits), write_image(tmp_path / "face.png", portrait())
    assert main(["detect", str(image), "--detector", str(careful)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("uncertain")
    assert f"unmask: {image}: the face is too small" in said.err


def test_what_is_named_twice_is_done_once(untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write_image(tmp_path / "face.png", portrait())
    (tmp_path / "link.png").symlink_to(image)
    paths = [str(image), str(tmp_path), str(tmp_path / "link.png"), str(tmp_path / "." / "face.png")]
    assert main(["detect", *paths, "--detector", str(untrained)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_an_empty_folder_is_an_input_that_failed(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(tmp_path), "--detector", str(untrained)]) == 1
    assert capsys.readouterr().err == f"unmask: {tmp_path}: no image or video in this folder\n"


@pytest.mark.parametrize(
    "command",
    [
        ["detect", "a.png", "--out", ""],
        ["calibrate", "default", "a.parquet", "--out="],
        ["prepare", "folders", "b", ""],
        ["serve", "--data", ""],
    ],
)
def test_an_empty_name_is_not_the_current_folder(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(command)
    assert re.search("error: argument (--out|--data|OUT): is empty$", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_cannot_break_the_lines(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two\nlines\x1b[31m.jpg").touch()
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.jpg", os.O_CREAT | os.O_WRONLY))
    result = tmp_path / "verdicts.json"
    assert main(["detect", str(tmp_path), "--detector", str(untrained), "--json", str(result)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "two\\nlines\\x1b[31m.jpg" in errors[0]
    assert "\\udcff.jpg" in errors[1]
    assert [os.path.exists(each["path"]) for each in json.loads(result.read_text())] == [True, True]  # noqa: PTH110


def test_a_name_that_the_output_cannot_show_ends_nothing(light: Path, tmp_path: Path) -> None:
    for name in ("я.png", "b.png"):
        write_image(tmp_path / name, portrait())
    command = [sys.executable, "-m", "unmask", "detect", "я.png", "b.png", "--detector", str(light)]
    done = subprocess.run(
        [*command, "--json", "verdicts.json"],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        check=True,
    )
    assert [line.split()[2] for line in done.stdout.decode("latin-1").splitlines()] == ["\\u044f.png", "b.png"]
    assert [each["path"] for each in json.loads((tmp_path / "verdicts.json").read_text())] == ["я.png", "b.png"]


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_an_output_that_cannot_be_written_is_named_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    for output in (tmp_path / "missing" / "out", tmp_path):
        # Were it checked later, the detector that does not exist would be the error.
        assert main(["detect", "x.jpg", "--detector", "no detector", option, str(output)]) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert error.startswith(f"unmask: {output}: ")


def test_no_result_takes_the_place_of_evidence(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(Path("a.png"), portrait())
    Path("nameless").write_bytes(Path("a.png").read_bytes())
    before = Path("a.png").read_bytes()
    for outputs in (
        ["--json", "a.png"],
        ["--report", "b.mp4"],
        ["--json", "nameless"],
        ["--json", "x", "--report", "x"],
    ):
        assert main(["detect", "a.png", "nameless", "--detector", str(untrained), *outputs]) == 2
        assert capsys.readouterr().out == ""
    assert Path("a.png").read_bytes() == Path("nameless").read_bytes() == before
    assert not Path("x").exists()

    # A name that begins as an option does is a name behind `--`.
    Path("-a.png").write_bytes(before)
    assert main(["detect", "--detector", str(untrained), "--", "-a.png", "a.png"]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["./-a.png", "a.png"]
    # And `-` is no file, but ./- is one.
    assert main(["detect", "a.png", "--detector", str(untrained), "--report", "-"]) == 2
    assert main(["detect", "a.png", "--detector", str(untrained), "--report", "./-"]) == 0
    assert Path("-").stat().st_size


def test_the_json_may_follow_the_lines(light: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", portrait())
    command = [sys.executable, "-m", "unmask", "detect", str(image), "--detector", str(light)]
    with (tmp_path / "all").open("w") as file:
        # Not /dev/stdout itself: were it replaced, nothing on this machine could be printed any more.
        subprocess.run([*command, "--json", "/proc/self/fd/1"], stdout=file, check=True)
    line, rest = (tmp_path / "all").read_text().split("\n", 1)
    assert line.endswith(str(image))
    assert json.loads(rest)[0]["path"] == str(image)


def test_the_json_may_take_the_place_of_the_lines(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    image = write_image(tmp_path / "a.png", portrait())
    assert main(["detect", str(image), "missing.jpg", "--detector", str(untrained), "--json", "-"]) == 1
    printed = capsys.readouterr()
    assert [each["error"] for each in json.loads(printed.out)] == [None, "no such file"]
    assert "missing.jpg: no such file" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_output_is_one_line(light: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", portrait())
    command = [sys.executable, "-m", "unmask", "detect", str(image), "--detector", str(light)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "unmask: what was to be written or printed could not be: No space left on device\n"


@pytest.mark.parametrize("closed", [1, 2])
def test_a_stream_that_is_closed_costs_its_lines_only(closed: int, light: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a face.png", portrait())
    names = ["missing.png", "a face.png"]
    command = [sys.executable, "-m", "unmask", "detect", "--detector", str(light), "--json", "result.json", *names]
    shell = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *command]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert names[closed - 1] in (done.stderr if closed == 1 else done.stdout).splitlines()[0]
    assert [each["path"] for each in json.loads((tmp_path / "result.json").read_text())] == names


def test_an_interruption_keeps_what_is_done(
    untrained: Path,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = write_image(tmp_path / "face.png", portrait())
    detect = Detector.detect

    def interrupted_at_the_clip(self: Detector, path: str, **options: int) -> object:
        if path == str(clip):
            signal.raise_signal(signal.SIGINT)
        return detect(self, path, **options)

    monkeypatch.setattr(Detector, "detect", interrupted_at_the_clip)
    result, page = tmp_path / "verdicts.json", tmp_path / "report.html"
    command = ["detect", str(image), str(clip), "--detector", str(untrained), "--json", str(result)]
    assert main([*command, "--report", str(page)]) == 130
    assert [each["path"] for each in json.loads(result.read_text())] == [str(image)]
    assert "1 file checked" in page.read_text()
    assert capsys.readouterr().err == "unmask: interrupted: 1 input done\n"


def test_the_command_in_a_process_of_its_own(untrained: Path, clip: Path, tmp_path: Path) -> None:
    turned = write_video(tmp_path / "ünï.mkv", [portrait()] * 3)
    command = [sys.executable, "-m", "unmask", "detect", str(clip), str(turned), "gone.mp4", "--frames", "2"]
    done = subprocess.run(
        [*command, "--detector", str(untrained)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "unmask: gone.mp4: no such file\n"
    lines = done.stdout.splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines] == [str(clip), str(turned)]
    assert "\x1b" not in done.stdout


def test_a_reader_that_leaves_does_not_cost_the_result(light: Path, clip: Path, tmp_path: Path) -> None:
    result = tmp_path / "verdicts.json"
    command = [sys.executable, "-m", "unmask", "detect", str(clip), "--detector", str(light)]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*command, "--json", str(result)], stdout=write, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
    assert len(json.loads(result.read_text())) == 1
