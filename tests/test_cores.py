"""Cores: no more than this process is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unmask.cores import cores


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        ("/", {"": "150000 100000"}, 2),  # a container sees its own group as the root
        ("/", {"": "20000 100000"}, 1),
        ("/", {"": "max 100000"}, 16),
        ("/", {"": "6400000 100000"}, 16),
        ("/", {}, 16),
        ("/user.slice/job", {"user.slice": "300000 100000", "user.slice/job": "max 100000"}, 3),
        ("/user.slice/job", {"user.slice": "300000 100000", "user.slice/job": "100000 100000"}, 1),
    ],
)
def test_a_control_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, limits: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"1:cpu:/\n0::{group}\n")
    for name, limit in limits.items():
        folder = tmp_path / "sys/fs/cgroup" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(f"{limit}\n")
    assert cores(tmp_path) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process is pinned to cores here")
def test_a_pinned_process_counts_its_own() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
