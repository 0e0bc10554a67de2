from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from unmask.detector import calibrated
from unmask.errors import UnmaskError
from unmask.evaluation import (
    choose_threshold,
    choose_uncertain,
    fit_calibration,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    measure,
)


def probability(calibration, log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(calibration["scale"] * log_odds + calibration["offset"])))


def overconfident(size: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds three times too large and 2 too high: the truth is scale 1/3, offset -2/3."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, size)
    fake = rng.random(size) < 1 / (1 + np.exp(-honest))
    return 3 * honest + 2, fake


def test_platt_recovers_scale_and_offset() -> None:
    log_odds, fake = overconfident(40_000)
    found = fit_platt(log_odds, fake)
    assert found["method"] == "platt"
    assert found["scale"] == pytest.approx(1 / 3, rel=0.05)
    assert found["offset"] == pytest.approx(-2 / 3, rel=0.08)


def test_platt_is_logistic_regression() -> None:
    log_odds, fake = overconfident()
    regression = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds[:, None], fake)
    found = fit_platt(log_odds, fake)
    # The smoothed targets are the only difference, and it shrinks with the rows.
    assert found["scale"] == pytest.approx(regression.coef_[0, 0], rel=5e-3)
    assert found["offset"] == pytest.approx(regression.intercept_[0], rel=5e-3)


def test_calibration_error_falls() -> None:
    log_odds, fake = overconfident(seed=1)
    fitted = fit_platt(*overconfident(seed=2))
    raw = measure(fake, 1 / (1 + np.exp(-log_odds)))["ece"]
    calibrated = measure(fake, probability(fitted, log_odds))["ece"]
    assert raw > 0.1
    assert calibrated < 0.03


def test_temperature_leaves_zero_at_one_half() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, 20_000)
    fake = rng.random(20_000) < 1 / (1 + np.exp(-honest))
    found = fit_temperature(5 * honest, fake)
    assert found["method"] == "temperature"
    assert found["offset"] == 0
    assert found["scale"] == pytest.approx(0.2, rel=0.05)


@given(st.floats(-6, 6), st.floats(-50, 50))
def test_units_of_the_log_odds_do_not_count(power: float, shift: float) -> None:
    log_odds, fake = overconfident(300)
    moved = log_odds * 10**power + shift * 10**power
    expected = probability(fit_platt(log_odds, fake), log_odds)
    assert probability(fit_platt(moved, fake), moved) == pytest.approx(expected, abs=1e-5)


def test_separable_rows_stay_finite() -> None:
    fake = np.arange(40) >= 20
    found = fit_platt(np.where(fake, 9.0, -9.0), fake)
    # Platt's targets: 21/22 for fakes, 1/22 for reals.
    assert probability(found, np.array([9.0, -9.0])) == pytest.approx([21 / 22, 1 / 22])


@pytest.mark.parametrize("fit", [fit_platt, fit_temperature])
def test_a_detector_that_is_the_wrong_way_round_is_refused(fit) -> None:
    log_odds, fake = overconfident(200)
    with pytest.raises(UnmaskError, match="do not rise"):
        fit(-log_odds, fake)


@pytest.mark.parametrize("function", [fit_platt, fit_temperature, choose_threshold])
def test_one_class_is_refused(function) -> None:
    with pytest.raises(UnmaskError, match="only reals"):
        function([0.1, 0.2], [False, False])
    with pytest.raises(ValueError, match="finite"):
        function([0.1, np.nan], [False, True])


def test_threshold_lets_five_percent_of_the_reals_be_called_fake() -> None:
    scores = np.concatenate([np.arange(100) / 100, [0.93, 0.99]])
    fake = np.arange(102) >= 100
    threshold, rule = choose_threshold(scores, fake)
    # The five highest reals are .95 to .99: the threshold lies between .94 and .95.
    assert threshold == pytest.approx(0.945)
    assert measure(fake, scores, threshold)["fpr"] == 0.05
    assert rule == (
        "at most 5 % of the validation reals are called fake (5 of 100), which finds 50.0 % of the validation fakes"
    )


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.5]),
)
def test_threshold_is_the_lowest_that_keeps_the_rule(levels: list[int], rate: float) -> None:
    reals = np.array(levels) / 31
    scores, fake = np.append(reals, 0.5), np.append(np.zeros(len(reals), dtype=bool), True)
    threshold, _ = choose_threshold(scores, fake, rate)
    assert np.mean(reals >= threshold) <= rate + 1e-12
    below = reals[reals < threshold].max()
    assert np.mean(reals >= below) > rate


