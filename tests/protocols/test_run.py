"""A whole comparison, small: it runs, stops, goes on, and sums up what it left."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from unmask.cli import main
from unmask.errors import UnmaskError
from unmask.protocols import measure, read_protocol, run_protocol, summarise
from unmask.protocols.matching import matched_overrides
from unmask.protocols.runner import Runner


def test_one_command_runs_everything_and_says_what_it_found(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = small.parent / "out"
    command = ["evaluate", "--protocol", str(small), "--data", str(small.parent / "data"), "--out", str(out)]
    assert main([*command, "--bootstrap", "50", "--plots", str(out / "figures")]) == 0
    printed = capsys.readouterr().out
    assert "12 of 12 runs" in printed
    assert "GFQ" in printed
    assert "game: gain over each" in printed
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["evidence"]) == {"GF", "GFQ", "GFD"}
    for answer in summary["evidence"].values():
        assert (answer["best_game"], answer["control"]) == ("game", "matched")
        for gain in (answer["gain_over_plain"], answer["gain_over_control"]):
            assert gain["low"] <= gain["mean"] <= gain["high"]
            assert gain["seeds"] == 2
            assert gain["pairs"] == 4

    # It ends with a page, for which the generator that came with its detector plays once more.
    page = (out / "page.html").read_text()
    assert "GFD" in page
    assert "A/game/seed0, blur-generator played once more against the finished detector" in page
    assert "Not drawn" in page  # one rate of H.264 makes no curve
    assert (out / "figures/spectrum.webp").is_file()

    # The control was as strong as the game, class by class.
    log = [json.loads(line) for line in (out / "A/matched/seed0/log.jsonl").read_text().splitlines()]
    control = [line["sigma"] for line in log if "sigma" in line]
    game = [json.loads(line) for line in (out / "A/game/seed0/log.jsonl").read_text().splitlines()]
    played = [line["sigma"] for line in game if "sigma" in line]
    for label in ("real", "fake"):
        ours = np.mean([each[label]["mean"] for each in control])
        assert ours == pytest.approx(np.mean([each[label]["mean"] for each in played]), rel=0.1)

    # A second call trains nothing and finds the same.
    before = (out / "A/game/seed0/scores.npz").stat().st_mtime_ns
    assert main([*command, "--bootstrap", "50"]) == 0
    assert (out / "A/game/seed0/scores.npz").stat().st_mtime_ns == before
    assert json.loads((out / "summary.json").read_text()) == summary

    # Nor does a third one, somewhere else, where the data are not: all but the faces is drawn.
    shutil.copytree(out, small.parent / "elsewhere", ignore=shutil.ignore_patterns("cache", "detector", "page.html"))
    (small.parent / "data").rename(small.parent / "gone")
    command = ["evaluate", "--protocol", str(small), "--out", str(small.parent / "elsewhere"), "--summary-only"]
    assert main([*command, "--bootstrap", "50"]) == 0
    assert json.loads((small.parent / "elsewhere/summary.json").read_text()) == summary
    page = (small.parent / "elsewhere/page.html").read_text()
    assert "the faces are not at hand: name the test tables by --data" in page


def test_a_killed_comparison_goes_on_where_it_was(small: Path) -> None:
    data, out = small.parent / "data", small.parent / "out"
    fewer = small.read_text().replace("seeds = [0, 1]", "seeds = [0]")
    small.write_text(
        fewer.replace('manipulations = ["A", "B"]\ntables = ["train', 'manipulations = ["A"]\ntables = ["train')
    )
    code = "import sys; from unmask.protocols.runner import work; sys.exit(work(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(small), str(data), str(out)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    runner = Runner(small, data, out)
    while not any(runner.done(run) for run in runner.protocol.runs()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = [run for run in runner.protocol.runs() if runner.done(run)]
    times = {run.name: (out / run.name / "result.json").stat().st_mtime_ns for run in first}
    assert 0 < len(first) < 3

    # What was trained or tested on other rows or other crops is not mixed with what is now.
    text = small.read_text()
    for old, new, key in (
        ('"train/real.parquet"', '"train/A.parquet"', "data.train was"),
        ("[training]", "set = ['data.size=40']\n[training]", "data.size was 32, is 40"),
        ('dataset = "elsewhere"', 'dataset = "elsewhere"\nevery = 2', "tests.elsewhere was"),
    ):
        small.write_text(text.replace(old, new))
        with pytest.raises(UnmaskError, match=re.escape(key)):
            Runner(small, data, out)
    small.write_text(text)

    protocol = run_protocol(small, data, out, jobs=2)
    assert all(Runner(small, data, out).done(run) for run in protocol.runs())
    assert {name: (out / name / "result.json").stat().st_mtime_ns for name in times} == times

    # Nor is a control that drew otherwise, or is matched otherwise, or a file that is no result.
    for new in ('{name="random-blur", options={field="smooth"}}', '{name="random-restore"}'):
        small.write_text(text.replace('{name="random-blur"}', new))
        with pytest.raises(UnmaskError, match=r"matched/seed0/result\.json: was made by another version .*adversary"):
            Runner(small, data, out)
    small.write_text(text.replace('matched = "game"', 'matched = "game"\nmatch = "pooled"'))
    with pytest.raises(UnmaskError, match=r"matched/seed0/result\.json: was made by another version"):
        Runner(small, data, out)
    small.write_text(text)
    (out / "A/plain/seed0/result.json").write_text("{")
    with pytest.raises(UnmaskError, match=r"plain/seed0/result\.json: is no result of a run"):
        Runner(small, data, out)


def test_half_a_comparison_can_be_summed_up(small: Path) -> None:
    data, out = small.parent / "data", small.parent / "out"
    runner = Runner(small, data, out)
    only = [run for run in runner.protocol.runs() if run.seed == 0 and run.method != "matched"]
    for run in only:
        runner._try(run, lambda line: None)
        # From the first run on, though that is not of the game that the claim is made for.
        command = ["evaluate", "--protocol", str(small), "--out", str(out), "--summary-only", "--bootstrap", "0"]
        assert main(command) == 0
        summary = json.loads((out / "summary.json").read_text())
        assert summary["finished"] == only.index(run) + 1
        assert summary["evidence"] == {}  # the control is not there
    protocol = read_protocol(small)
    summary = summarise(protocol, measure(protocol, out, 20))
    assert summary["finished"] == 4
    gain = summary["gains"]["game"]["GFQ"]
    assert gain["over_plain"]["seeds"] == 1
    assert gain["over_plain"]["low"] is None
    assert gain["over_control"] is None


def test_missing_test_tables_are_named_before_any_training(small: Path) -> None:
    (small.parent / "data/test/B/low.parquet").unlink()
    with pytest.raises(UnmaskError, match=r"B/low\.parquet: no such file"):
        run_protocol(small, small.parent / "data", small.parent / "out")
    assert not (small.parent / "out").exists()


def test_missing_training_tables_are_named_before_any_training(small: Path) -> None:
    (small.parent / "data/train/B.parquet").unlink()
    with pytest.raises(UnmaskError, match=r"train/B\.parquet: no such file; B/plain/seed0 trains on it"):
        run_protocol(small, small.parent / "data", small.parent / "out")
    assert not (small.parent / "out").exists()


def test_only_a_blur_can_be_matched(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"kind": "train", "step": 1}\n')
    with pytest.raises(UnmaskError, match="says nothing about sigma"):
        matched_overrides(tmp_path / "log.jsonl", "apart")


def test_usage(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate"]) == 2
    for option in (["--plots", "p"], ["--out", "o"], ["--data", "d"], ["--jobs", "2"], ["--quick"], ["--summary-only"]):
        assert main(["evaluate", "default", "table.parquet", *option]) == 2
    assert main(["evaluate", "--protocol", str(small), "--data", "d", "--out", "o", "--split", "test"]) == 2
    assert main(["evaluate", "--protocol", str(small)]) == 2
    assert main(["evaluate", "default", "--protocol", str(small), "--data", "d", "--out", "o"]) == 2
    assert "needs --out, and --data unless --summary-only" in capsys.readouterr().err
    gone = str(small.parent / "gone")
    assert main(["evaluate", "--protocol", str(small), "--out", gone, "--summary-only"]) == 2
    assert f"{gone}: holds no finished run of" in capsys.readouterr().err
