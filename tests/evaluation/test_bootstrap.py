from __future__ import annotations

import json
import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from unmask.evaluation import METRICS, Estimate, estimate
from unmask.evaluation.bootstrap import estimate_mean, resample_counts


def clustered(
    rng: np.random.Generator, clusters: int, size: int, shared: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows whose scores share a part with their cluster; a cluster is all real or all fake."""
    fake = np.arange(clusters) % 2 == 1
    common = rng.normal(0, shared, clusters)[:, None]
    raw = fake[:, None] + common + rng.normal(0, np.sqrt(max(1 - shared**2, 0)), (clusters, size))
    names = np.repeat(np.arange(clusters), size)
    return np.repeat(fake, size), 1 / (1 + np.exp(-raw.ravel())), names


def width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_each_resample_draws_as_many_clusters_as_there_are() -> None:
    counts = resample_counts(50, 400, np.random.default_rng(0))
    assert counts.shape == (400, 50)
    assert (counts.sum(axis=1) == 50).all()
    # Each cluster is drawn once on average, with variance 1 - 1/50.
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.25)
    assert counts.var() == pytest.approx(0.98, abs=0.05)


def test_equals_the_loop_that_copies_rows() -> None:
    fake, scores, clusters = clustered(np.random.default_rng(0), 20, 5, 0.6)
    counts = resample_counts(20, 200, np.random.default_rng(3))
    expected = []
    for drawn in counts:
        rows = np.repeat(np.arange(len(fake)), drawn[clusters])
        expected.append(roc_auc_score(fake[rows], scores[rows]))
    found = estimate(fake, scores, clusters, resamples=200, seed=3)["auc"]
    assert (found.low, found.high) == pytest.approx(np.percentile(expected, [2.5, 97.5]))
    assert found.value == pytest.approx(roc_auc_score(fake, scores))


def test_spread_is_the_known_one() -> None:
    # The mean of n independent 0/1 outcomes has standard error sqrt(p (1 - p) / n), and 1.96 of it each way.
    rng = np.random.default_rng(0)
    scores = (rng.random(2000) < 0.3).astype(float)
    found = estimate(np.ones(2000, dtype=bool), scores, np.arange(2000), resamples=2000)["tpr"]
    share = scores.mean()
    assert width(found) == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 2000), rel=0.08)


def test_identical_rows_of_a_cluster_count_once() -> None:
    fake, scores, clusters = clustered(np.random.default_rng(1), 60, 1, 0)
    once = estimate(fake, scores, clusters, resamples=500)
    tenfold = estimate(*(np.repeat(part, 10) for part in (fake, scores, clusters)), resamples=500)
    for name in METRICS:
        assert tenfold[name].low == pytest.approx(once[name].low), name
        assert tenfold[name].high == pytest.approx(once[name].high), name


def test_wider_than_by_row_only_if_clusters_correlate() -> None:
    rng = np.random.default_rng(2)
    ratios = []
    for shared in (0.0, 0.9):
        fake, scores, clusters = clustered(rng, 80, 20, shared)
        by_cluster = width(estimate(fake, scores, clusters, resamples=500)["auc"])
        by_row = width(estimate(fake, scores, np.arange(len(fake)), resamples=500)["auc"])
        ratios.append(by_cluster / by_row)
    assert ratios[0] == pytest.approx(1, abs=0.35)
    assert ratios[1] > 2.5


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    # AUC of two normals one standard deviation apart: Phi(1 / sqrt(2)) = 0.7602.
    covered, by_row = 0, 0
    for seed in range(200):
        fake, scores, clusters = clustered(np.random.default_rng(seed), 100, 5, 0.8)
        found = estimate(fake, scores, clusters, resamples=200, seed=seed)["auc"]
        covered += found.low <= 0.7602 <= found.high
        found = estimate(fake, scores, np.arange(len(fake)), resamples=200, seed=seed)["auc"]
        by_row += found.low <= 0.7602 <= found.high
    assert 0.88 <= covered / 200 <= 0.99
    assert by_row / 200 < 0.8


def test_a_seed_decides_everything() -> None:
    sample = clustered(np.random.default_rng(0), 30, 3, 0.5)
    assert estimate(*sample, resamples=100, seed=4) == estimate(*sample, resamples=100, seed=4)
    assert estimate(*sample, resamples=100, seed=4) != estimate(*sample, resamples=100, seed=5)


def test_names_of_clusters_may_be_text() -> None:
    fake, scores, clusters = clustered(np.random.default_rng(0), 30, 3, 0.5)
    text = np.array([f"{name:03d}" for name in clusters], dtype=object)
    assert estimate(fake, scores, text, resamples=50) == estimate(fake, scores, clusters, resamples=50)


@pytest.mark.parametrize("fake", [True, False])
def test_one_class_gives_a_reason(fake: bool) -> None:
    found = estimate(np.full(30, fake), np.linspace(0, 1, 30), np.arange(30), resamples=50)
    only = "only fakes, no real" if fake else "only reals, no fake"
    assert found["auc"] == Estimate(None, reason=only)
    assert found["accuracy"].low is not None
    text = json.dumps({name: value.to_json() for name, value in found.items()}, allow_nan=False)
    assert "NaN" not in text


def test_no_rows_give_a_reason() -> None:
    found = estimate([], [], [], resamples=50)
    assert all(value == Estimate(None, reason="no rows") for value in found.values())


def test_one_cluster_gives_no_interval() -> None:
    found = estimate([True, False], [0.8, 0.1], ["a", "a"], resamples=50)["auc"]
    assert found == Estimate(1.0, reason="one source only: no interval")


def test_clusters_that_are_too_few_give_no_interval() -> None:
    # Half of the resamples of two one-class clusters miss a class.
    found = estimate([True, False], [0.8, 0.1], ["a", "b"], resamples=200)["auc"]
    assert found.value == 1
    assert found.low is None
    assert found.reason == "too few sources: resamples miss a class"


def test_no_resamples_give_no_interval() -> None:
    found = estimate([True, False], [0.8, 0.1], ["a", "b"], resamples=0)["auc"]
    assert found == Estimate(1.0, reason="no resamples were asked for")


def test_cluster_names_must_match_rows() -> None:
    with pytest.raises(ValueError, match="cluster"):
        estimate([True, False], [0.8, 0.1], ["a"], resamples=10)


def test_a_thousand_resamples_of_five_thousand_rows_take_seconds() -> None:
    rng = np.random.default_rng(0)
    start = time.process_time()
    estimate(rng.random(5000) < 0.5, rng.random(5000), rng.integers(3000, size=5000), resamples=1000)
    assert time.process_time() - start < 5


def test_a_mean_and_its_interval_know_the_clusters() -> None:
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(3, 1, 100), 5)
    found = estimate_mean(shared, np.repeat(np.arange(100), 5))
    assert found.value == pytest.approx(shared.mean())
    # Five copies of a hundred numbers are a hundred numbers: the standard error is a tenth.
    assert width(found) == pytest.approx(2 * 1.96 * shared.std() / 10, rel=0.15)
    assert width(estimate_mean(shared, np.arange(500))) == pytest.approx(width(found) / 5**0.5, rel=0.15)
    assert estimate_mean(np.empty(0), []).reason == "no rows"
    assert estimate_mean(np.ones(3), ["a", "a", "a"]).reason == "one source only: no interval"
    assert estimate_mean(np.ones(3), ["a", "b", "c"], resamples=0).low is None
