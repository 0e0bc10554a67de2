"""The committed comparison itself, in its quick version: every table it names, every method, to the summary."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.tables import encode, write_table
from unmask.cli import main
from unmask.protocols import read_protocol
from unmask.protocols.protocol import Protocol

UNSEEN = Path(__file__).parents[2] / "recipes" / "protocols" / "unseen.toml"
CLIPS = 48


def write(path: Path, kinds: tuple[str, ...], portrait: bytes | None = None) -> None:
    """A table of the same clips as every other: reals where ``real`` is asked for, and each manipulation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for kind in kinds:
        whole = pq.read_table(write_table(path, CLIPS, CLIPS, seed=len(kind), methods=(kind,)))
        parts.append(whole.filter(pc.equal(whole["label"], "real" if kind == "real" else "fake")))
    table = pa.concat_tables(parts)
    if portrait is not None:
        table = table.set_column(0, table.schema.field("image"), pa.array([portrait] * len(table), pa.binary()))
    pq.write_table(table, path)


def tables(protocol: Protocol, data: Path) -> None:
    recipe = protocol.recipe_of(protocol.runs()[0], data)
    for path in map(Path, recipe.data.train + recipe.data.validation):
        write(path, (path.stem,))
    astronaut = encode(pytest.importorskip("skimage.data").astronaut()[:256, 100:356])
    for test in protocol.tests:
        for kind in (test.real, *test.manipulations):
            for quality in test.qualities:
                path = data / test.tables.format(manipulation=kind, quality=quality)
                if "{manipulation}" in test.tables:
                    write(path, (kind,))
                elif path.suffix:
                    write(path, (test.real, *test.manipulations), astronaut if test.recrop else None)
                else:
                    write(path / "part-0.parquet", (test.real, *test.manipulations))


def test_the_comparison_goes_through_from_tables_to_intervals(tmp_path: Path) -> None:
    protocol, data, out = read_protocol(UNSEEN).quick(), tmp_path / "data", tmp_path / "out"
    tables(protocol, data)
    command = ["evaluate", "--protocol", str(UNSEEN), "--data", str(data), "--out", str(out), "--quick"]
    assert main([*command, "--bootstrap", "20"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["finished"] == summary["planned"] == 2 * len(protocol.methods)
    best = summary["gains"][protocol.best]
    for scope in ("GF", "GFQ", "GFD"):
        for gain in (best[scope]["over_plain"], best[scope]["over_control"]):
            assert gain["low"] <= gain["mean"] <= gain["high"]
            assert gain["with_sources"]["low"] <= gain["with_sources"]["high"]
    # Three rounds are no evidence.
    assert summary["claim"] == "choose"

    # The folder is taken: the real comparison must not count these runs for its own.
    tables_before = sorted(out.rglob("result.json"))
    assert main([*command[:-1], "--summary-only"]) == 2
    assert main(command[:-1]) == 2
    assert sorted(out.rglob("result.json")) == tables_before
