"""From the scores of all runs to a table: means, spreads, and paired gains with their intervals.

The unit is a seed. For each seed a method's value in a scope is the mean AUC over the cells of that scope and over
the trainings; a gain is the difference of two methods trained from the same seed on the same data in the same order,
so that what the seed does to both cancels. Two intervals go with it: Student's t over the seeds, which is what a new
seed would see; and a bootstrap that draws seeds and test sources again, which also says how much the test set's own
smallness leaves open.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from unmask.errors import UnmaskError
from unmask.evaluation.bootstrap import ENOUGH, resample_counts
from unmask.evaluation.metrics import Ranking, auc
from unmask.protocols.finished import RESULT, check_finished, is_finished
from unmask.protocols.protocol import SCOPES, Method, Protocol, Run, Scope
from unmask.protocols.scores import SCORES, Scored, read_scores

Array = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Measured:
    """One finished run: AUC by cell, mean AUC by scope with its resamples (B,), and what the run cost."""

    run: Run
    cells: Mapping[str, float]
    scopes: Mapping[Scope, float]
    resampled: Mapping[Scope, Array]
    images_per_second: float | None


def measure(protocol: Protocol, out: Path, resamples: int = 500) -> list[Measured]:
    """Every finished run of a protocol, measured from the scores it left.

    Raises:
        UnmaskError: a run was made by another version of the protocol or for other tests, or cannot be read.
    """
    check_finished(protocol, out)
    finished = [run for run in protocol.runs() if is_finished(run, out)]
    scored = {run: read_scores(out / run.name / SCORES) for run in finished}
    draws = _draws(scored.values(), resamples)
    return [_measure(protocol, out, run, scored[run], draws) for run in finished]


def _draws(runs: Iterable[Mapping[str, Scored]], resamples: int) -> dict[str, tuple[Names, Array]]:
    """Of every data set: its components, sorted, and how often each is drawn, (1 + B, N), first all of them once.

    Rows of one component are drawn together, in all tables and runs.
    """
    names: dict[str, set[str]] = {}
    for scored in runs:
        for name, table in scored.items():
            names.setdefault(name.split("/")[0], set()).update(table.component.tolist())
    draws = {}
    for dataset, found in sorted(names.items()):
        counts = np.ones((1, len(found)))
        if resamples:
            drawn = resample_counts(len(found), resamples, np.random.default_rng(0))
            counts = np.concatenate([counts, drawn])
        draws[dataset] = np.array(sorted(found)), counts
    return draws


def _measure(
    protocol: Protocol,
    out: Path,
    run: Run,
    scored: Mapping[str, Scored],
    draws: Mapping[str, tuple[Names, Array]],
) -> Measured:
    folder = out / run.name
    result = json.loads((folder / RESULT).read_text("utf-8"))
    weights = {}
    for name, table in scored.items():
        names, counts = draws[name.split("/")[0]]
        weights[name] = counts[:, np.searchsorted(names, table.component)]
    cells: dict[str, float] = {}
    by_scope: dict[Scope, list[Array]] = {}
    for cell in protocol.cells():
        real, fake = protocol.tables_of(cell)
        for name in (real, fake):
            if name not in scored:
                raise UnmaskError(folder / SCORES, f"was written for other tests: {name} is missing")
        odds = np.concatenate([scored[real].log_odds, scored[fake].log_odds])
        ranking = Ranking(np.arange(len(odds)) >= len(scored[real].log_odds), odds)
        aucs = auc(ranking.sweep(np.concatenate([weights[real], weights[fake]], axis=1)))
        cells[cell.name] = float(aucs[0])
        by_scope.setdefault(protocol.scope(run, cell), []).append(aucs)
    means = {scope: np.mean(aucs, axis=0) for scope, aucs in by_scope.items()}
    return Measured(
        run,
        cells,
        {scope: float(mean[0]) for scope, mean in means.items()},
        {scope: mean[1:] for scope, mean in means.items()},
        result["images_per_second"],
    )


def summarise(protocol: Protocol, runs: Sequence[Measured]) -> dict[str, Any]:
    """The whole comparison as JSON: methods, gains, cells, cost. AUC and gains in points of 100.

    A gain counts the pairs (training, seed) that both methods have finished; ``pairs`` says how many. ``best_over`` is
    empty where the protocol names no best game.
    """
    by_method = {method.name: [each for each in runs if each.run.method == method.name] for method in protocol.methods}
    return {
        "protocol": protocol.name,
        "claim": protocol.claim,
        "best": protocol.best,
        "finished": len(runs),
        "planned": len(protocol.runs()),
        "methods": {
            method.name: {
                "role": method.role,
                **{scope: _spread(by_method[method.name], scope) for scope in _scopes(by_method[method.name])},
                "images_per_second": _median(each.images_per_second for each in by_method[method.name]),
            }
            for method in protocol.methods
            if by_method[method.name]
        },
        "gains": {
            method.name: _gains(protocol, method, by_method)
            for method in protocol.methods
            if method is not protocol.plain and by_method[method.name]
        },
        "best_over": _best_over(protocol, by_method),
        "cells": {
            name: {
                manipulation: _cells([each for each in found if each.run.manipulation == manipulation])
                for manipulation in protocol.training.manipulations
                if any(each.run.manipulation == manipulation for each in found)
            }
            for name, found in by_method.items()
            if found
        },
    }


def evidence(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The answer in short: for GF, GFQ and GFD what the best game gains over plain, over its control, over all others.

    A scope without finished runs of the game and its control is left out.

    Raises:
        UnmaskError: the protocol makes no claim.
    """
    best = summary["best"]
    if not best or summary["claim"] != "report":
        raise UnmaskError(summary["protocol"], "makes no claim: evidence needs claim = 'report' and a best game")
    answer = {}
    for scope in ("GF", "GFQ", "GFD"):
        gains = summary["gains"].get(best, {}).get(scope)
        if gains is None or gains["over_control"] is None:
            continue
        answer[scope] = {
            "best_game": best,
            "control": gains["control"],
            "gain_over_plain": gains["over_plain"],
            "gain_over_control": gains["over_control"],
            "gain_over_others": {
                name: over[scope]
                for name, over in summary["best_over"].items()
                if name != gains["control"] and summary["methods"][name]["role"] != "plain"
            },
        }
    return answer


