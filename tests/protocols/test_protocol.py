from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from unmask.errors import UnmaskError
from unmask.protocols import read_protocol
from unmask.protocols.protocol import Cell, Run


def test_every_manipulation_takes_its_turn_with_every_method_and_seed(small: Path) -> None:
    runs = read_protocol(small).runs()
    assert len(runs) == len({run.name for run in runs}) == 2 * 2 * 3
    assert [run.seed for run in runs] == [0] * 6 + [1] * 6


def test_scopes_say_what_a_run_has_not_seen(small: Path) -> None:
    protocol = read_protocol(small)
    run = Run("A", "plain", 0)
    assert {cell.name: protocol.scope(run, cell) for cell in protocol.cells()} == {
        "here/A/source": "in-domain",
        "here/A/low": "Q",
        "here/B/source": "GF",
        "here/B/low": "GFQ",
        "elsewhere/C/source": "GFD",
    }
    assert protocol.scope(Run("C", "plain", 0), Cell("elsewhere", "C", "source")) == "GFD"


def test_methods_differ_in_nothing_but_their_own_overrides(small: Path) -> None:
    protocol = read_protocol(small)
    plain, game = (protocol.recipe_of(Run("B", name, 1), Path("/data"), ()).to_dict() for name in ("plain", "game"))
    assert {key for key in plain if plain[key] != game[key]} == {"adversary"}
    assert plain["data"]["train"] == ("/data/train/real.parquet", "/data/train/B.parquet")
    assert plain["run"]["seed"] == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('role = "plain"', 'role = "game"', "exactly one method has the role 'plain'"),
        ('matched = "game"', 'matched = "gone"', "refers to 'gone'"),
        ('matched = "game"', 'matched = "matched"', "which is itself matched"),
        ("train/{manipulation}.parquet", "train/{manipulaton}.parquet", "only {manipulation} stand"),
        ("{quality}", "{quality", "tables '"),
        ('best = "game"', 'best = "plain"', "must name a method that names its control"),
        ('name = "matched"', 'name = "game"', "named twice"),
        ("seeds = [0, 1]", "seeds = []", "must each name something"),
        ("seeds = [0, 1]", "seeds = [0, 1, 0]", "seeds names one twice: 0, 1, 0"),
        ('manipulations = ["A", "B"]\ntables', 'manipulations = ["A", "A"]\ntables', "manipulations names one twice"),
        ("seeds = [0, 1]", "seeds = [0, 1", "cannot read this protocol"),
        ("width=8", "width=8}}", "adversary: expected a section"),
        ('adversary={name="plain"}', "adversaries={}", "unknown key 'adversaries'"),
        ('dataset = "here"\n\n[[tests]]', "[[tests]]", "dataset"),
        ('dataset = "elsewhere"', 'dataset = "here"', "a dataset of its own"),
        ('dataset = "elsewhere"', 'dataset = "else/where"', "without '/'"),
        ('recipe = "recipe.toml"', 'recipe = "none.toml"', "none.toml: cannot read this recipe"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_at_once(small: Path, old: str, new: str, message: str) -> None:
    text = small.read_text()
    assert old in text
    small.write_text(text.replace(old, new, 1))
    with pytest.raises(UnmaskError, match=message):
        read_protocol(small)


def test_a_protocol_may_go_by_another(small: Path) -> None:
    other = small.with_name("other.toml")
    other.write_text(f'base = "{small.name}"\nname = "other"\nseeds = [7]\n')
    first, second = read_protocol(small), read_protocol(other)
    assert second == dataclasses.replace(first, name="other", seeds=(7,))
    other.write_text('base = "other.toml"\n')
    with pytest.raises(UnmaskError, match="based on this protocol itself"):
        read_protocol(other)


def test_the_committed_protocols_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "recipes" / "protocols"
    for path in sorted(folder.glob("*.toml")):
        protocol = read_protocol(path)
        by_use = Counter(method.role for method in protocol.methods)
        assert by_use["control"] >= 1 or not by_use["game"], f"{path}: a game without a control"


def test_several_manipulations_are_trained_on_together(small: Path) -> None:
    small.write_text(small.read_text().replace('manipulations = ["A", "B"]\ntables', 'manipulations = ["A+B"]\ntables'))
    protocol = read_protocol(small)
    run = protocol.runs()[0]
    recipe = protocol.recipe_of(run, Path("/data"))
    assert recipe.data.train == ("/data/train/real.parquet", "/data/train/A.parquet", "/data/train/B.parquet")
    assert recipe.data.validation == ("/data/val/A.parquet", "/data/val/B.parquet")
    scopes = {cell.name: protocol.scope(run, cell) for cell in protocol.cells()}
    assert scopes["here/A/source"] == scopes["here/B/source"] == "in-domain"
    assert scopes["here/B/low"] == "Q"
    assert protocol.scope(run, Cell("here", "C", "source")) == "GF"
