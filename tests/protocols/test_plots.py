"""The page of figures: what it says is what the runs' scores say, and what it cannot draw it names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_auc_score

from unmask.protocols import measure, read_protocol, summarise
from unmask.protocols.matching import matched_to_game
from unmask.protocols.plots import Section, write_page
from unmask.protocols.plots.curves import roc_curves, strength_curves
from unmask.protocols.plots.gains import cost, forest, reach
from unmask.protocols.plots.grids import _ink, heat_maps
from unmask.protocols.plots.outcomes import GRID, Comparison, area, reliability, roc
from unmask.protocols.plots.played import sigma_over_training
from unmask.protocols.plots.style import looks
from unmask.protocols.protocol import Run
from unmask.protocols.scores import SCORES, Scored, write_scores
from unmask.protocols.scoring import Tests

#: Against 8 reals of score 0: 6 of 8 fakes above, none below.
AUC_75, AUC_100 = [1.0, 1, 1, 1, -1, -1, 1, 1], [3.0] * 8


def finish(small: Path, scores: Callable[[Run, str], list[float] | None]) -> Path:
    """Leave what finished runs leave, with the given raw log-odds by run and table; None leaves a run open."""
    protocol, out = read_protocol(small), small.parent / "out"
    tests = Tests(protocol, small.parent / "data", out / "cache")
    # A control is matched to its game: games first.
    for run in sorted(protocol.runs(), key=lambda run: bool(protocol.method(run.method).matched)):
        held = {name: scores(run, name) for name in tests.tables()}
        if any(values is None for values in held.values()):
            continue
        folder = out / run.name
        folder.mkdir(parents=True)
        sources = np.array([f"source {row}" for row in range(8)])
        write_scores(folder / SCORES, {name: Scored(np.array(values), sources) for name, values in held.items()})
        levels = {f"q{level:02d}": level / 100 for level in range(0, 101, 5)}
        line: dict[str, Any] = {"kind": "train", "step": 1}
        if run.method != "plain":
            line["sigma"] = {"real": levels, "fake": {key: value / 2 for key, value in levels.items()}}
        (folder / "log.jsonl").write_text(json.dumps(line) + "\n")
        training = protocol.recipe_of(run, small.parent / "data", matched_to_game(protocol, run, out)).to_dict()
        data = training["data"]
        detector = {
            "calibration": {"method": "platt", "scale": 1.0, "offset": 0.0},
            "input_size": data["size"],
            "crop": data["crop"],
            "classes": data["classes"],
            "training": {**training, "data": [Path(path).name for path in data["train"]]},
        }
        speed = {"plain": 40.0, "matched": 40.0, "game": 10.0}[run.method]
        (folder / "result.json").write_text(json.dumps({"detector": detector, "images_per_second": speed}))
        name = {"plain": "plain", "matched": "random-blur", "game": "blur-generator"}[run.method]
        (folder / "recipe.json").write_text(json.dumps({"adversary": {"name": name, "options": {}}}))
    return out


def made_up(run: Run, table: str) -> list[float]:
    """Plain has an AUC of 75 % in every cell, the others of 100 %."""
    if "/real/" in table:
        return [0.0] * 8
    return AUC_75 if run.method == "plain" else AUC_100


def compare(small: Path, out: Path) -> Comparison:
    protocol = read_protocol(small)
    measured = measure(protocol, out, 20)
    tables = Tests(protocol, small.parent / "data", out / "cache").tables()
    return Comparison(protocol, tables, out, summarise(protocol, measured), measured)


def page_of(small: Path, out: Path, **options: Any) -> tuple[str, dict[str, Section]]:
    held = compare(small, out)
    options = {"faces": 0, **options}
    sections = write_page(held.protocol, held.tables, out, held.summary, held.measured, **options)
    return (out / "page.html").read_text(), {section.name: section for section in sections}


def figure(section: Section, name: str) -> Figure:
    return next(panel.figure for panel in section.panels if panel.name == name)


def texts(drawing: Figure) -> list[str]:
    return [text.get_text() for text in drawing.axes[0].texts]


def test_cells_say_the_auc_and_the_gain(small: Path) -> None:
    level, gain = heat_maps(compare(small, finish(small, made_up)))
    # A and B at two qualities, C of the other data set at one of them.
    assert texts(figure(level, "auc-plain")) == ["75.0"] * 5
    assert texts(figure(level, "auc-game")) == ["100.0"] * 5
    assert texts(figure(gain, "gain-game")) == ["+25.0"] * 5
    assert "gain-plain" not in [panel.name for panel in gain.panels]
    labels = [label.get_text() for label in figure(level, "auc-plain").axes[0].get_yticklabels()]
    assert labels == ["here: A", "here: B", "elsewhere: C"]


@pytest.mark.parametrize("colours", ["cividis", "RdBu"])
def test_the_number_in_a_cell_can_be_read(colours: str) -> None:
    import matplotlib

    grounds = matplotlib.colormaps[colours](np.linspace(0, 1, 256))[:, :3]
    linear = np.where(grounds <= 0.04045, grounds / 12.92, ((grounds + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    dark = np.array([_ink(each) == "#000000" for each in grounds])
    assert np.where(dark, (luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)).min() > 4.5


def test_a_cell_is_of_the_trainings_that_never_saw_its_manipulation(small: Path) -> None:
    def scores(run: Run, table: str) -> list[float]:
        seen = f"/{run.manipulation}/" in table
        return [0.0] * 8 if "/real/" in table else AUC_100 if seen else AUC_75

    level, _ = heat_maps(compare(small, finish(small, scores)))
    assert set(texts(figure(level, "auc-plain"))) == {"75.0"}


def test_a_manipulation_that_every_run_saw_is_marked(small: Path) -> None:
    small.write_text(
        small.read_text().replace(
            'manipulations = ["A", "B"]\ntables = ["train', 'manipulations = ["A"]\ntables = ["train'
        )
    )
    level, _ = heat_maps(compare(small, finish(small, made_up)))
    labels = [label.get_text() for label in figure(level, "auc-plain").axes[0].get_yticklabels()]
    assert labels == ["here: A *", "here: B", "elsewhere: C"]


def test_the_page_needs_nothing_and_names_everything(small: Path) -> None:
    folder = small.parent / "new/figures"
    page, sections = page_of(small, finish(small, made_up), plots=folder)
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|src=|url\((?!#)", page)
    for text in ("plain", "matched", "game", ">75.0</text>", ">+25.0</text>"):
        assert text in page
    for section in sections.values():
        assert section.panels, section.name
        for panel in section.panels:
            assert panel.title in page
            ElementTree.parse(folder / f"{panel.name}.svg")
            assert "var(--" not in (folder / f"{panel.name}.svg").read_text()
            with Image.open(folder / f"{panel.name}.webp") as image:
                assert image.width == 1000
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    assert len(drawings) == 3 + sum(len(section.panels) for section in sections.values())  # and the methods' keys
    # A phone gets a drawing as wide as itself, and both themes their colours.
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    for variable in set(re.findall(r"var\(--([a-z0-9]+)\)", page)):
        assert f"--{variable}: " in page
    assert not [each for each in re.findall(r'id="([^"]+)"', page) if page.count(f'id="{each}"') > 1]


def test_roc_of_perfect_scores_passes_the_corner() -> None:
    fake = np.arange(8) >= 4
    assert roc(fake, fake * 2.0 - 1)[0] == 1.0
    np.testing.assert_allclose(roc(fake, np.zeros(8)), GRID)
    rng = np.random.default_rng(0)
    fake, scores = rng.random(4000) < 0.5, rng.normal(size=4000)
    scores += fake
    assert np.trapezoid(roc(fake, scores), GRID) == pytest.approx(roc_auc_score(fake, scores), abs=2e-3)
    assert area(fake, scores) == pytest.approx(roc_auc_score(fake, scores))


def test_roc_is_of_all_cells_of_the_scope(small: Path) -> None:
    section = roc_curves(compare(small, finish(small, made_up)))
    assert [panel.title for panel in section.panels] == ["GF", "GFQ", "GFD"]
    lines = {line.get_label(): line for line in figure(section, "roc-gfd").axes[0].lines}
    game = lines["game (AUC 100.0 %)"]
    assert (game.get_xdata()[0], game.get_ydata()[0]) == (0.0, 1.0)
    assert lines["plain (AUC 75.0 %)"].get_ydata()[0] == pytest.approx(0.75)


def test_calibration_is_that_of_the_scores() -> None:
    # 1 of 4 rows at P = 0.25 is fake, 3 of 4 at P = 0.75: perfectly calibrated.
    odds = np.repeat([-np.log(3), np.log(3)], 4)
    fake = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    calibration: Any = {"method": "platt", "scale": 1.0, "offset": 0.0}
    found = reliability(fake, odds, calibration)
    assert found.error == pytest.approx(0, abs=1e-12)
    filled = found.rows > 0
    np.testing.assert_allclose(found.score[filled] / found.rows[filled], [0.25, 0.75])
    np.testing.assert_allclose(found.fake[filled] / found.rows[filled], [0.25, 0.75])
    # The calibration counts: with the signs turned round each score is off by a half.
    assert reliability(fake, odds, {**calibration, "scale": -1.0}).error == pytest.approx(0.5)
    # Reals and fakes weigh alike: more reals of the same scores change nothing.
    more = np.concatenate([fake, fake[~fake]]), np.concatenate([odds, odds[~fake]])
    assert reliability(*more, calibration).error == pytest.approx(0, abs=1e-12)


def test_gains_and_cost_are_those_of_the_summary(small: Path) -> None:
    def scores(run: Run, table: str) -> list[float]:
        # The second seed's plain runs are as good as the game: gains of 25 and 0.
        return AUC_100 if run.seed == 1 and "/real/" not in table else made_up(run, table)

    comparison = compare(small, finish(small, scores))
    axes = figure(forest(comparison), "forest-gf").axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["matched − plain", "game − plain", "game − matched"]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [12.5, 12.5, 0.0]
    # With two seeds Student's interval leaves the frame on both sides.
    assert [line.get_marker() for line in axes.lines].count("<") == 2
    lines = {line.get_label(): line for line in figure(cost(comparison), "cost").axes[0].lines}
    assert (lines["game"].get_xdata()[0], lines["game"].get_ydata()[0]) == (0.25, 12.5)


def test_strength_is_the_rate_factor(small: Path) -> None:
    text = small.read_text().replace(
        'qualities = ["source", "low"]', 'qualities = ["source", "h264-40", "h264-23", "low"]'
    )
    small.write_text(text)
    for kind in ("real", "A", "B"):
        low = small.parent / f"data/test/{kind}/low.parquet"
        for name in ("h264-40", "h264-23"):
            (low.parent / f"{name}.parquet").write_bytes(low.read_bytes())
    worse = lambda run, table: AUC_75 if table.endswith("/A/h264-40") else made_up(run, table)  # noqa: E731
    section = strength_curves(compare(small, finish(small, worse)))
    axes = figure(section, "strength-h264").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["23", "40", "source"]
    (line,) = (line for line in axes.lines if line.get_label() == "game")
    # B's runs meet A at 40, A's runs meet B.
    np.testing.assert_allclose(line.get_ydata(), [100, 100, 87.5])
    others = figure(section, "strength-others").axes[0]
    assert [label.get_text() for label in others.get_xticklabels()] == ["low"]


def test_what_is_missing_is_said(small: Path) -> None:
    small.write_text(small.read_text().replace('name = "small"', 'name = "a <b> & c"'))
    text = small.read_text().replace("seeds = [0, 1]", "seeds = [0]")
    start = text.index("[[tests]]", text.index("[[tests]]") + 1)
    small.write_text(text[:start] + text[text.index("[[methods]]") :])  # no second data set
    only_plain = lambda run, table: made_up(run, table) if run.method == "plain" else None  # noqa: E731
    page, sections = page_of(small, finish(small, only_plain), faces=2)
    assert "<h1>a &lt;b&gt; &amp; c</h1>" in page
    assert any("GFD" in each for each in sections["roc"].missing)
    assert any("single seed" in each for each in sections["forest"].missing)
    assert sections["sigma"].missing == ["No finished run logged a sigma: none was trained against a blur."]
    assert "no run of a game that blurs is finished" in sections["map"].missing[0]
    for section in sections.values():
        assert all(escape(each) in page for each in section.missing)
    assert re.search(r"game</th><td>game, chosen</td><td colspan=\"\d\">no run is finished", page)


def test_nothing_finished_is_a_page_too(small: Path) -> None:
    out = finish(small, lambda run, table: None)
    out.mkdir()
    _, sections = page_of(small, out, faces=2)
    assert all(section.missing and not section.panels for section in sections.values())


def test_sigma_is_that_of_the_log(small: Path) -> None:
    section = sigma_over_training(compare(small, finish(small, made_up)))
    assert [panel.title for panel in section.panels] == ["matched", "game"]
    lines = {line.get_label(): line for line in figure(section, "sigma-game").axes[0].lines}
    assert (lines["reals"].get_ydata()[0], lines["fakes"].get_ydata()[0]) == (0.5, 0.25)


def test_every_look_is_its_own(small: Path) -> None:
    methods = "".join(
        f'[[methods]]\nname = "g{n}"\nrole = "game"\ncontrol = "c{n}"\nset = []\n'
        f'[[methods]]\nname = "c{n}"\nrole = "control"\nset = []\n'
        for n in range(8)
    )
    small.write_text(small.read_text() + methods)
    found = looks(read_protocol(small))
    assert len(set(found.values())) == len(found) == 19
    assert found["c3"].colour == found["g3"].colour
    assert (found["g3"].line, found["c3"].line) == ("-", "--")


_WITHOUT = """
import sys
from pathlib import Path
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
from unmask.cli import main
summary, *arguments = sys.argv[1:]
# Asked for by an option it is an error, before any work.
print(main([*arguments, "--plots", "plots"]), Path(summary).exists())
print(main(arguments), Path(summary).exists())
"""


def test_without_matplotlib_the_summary_is_written_and_the_extra_named(small: Path) -> None:
    out = finish(small, made_up)
    command = ["evaluate", "--protocol", str(small), "--data", str(small.parent / "data"), "--out", str(out)]
    command += ["--summary-only", "--bootstrap", "20"]
    code = [sys.executable, "-c", _WITHOUT, str(out / "summary.json")]
    done = subprocess.run([*code, *command], capture_output=True, text=True, check=True)
    first, *_, last = done.stdout.splitlines()
    assert (first, last) == ("2 False", "0 True")
    assert done.stderr.count("pip install 'unmask[train]'") == 2
    assert json.loads((out / "summary.json").read_text())["finished"] == 12
    assert not (out / "page.html").exists()


def test_forest_without_a_control_has_plain_alone(small: Path) -> None:
    out = finish(small, lambda run, table: None if run.method == "matched" else made_up(run, table))
    section = forest(compare(small, out))
    assert [label.get_text() for label in section.panels[0].figure.axes[0].get_yticklabels()] == ["game − plain"]


def test_the_frame_of_gains_holds_their_intervals_unless_they_are_endless() -> None:
    def known(mean: float, low: float | None, high: float | None) -> dict[str, Any]:
        return {"mean": mean, "low": low, "high": high, "with_sources": None}

    assert reach([known(2.0, -1.0, 5.0)]) == pytest.approx(1.1 * 5)
    assert reach([known(2.0, -50.0, 54.0)]) == pytest.approx(1.1 * 2)
    assert reach([known(0.1, None, None)]) == pytest.approx(1.1)
    within = {"low": -1.0, "high": 7.0}
    assert reach([known(2.0, None, None) | {"with_sources": within}]) == pytest.approx(1.1 * 7)
