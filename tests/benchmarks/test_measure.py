"""What the benchmarks share: turns, ratios, the JSON file, and one real run of a benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.measure import Others, Report, quartiles

from benchmarks import measure


def test_works_take_turns_and_warm_up_is_not_counted() -> None:
    calls: list[str] = []
    report = Report("test", "nothing", {})
    report.time({name: (lambda n=name: calls.append(n)) for name in "ab"}, turns=3)
    assert calls == ["a", "b", *["a", "b"] * 3]
    assert {name: figures["calls"] for name, figures in report.times.items()} == {"a": 3, "b": 3}


def test_a_work_is_repeated_for_its_slice_of_time() -> None:
    report = Report("test", "nothing", {})
    report.time({"sleep": lambda: time.sleep(0.001), "nothing": lambda: None}, turns=2, seconds=0.02)
    assert report.times["nothing"]["calls"] > report.times["sleep"]["calls"] >= 2


def test_a_ratio_is_the_median_of_the_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A clock that runs as told: the second turn is disturbed, and disturbs both alike."""
    times = [(10.0, 8.0), (5.0, 4.0), (60.0, 8.0), (30.0, 4.0), (10.0, 8.0), (4.0, 4.0)]
    monkeypatch.setattr(measure, "milliseconds", lambda work, device: times.pop(0))
    report = Report("test", "nothing", {"size": 3})
    report.time({"slow": lambda: None, "fast": lambda: None}, turns=3)
    assert report.ratio("slow/fast", "slow", "fast", better="higher") == 2.0
    report.finish(tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["ratios"] == {"slow/fast": 2.0}
    assert content["ratio_spread"] == {"slow/fast": {"low": 2.0, "high": 2.25, "better": "higher"}}
    assert content["times"]["slow"] == {
        "min": 10.0,
        "median": 10.0,
        "quartile_low": 10.0,
        "quartile_high": 35.0,
        "processor_min": 8.0,
        "calls": 3,
    }
    assert content["machine"]["versions"]["torch"]
    assert content["setting"] == {"size": 3}


def test_quartiles() -> None:
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


def test_the_share_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([(100.0, 50.0, 10.0), (120.0, 65.0, 20.0), (120.0, 55.0, 20.0)])
    monkeypatch.setattr(Others, "now", staticmethod(lambda: next(moments)))
    others = Others()
    assert others.share() == 0.25  # of 20 seconds of all cores, 15 busy, 10 of them ours
    assert others.share() == 0.0


def test_the_blur_is_measured(tmp_path: Path) -> None:
    """Small images: what is written, not how fast it is."""
    command = [sys.executable, "-m", "benchmarks.blur", "--json", str(tmp_path / "blur.json"), "--threads", "1"]
    command += ["--shape", "1", "3", "16", "16", "--kernel-sizes", "3", "--memory-kernel-sizes", "--turns", "2"]
    command += ["--seconds", "0", "--brief"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONWARNINGS": "error"})
    content = json.loads((tmp_path / "blur.json").read_text())
    assert content["benchmark"] == "blur"
    assert {"published/fused k=3", "reference/fused k=3"} == set(content["ratios"])
    assert content["times"]["fused k=3"]["min"] > 0
