from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from unmask.errors import UnmaskError
from unmask.protocols import evidence, read_protocol, summarise
from unmask.protocols.protocol import Protocol
from unmask.protocols.summary import Measured


def _measured(protocol: Protocol, auc: dict[tuple[str, int], float]) -> list[Measured]:
    """Runs whose every cell has the AUC of (method, seed)."""
    return [
        Measured(
            run,
            {cell.name: auc[run.method, run.seed] for cell in protocol.cells()},
            {protocol.scope(run, cell): auc[run.method, run.seed] for cell in protocol.cells()},
            {protocol.scope(run, cell): np.full(40, auc[run.method, run.seed]) for cell in protocol.cells()},
            10.0,
        )
        for run in protocol.runs()
    ]


def test_gains_are_paired_by_seed(small: Path) -> None:
    protocol = read_protocol(small)
    # The seeds differ by 20 points, the gain by 2: only pairing sees it.
    auc = {("plain", 0): 0.6, ("plain", 1): 0.8, ("matched", 0): 0.62, ("matched", 1): 0.82}
    auc |= {("game", 0): 0.64, ("game", 1): 0.86}
    summary = summarise(protocol, _measured(protocol, auc))
    gain = summary["gains"]["game"]["GF"]["over_plain"]
    assert gain["mean"] == pytest.approx(5.0)
    half = stats.t.ppf(0.975, 1) * np.std([4, 6], ddof=1) / np.sqrt(2)
    assert (gain["low"], gain["high"]) == (pytest.approx(5 - half, abs=1e-2), pytest.approx(5 + half, abs=1e-2))
    assert gain["with_sources"] == {"low": pytest.approx(4.0), "high": pytest.approx(6.0)}
    assert summary["gains"]["game"]["GF"]["over_control"]["mean"] == pytest.approx(3.0)
    assert summary["methods"]["plain"]["GF"]["mean"] == pytest.approx(70.0)
    answer = evidence(summary)["GF"]
    assert answer["gain_over_plain"] == gain
    assert answer["gain_over_others"] == {}  # there are none but plain and the control
    assert summary["best_over"]["plain"]["GF"] == gain
    assert summary["best_over"]["matched"]["GF"] == summary["gains"]["game"]["GF"]["over_control"]
    assert "game" not in summary["best_over"]


def test_a_training_without_a_scope_is_left_out_of_it(small: Path) -> None:
    small.write_text(
        small.read_text().replace('manipulations = ["A", "B"]\ntables', 'manipulations = ["A", "A+B"]\ntables')
    )
    protocol = read_protocol(small)
    auc = {(method, seed): 0.6 + 0.1 * (method == "game") for method in ("plain", "matched", "game") for seed in (0, 1)}
    summary = summarise(protocol, _measured(protocol, auc))
    assert summary["gains"]["game"]["GF"]["over_plain"]["pairs"] == 2
    assert summary["gains"]["game"]["in-domain"]["over_plain"]["pairs"] == 4
    assert summary["methods"]["plain"]["GF"]["runs"] == 2


def test_a_choice_is_no_claim(small: Path) -> None:
    small.write_text(small.read_text().replace('claim = "report"', 'claim = "choose"'))
    protocol = read_protocol(small)
    auc = {(method.name, seed): 0.5 for method in protocol.methods for seed in protocol.seeds}
    with pytest.raises(UnmaskError, match="makes no claim"):
        evidence(summarise(protocol, _measured(protocol, auc)))
