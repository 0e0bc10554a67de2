from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from unmask.evaluation import METRICS, measure
from unmask.evaluation.metrics import ECE_BINS, Ranking, true_positive_rate_at

REALS_ABOVE_FAKES = ([False, False, True, True], [0.9, 0.8, 0.2, 0.1])
FAKES_ABOVE_REALS = ([False, False, True, True], [0.1, 0.2, 0.8, 0.9])


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and scores on a coarse grid, so that ties are the rule."""
    size = draw(st.integers(2, 40))
    scores = np.array(draw(st.lists(st.integers(0, 20), min_size=size, max_size=size))) / 20
    fake = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    fake[0], fake[1] = True, False
    return fake, scores


def simulated(seed: int, size: int = 500, digits: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fake = rng.random(size) < 0.4
    return fake, np.clip(rng.normal(0.4 + 0.2 * fake, 0.2), 0, 1).round(digits)


def test_perfect_detector() -> None:
    found = measure(*FAKES_ABOVE_REALS)
    perfect = dict.fromkeys(METRICS, 1.0) | {"eer": 0.0, "fpr": 0.0, "ece": 0.15}
    assert found == pytest.approx(perfect)


def test_perfectly_wrong_detector() -> None:
    found = measure(*REALS_ABOVE_FAKES)
    assert found["auc"] == 0
    assert found["eer"] == 1
    assert found["accuracy"] == found["balanced_accuracy"] == found["tpr"] == found["tpr_at_10pct_fpr"] == 0
    assert found["fpr"] == 1
    # Precision 1/3 at the first fake, 2/4 at the second.
    assert found["ap"] == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_constant_score_says_nothing() -> None:
    found = measure([True, False, False, False], [0.5] * 4)
    assert found["auc"] == 0.5
    assert found["eer"] == 0.5
    assert found["ap"] == 0.25
    assert found["tpr_at_10pct_fpr"] == 0
    assert found["ece"] == 0.25


def test_a_score_at_the_threshold_is_fake() -> None:
    assert measure([True, False], [0.5, 0.49], threshold=0.5)["accuracy"] == 1
    assert measure([True, False], [0.5, 0.49], threshold=0.49)["fpr"] == 1


def test_accuracies_differ_where_classes_do() -> None:
    found = measure([True, False, False, False], [0.4, 0.1, 0.2, 0.7])
    assert found["accuracy"] == 0.5
    assert found["balanced_accuracy"] == pytest.approx((0 + 2 / 3) / 2)


@given(rows())
def test_equals_scikit_learn(sample: tuple[np.ndarray, np.ndarray]) -> None:
    fake, scores = sample
    found = measure(fake, scores, threshold=0.35)
    called = scores >= 0.35
    fpr, tpr, _ = sklearn_metrics.roc_curve(fake, scores, drop_intermediate=False)
    expected = {
        "auc": sklearn_metrics.roc_auc_score(fake, scores),
        "ap": sklearn_metrics.average_precision_score(fake, scores),
        "accuracy": sklearn_metrics.accuracy_score(fake, called),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(fake, called),
        "tpr": sklearn_metrics.recall_score(fake, called),
        "fpr": 1 - sklearn_metrics.recall_score(~fake, ~called),
        "tpr_at_1pct_fpr": tpr[fpr <= 0.01].max(),
        "tpr_at_10pct_fpr": tpr[fpr <= 0.10].max(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@given(rows())
def test_equal_error_rate_lies_where_the_joined_roc_curve_crosses(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    fake, scores = sample
    fpr, tpr, _ = sklearn_metrics.roc_curve(fake, scores, drop_intermediate=False)
    low, high = 0.0, 1.0  # bisection on a parameter that runs along the whole curve, vertical parts included
    along = np.linspace(0, 1, len(fpr))
    for _ in range(60):
        middle = (low + high) / 2
        if np.interp(middle, along, fpr) >= 1 - np.interp(middle, along, tpr):
            high = middle
        else:
            low = middle
    assert measure(fake, scores)["eer"] == pytest.approx(np.interp(high, along, fpr), abs=1e-9)


@given(rows())
def test_calibration_error_equals_the_loop(sample: tuple[np.ndarray, np.ndarray]) -> None:
    fake, scores = sample
    total = 0.0
    for number in range(ECE_BINS):
        inside = [row for row, score in enumerate(scores) if min(int(score * ECE_BINS), ECE_BINS - 1) == number]
        if inside:
            total += len(inside) * abs(np.mean(scores[inside]) - np.mean(fake[inside]))
    assert measure(fake, scores)["ece"] == pytest.approx(total / len(fake), abs=1e-12)


@given(rows())
def test_auc_is_the_chance_that_a_fake_outscores_a_real(sample: tuple[np.ndarray, np.ndarray]) -> None:
    fake, scores = sample
    pairs = scores[fake][:, None] - scores[~fake][None, :]
    assert measure(fake, scores)["auc"] == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))


@given(rows())
def test_only_the_order_of_scores_counts_for_ranking_metrics(sample: tuple[np.ndarray, np.ndarray]) -> None:
    fake, scores = sample
    bent = scores**3 / 2 + 0.1
    names = ("auc", "ap", "eer", "tpr_at_1pct_fpr", "tpr_at_10pct_fpr")
    before, after = measure(fake, scores), measure(fake, bent)
    assert {name: before[name] for name in names} == pytest.approx({name: after[name] for name in names})


@given(rows())
def test_swapped_labels_mirror_auc(sample: tuple[np.ndarray, np.ndarray]) -> None:
    fake, scores = sample
    assert measure(~fake, scores)["auc"] == pytest.approx(1 - measure(fake, scores)["auc"])
    assert measure(~fake, 1 - scores)["eer"] == pytest.approx(measure(fake, scores)["eer"])


@given(rows(), st.randoms())
def test_row_order_does_not_count(sample: tuple[np.ndarray, np.ndarray], random) -> None:
    fake, scores = sample
    order = np.array(random.sample(range(len(fake)), len(fake)))
    assert measure(fake[order], scores[order]) == pytest.approx(measure(fake, scores))


@given(rows(), st.data())
def test_a_whole_weight_is_a_repeated_row(sample: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    fake, scores = sample
    size = len(fake)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    weighted = measure(fake, scores, 0.35, weights)
    repeated = measure(np.repeat(fake, weights), np.repeat(scores, weights), 0.35)
    assert weighted == pytest.approx(repeated)


def test_many_weightings_at_once_equal_each_alone() -> None:
    fake, scores = simulated(0, 80, 1)
    weights = np.random.default_rng(1).integers(0, 4, size=(7, 80))
    sweep = Ranking(fake, scores, 0.6).sweep(weights)
    for name, metric in METRICS.items():
        alone = [measure(fake, scores, 0.6, one)[name] for one in weights]
        assert metric(sweep) == pytest.approx(alone), name


def test_one_percent_of_a_hundred_reals_is_one_real() -> None:
    # 0.07 * 100 is 7.000000000000001 in floating point, 0.29 * 100 28.999999999999996: no real may be lost.
    scores = np.concatenate([np.linspace(0, 1, 100), np.linspace(0.0001, 0.9999, 10_000)])
    fake = np.arange(len(scores)) >= 100
    sweep = Ranking(fake, scores).sweep()
    for percent in (1, 7, 29, 57):
        highest_let_through = np.sort(scores[:100])[-percent - 1]
        share = np.mean(scores[100:] > highest_let_through)
        assert true_positive_rate_at(sweep, percent / 100)[0] == pytest.approx(share)


@pytest.mark.parametrize("fake", [[True, True], [False, False], []])
def test_a_missing_class_gives_none_not_a_number(fake: list[bool]) -> None:
    found = measure(fake, [0.2, 0.7][: len(fake)])
    for name in ("auc", "ap", "eer", "balanced_accuracy", "tpr_at_1pct_fpr", "tpr_at_10pct_fpr"):
        assert found[name] is None
    if fake:
        assert found["accuracy"] == 0.5
        assert found["ece"] is not None


@pytest.mark.parametrize(
    ("fake", "scores"), [([True], [0.1, 0.2]), ([True, False], [0.1, np.nan]), ([[True]], [[0.5]])]
)
def test_unusable_rows_are_refused(fake: list, scores: list) -> None:
    with pytest.raises(ValueError, match="scores"):
        measure(fake, scores)
