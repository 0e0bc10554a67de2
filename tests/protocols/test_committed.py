"""The published figures are what the committed scores give."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from unmask.protocols import evidence, measure, read_protocol, summarise

HOUSE = Path(__file__).parents[2]


def _figures(summary: Any) -> dict[str, Any]:
    """All leaves by their path, but for what a bootstrap draws."""
    found: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if not isinstance(node, dict):
            found[path] = pytest.approx(node, abs=2e-3) if isinstance(node, float) else node
            return
        for key, value in node.items():
            if key != "with_sources":
                walk(value, f"{path}/{key}")

    walk(summary, "")
    return found


@pytest.mark.parametrize(
    "name",
    ["unseen", "unseen-late", "leave-one-out", "restore", "restore-long", "restore-converged", "restore-flow", "play"],
)
def test_the_published_figures_are_what_the_scores_give(name: str, tmp_path: Path) -> None:
    with tarfile.open(HOUSE / f"results/{name.removesuffix('-long')}-runs.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    protocol = read_protocol(HOUSE / f"recipes/protocols/{name}.toml")
    summary = summarise(protocol, measure(protocol, tmp_path, resamples=0))
    published = json.loads((HOUSE / f"results/{name}.json").read_text())
    answer = published.pop("evidence", None)
    assert _figures(summary) == _figures(published)
    if answer is not None:
        assert _figures(evidence(summary)) == _figures(answer)
    if name == "restore":
        assert json.loads((HOUSE / "results/evidence.json").read_text()) == answer
