"""A clip's score: robust, and within what its frames say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.detector.frames import pooled


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_pooleds_within_its_frames_whatever_their_order(scores: list[float]) -> None:
    found = pooled(scores)
    assert min(scores) - 1e-6 <= found <= max(scores) + 1e-6
    assert pooled(scores[::-1]) == found


def test_known_scores() -> None:
    assert pooled([0.123456]) == 0.123456
    assert pooled([0.3] * 7) == 0.3
    # The mean of log-odds: real as sure as fake is undecided.
    assert pooled([0.1, 0.9]) == 0.5
    odds = [math.log(p / (1 - p)) for p in (0.2, 0.3, 0.4)]
    assert pooled([0.0, 0.2, 0.3, 0.4, 1.0]) == pytest.approx(1 / (1 + math.exp(-sum(odds) / 3)), abs=1e-6)
    assert (pooled([0.0] * 9), pooled([1.0] * 9)) == (1e-6, 1 - 1e-6)


def test_a_fifth_of_the_frames_may_fail() -> None:
    steady = pooled([0.1] * 32)
    assert pooled([0.1] * 26 + [1.0] * 6) == steady
    assert pooled([0.1] * 26 + [0.0] * 6) == steady
    assert pooled([0.1] * 20 + [1.0] * 12) > steady