def _scopes(found: Sequence[Measured]) -> list[Scope]:
    return [scope for scope in SCOPES if any(scope in each.scopes for each in found)]


def _spread(found: Sequence[Measured], scope: Scope) -> dict[str, Any]:
    """Mean over seeds of the mean over trainings, its standard deviation and t interval, in points."""
    by_seed: dict[int, list[float]] = {}
    having = [each for each in found if scope in each.scopes]
    for each in having:
        by_seed.setdefault(each.run.seed, []).append(100 * each.scopes[scope])
    values = np.asarray([np.mean(values) for values in by_seed.values()])
    return {**student(values), "runs": len(having)}


def _gains(protocol: Protocol, method: Method, by_method: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    found = by_method[method.name]
    return {
        scope: {
            "over_plain": _paired(found, by_method[protocol.plain.name], scope),
            "control": method.control or None,
            "over_control": _paired(found, by_method[method.control], scope) if method.control else None,
        }
        for scope in _scopes(found)
    }


def _best_over(protocol: Protocol, by_method: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    """What the best game gains over every other method."""
    best = by_method.get(protocol.best, ())
    return {
        name: {scope: _paired(best, theirs, scope) for scope in _scopes(best)}
        for name, theirs in by_method.items()
        if best and theirs and name != protocol.best
    }


def _paired(ours: Sequence[Measured], theirs: Sequence[Measured], scope: Scope) -> dict[str, Any] | None:
    other = {(each.run.manipulation, each.run.seed): each for each in theirs}
    pairs: dict[int, list[tuple[float, Array]]] = {}
    for each in ours:
        match = other.get((each.run.manipulation, each.run.seed))
        if match is not None and scope in each.scopes:
            difference = 100 * (each.scopes[scope] - match.scopes[scope])
            resampled = 100 * (each.resampled[scope] - match.resampled[scope])
            pairs.setdefault(each.run.seed, []).append((difference, resampled))
    if not pairs:
        return None
    values = np.asarray([np.mean([difference for difference, _ in each]) for each in pairs.values()])
    resampled = np.stack([np.mean([draws for _, draws in each], axis=0) for each in pairs.values()])
    return {**student(values), "with_sources": _both(resampled), "pairs": sum(map(len, pairs.values()))}


def student(values: Array) -> dict[str, Any]:
    """Mean, standard deviation and 95 % interval of Student's t; none of the latter two for a single seed."""
    mean, seeds = float(values.mean()), len(values)
    known: dict[str, Any] = {"mean": round(mean, 3), "sd": None, "low": None, "high": None, "seeds": seeds}
    if seeds > 1:
        sd = float(values.std(ddof=1))
        half = float(stats.t.ppf(0.975, seeds - 1)) * sd / np.sqrt(seeds)
        known |= {"sd": round(sd, 3), "low": round(mean - half, 3), "high": round(mean + half, 3)}
    return known


def _both(resampled: Array) -> dict[str, float] | None:
    """95 % percentile interval over drawn seeds and drawn sources; (seeds, B) differences."""
    seeds, draws = resampled.shape
    if draws == 0 or seeds < 2:
        return None
    chosen = np.random.default_rng(0).integers(seeds, size=(seeds, draws))
    means = np.take_along_axis(resampled, chosen, axis=0).mean(axis=0)
    means = means[~np.isnan(means)]  # a draw of very few sources may miss a class
    if len(means) < ENOUGH * draws:
        return None
    low, high = np.percentile(means, [2.5, 97.5])
    return {"low": round(float(low), 3), "high": round(float(high), 3)}


def _cells(found: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    names = found[0].cells
    values = {name: np.asarray([100 * each.cells[name] for each in found]) for name in names}
    return {
        name: {
            "mean": round(float(each.mean()), 2),
            "sd": round(float(each.std(ddof=1)), 2) if len(each) > 1 else None,
            "seeds": len(each),
        }
        for name, each in values.items()
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 2) if known else None
