"""Which frames are looked at: invariants over arbitrary time stamps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unmask.faces.choice import spread, worthwhile_seeks

STAMPS = st.lists(st.integers(-1000, 10**9), min_size=1, max_size=60, unique=True).map(sorted)


@given(STAMPS, st.integers(1, 80))
def test_as_many_as_asked_for_each_once_in_order(stamps: list[int], count: int) -> None:
    wanted = spread(stamps, count, 0.001)
    assert wanted == sorted(set(wanted))
    assert set(wanted) <= set(stamps)
    assert len(wanted) == min(count, len(stamps))


@given(STAMPS, st.floats(0.01, 100))
def test_at_a_rate_there_is_always_one(stamps: list[int], rate: float) -> None:
    assert 1 <= len(spread(stamps, 1, 0.001, rate)) <= len(stamps)


def test_evenly_spaced_frames_are_the_middles_of_equal_shares() -> None:
    assert spread(list(range(0, 400, 10)), 4, 0.004) == [50, 150, 250, 350]


def test_seeking_pays_across_many_frames_only() -> None:
    stamps, keyframes = list(range(100)), [0, 10, 50, 90]
    assert worthwhile_seeks(stamps, keyframes, [5, 12, 60, 95]) == {60: 50, 95: 90}
    assert worthwhile_seeks(stamps, [], [60]) == {}


@given(STAMPS, st.integers(1, 80), st.data())
def test_a_seek_never_goes_beyond_the_wanted_frame(stamps: list[int], count: int, data: st.DataObject) -> None:
    wanted = spread(stamps, count, 0.001)
    keyframes = sorted(data.draw(st.sets(st.sampled_from(stamps))))
    for stamp, key in worthwhile_seeks(stamps, keyframes, wanted).items():
        assert key in keyframes
        assert key <= stamp
