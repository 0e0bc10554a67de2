"""What counts as slower, and what as noise."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.compare import MEMORY, main

RUN: dict[str, Any] = {
    "benchmark": "blur",
    "setting": {"shape": [16, 3, 256, 256]},
    "machine": {"processor": "A", "cores": 2, "threads": 2, "device": "cpu", "versions": {"torch": "2"}},
    "disturbed": False,
    "times": {"fused": {"min": 4.0, "median": 4.3, "quartile_low": 4.2, "quartile_high": 4.5}},
    "ratios": {"published/fused": 40.0, "game/plain": 1.2},
    "ratio_spread": {
        "published/fused": {"low": 38.0, "high": 42.0, "better": "higher"},
        "game/plain": {"low": 1.15, "high": 1.25, "better": "lower"},
    },
    MEMORY: {"fused k=3": 2.3},
}


def outcome(tmp_path: Path, new: dict[str, Any] | str, *options: str, old: dict[str, Any] = RUN) -> int:
    for name, content in (("old", old), ("new", new)):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / f"{name}.json").write_text(text)
    return main([str(tmp_path / "old.json"), str(tmp_path / "new.json"), *options])


def changed(**changes: Any) -> dict[str, Any]:
    """RUN with `section__name=value`, where a value that is a dict is merged."""
    run = copy.deepcopy(RUN)
    for path, value in changes.items():
        section, _, name = path.partition("__")
        if name:
            run[section][name.replace("_over_", "/")] = value
        else:
            run[section] = value
    return run


def ratio(name: str, low: float, value: float, high: float) -> dict[str, Any]:
    run = copy.deepcopy(RUN)
    run["ratios"][name] = value
    run["ratio_spread"][name] |= {"low": low, "high": high}
    return run


def fused(fastest: float, high: float) -> dict[str, Any]:
    run = copy.deepcopy(RUN)
    run["times"]["fused"] |= {"min": fastest, "quartile_high": high}
    return run


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (RUN, 0),
        (ratio("published/fused", 30.0, 32.0, 34.0), 1),  # a smaller multiple of the published time
        (ratio("published/fused", 35.0, 36.0, 39.0), 0),  # the spreads overlap
        (ratio("published/fused", 50.0, 52.0, 54.0), 0),  # better
        (ratio("game/plain", 1.4, 1.5, 1.6), 1),
        (ratio("game/plain", 1.251, 1.252, 1.253), 0),  # apart, but within the tolerance
        (ratio("game/plain", 1.0, 1.01, 1.02), 0),
        (fused(5.0, 6.0), 1),
        (fused(4.4, 6.0), 0),  # within the spread of the old
        (changed(**{MEMORY: {"fused k=3": 3.3}}), 1),
    ],
)
def test_what_is_worse(tmp_path: Path, new: dict[str, Any], code: int) -> None:
    assert outcome(tmp_path, new) == code


def test_the_tolerance_is_a_choice(tmp_path: Path) -> None:
    new = ratio("game/plain", 1.4, 1.5, 1.6)
    assert outcome(tmp_path, new, "--tolerance", "0.5") == 0


@pytest.mark.parametrize(
    ("new", "remark"),
    [
        (changed(machine__processor="B"), "Not the same processor: A and B."),
        (changed(machine__versions={"torch": "3"}), "Not the same torch: 2 and 3."),
        (changed(disturbed=True), "The new run was disturbed"),
    ],
)
def test_times_of_unlike_runs_are_not_compared(
    tmp_path: Path, new: dict[str, Any], remark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new["times"]["fused"]["min"] = 400.0
    assert outcome(tmp_path, new) == 0
    printed = capsys.readouterr().out
    assert remark in printed
    assert "Times are not compared" in printed
    new["ratios"]["game/plain"], new["ratio_spread"]["game/plain"] = 9.0, {"low": 9.0, "high": 9.0, "better": "lower"}
    assert outcome(tmp_path, new) == 1


def test_what_is_gone_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = changed(ratios={"published/fused": 40.0})
    assert outcome(tmp_path, new) == 0
    assert "No longer among the ratios: game/plain." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("{", "no JSON"),
        ("[]", "no benchmark's file"),
        (changed(benchmark="step"), "the benchmark is blur in the old and step in the new"),
        (changed(setting={}), "the setting is"),
    ],
)
def test_files_that_cannot_be_compared(
    tmp_path: Path, new: dict[str, Any] | str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(tmp_path, new) == 2
    assert message in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.json"), str(tmp_path / "none.json")]) == 2
    assert "none.json: No such file" in capsys.readouterr().err