def test_reals_that_all_score_one_have_no_threshold() -> None:
    with pytest.raises(UnmaskError, match="no threshold"):
        choose_threshold([1.0, 1.0, 1.0], [False, False, True])


def test_a_rate_outside_its_range_is_refused() -> None:
    with pytest.raises(UnmaskError, match="not in"):
        choose_threshold([0.1, 0.9], [False, True], 1.0)


def bent(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds that no straight line calibrates: the truth is flat on either side of a steep middle."""
    rng = np.random.default_rng(seed)
    log_odds = rng.uniform(-6, 6, size)
    return log_odds, rng.random(size) < np.where(
        np.abs(log_odds) < 1, 0.5 + 0.3 * log_odds, 0.5 + 0.3 * np.sign(log_odds)
    )


def test_isotonic_follows_what_platt_cannot() -> None:
    log_odds, fake = bent(8000)
    found = fit_isotonic(log_odds, fake)
    at = np.array([-4.0, 0.0, 4.0])
    assert calibrated(at, found) == pytest.approx([0.2, 0.5, 0.8], abs=0.05)
    held, held_fake = bent(8000, seed=1)
    errors = [measure(held_fake, calibrated(held, fit(log_odds, fake)))["ece"] for fit in (fit_isotonic, fit_platt)]
    assert errors[0] < errors[1] / 2


@given(st.integers(0, 1000), st.integers(100, 3000))
def test_isotonic_never_reorders(seed: int, size: int) -> None:
    log_odds, fake = overconfident(size, seed)
    try:
        found = fit_isotonic(log_odds, fake)
    except UnmaskError:
        return
    scores = calibrated(np.linspace(-40, 40, 300), found)
    assert (np.diff(scores) > 0).all()
    assert ((scores > 0) & (scores < 1)).all()


def test_the_simplest_method_is_chosen_that_the_data_do_not_speak_against() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, 3000)
    fake = rng.random(3000) < 1 / (1 + np.exp(-honest))
    assert fit_calibration(5 * honest, fake) == fit_temperature(5 * honest, fake)
    assert fit_calibration(5 * honest + 9, fake) == fit_platt(5 * honest + 9, fake)
    assert fit_calibration(*bent(6000))["method"] == "isotonic"
    # The same bend in too few rows is left to the line.
    assert fit_calibration(*bent(1000))["method"] != "isotonic"


def test_groups_are_held_out_whole() -> None:
    log_odds, fake = bent(6000)
    assert fit_calibration(log_odds, fake, np.arange(6000) // 3)["method"] == "isotonic"
    # Four groups cannot be held out in five folds: nothing is chosen by cross-validation then.
    assert fit_calibration(log_odds, fake, np.arange(6000) % 4) == fit_platt(log_odds, fake)


def test_too_few_rows_to_hold_any_out_still_calibrate() -> None:
    fake = np.arange(8) >= 4
    log_odds = np.where(fake, 1.0, -1.0)
    assert fit_calibration(log_odds, fake) == fit_platt(log_odds, fake)
    with pytest.raises(UnmaskError, match="do not rise"):
        fit_calibration(-np.repeat(log_odds, 50), np.repeat(fake, 50))


def test_the_band_bounds_the_fakes_called_real() -> None:
    scores = np.concatenate([np.arange(100) / 100, np.arange(100) / 100])
    fake = np.arange(200) >= 100
    (low, high), rule = choose_uncertain(scores, fake, 0.945, 0.1)
    assert low == 0.1
    assert high == np.nextafter(0.945, 0)
    assert np.mean(scores[fake] < low) == 0.1
    assert rule == (
        "at most 10 % of the validation fakes are called real; between there and the threshold lie"
        " 85.0 % of the reals and 85.0 % of the fakes"
    )


def test_a_detector_that_keeps_both_rates_needs_no_band() -> None:
    band, rule = choose_uncertain([0.1, 0.2, 0.8, 0.9], [False, False, True, True], 0.5)
    assert band is None
    assert "no score is uncertain" in rule
    with pytest.raises(UnmaskError, match="not in"):
        choose_uncertain([0.1, 0.9], [False, True], 0.5, -0.1)
