from __future__ import annotations

from pathlib import Path

import pytest

from unmask import UnmaskError
from unmask.training import Recipe, read_recipe
from unmask.training.recipe import OptimiserConfig
from unmask.training.schedule import rate

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_reads(path: Path) -> None:
    assert isinstance(read_recipe(path), Recipe)


def test_values_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[run]\nsteps = 7\n[data]\ntrain = ["a.parquet"]\ncrop = { margin = 1.1 }\n[optimiser]\nlr = 1\n')
    recipe = read_recipe(path, ["adversary.name=noise", "adversary.options={eps=0.01}", "data.train=b.parquet"])
    assert recipe.run.steps == 7
    assert recipe.data.crop.margin == 1.1
    assert recipe.optimiser.lr == 1.0
    assert recipe.adversary.name == "noise"
    assert recipe.adversary.options == {"eps": 0.01}
    assert recipe.data.train == ("b.parquet",)


def test_a_recipe_goes_by_another(tmp_path: Path) -> None:
    (tmp_path / "first.toml").write_text(
        '[run]\nsteps = 7\nseed = 3\n[adversary]\nname = "noise"\noptions = { eps = 0.01 }\n[data]\nsize = 64\n'
    )
    (tmp_path / "below").mkdir()
    second, third = tmp_path / "below/second.toml", tmp_path / "below/third.toml"
    second.write_text('base = "../first.toml"\n[run]\nsteps = 9\n')
    third.write_text('base = "second.toml"\n[adversary]\nname = "flow"\n[optimiser]\nlr = 0.1\n')
    recipe = read_recipe(third, ["data.size=32"])
    assert (recipe.run.steps, recipe.run.seed, recipe.data.size, recipe.optimiser.lr) == (9, 3, 32, 0.1)
    assert (recipe.adversary.name, recipe.adversary.options) == ("flow", {})  # no options of another player
    assert read_recipe(second).adversary.options == {"eps": 0.01}

    for base, reason in (
        ('"third.toml"', "third.toml is based on this recipe itself"),
        ('"absent.toml"', r"below/absent\.toml: cannot read this recipe"),
        ("3", "base: expected the name of a recipe, got 3"),
    ):
        second.write_text(f"base = {base}\n")
        with pytest.raises(UnmaskError, match=reason):
            read_recipe(third)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[run]\nstep = 3", "unknown key 'step', expected one of .*steps"),
        ("[run]\nsteps = 'many'", "run: steps: expected int, got 'many'"),
        ("[run]\nsteps = true", "expected int, got True"),
        ("[run]\nsteps = 0", "at least 1"),
        ("[run]\nseed = -1", "a seed from 0"),
        ("[run]\ncheckpoint_minutes = -1", "checkpoint_minutes >= 0"),
        ("[data]\nsize = 0", "size >= 8"),
        ("[data]\nbatch_size = 0", "batch_size >= 2"),
        ("[model]\ndropout = 2.0", "dropout < 1"),
        ("[optimiser]\nlr = nan", "finite"),
        ("[optimiser]\nweight_decay = -1.0", "weight_decay >= 0"),
        ("[optimiser]\nfinal = -1.0", "final <= 1"),
        ("[game]\nplay = 'turns'", "play: expected one of 'auto', 'alternating', 'simultaneous', got 'turns'"),
        ("[augmentation]\njpeg = 2.0", "probability"),
        ("run = 3", "expected a section"),
        ("not toml", "cannot read this recipe"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(UnmaskError, match=reason) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_missing_recipe_and_malformed_override(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="cannot read this recipe"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "r.toml").touch()
    with pytest.raises(UnmaskError, match=r"expected section\.key=value"):
        read_recipe(tmp_path / "r.toml", ["steps"])
    (tmp_path / "r.toml").write_text("[run]\nsteps = 3")
    with pytest.raises(UnmaskError, match=r"--set run\.steps\.x=1: steps is a value, not a section"):
        read_recipe(tmp_path / "r.toml", ["run.steps.x=1"])


def test_cosine_warms_up_and_falls() -> None:
    config = OptimiserConfig(warmup_steps=10, final=0.1)
    rates = [rate(step, 110, config) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)


def test_step_schedule_is_the_published_one() -> None:
    config = OptimiserConfig(schedule="step", warmup_steps=0, step_every=60)
    assert [rate(step, 400, config) for step in (0, 59, 60, 120)] == pytest.approx([1, 1, 0.1, 0.01])
    with pytest.raises(ValueError, match="step_every"):
        OptimiserConfig(step_every=0)
