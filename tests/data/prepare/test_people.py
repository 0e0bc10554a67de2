"""Who of a clip is taken."""

from __future__ import annotations

from unmask.data.prepare.people import Find, choose_people
from unmask.faces import Box, Face


def _track(length: int, side: float = 100, manipulated: float = 0.0, dropped: str = "", start: int = 0) -> list[Find]:
    face = Face(Box(0, 0, side, side), 1.0)
    return [Find(start + i, face, {"frame": i}, dropped, manipulated) for i in range(length)]


def test_the_largest_of_those_who_are_seen_long_enough() -> None:
    passer_by, small, large = _track(3, side=300), _track(32, side=60), _track(20, side=120)
    taken, left = choose_people([small, large, passer_by], 32, "main")
    assert taken == {0: large}
    assert left == {"another person": 32, "seen too briefly": 3}


def test_everybody_seen_long_enough() -> None:
    small, large, flicker = _track(32, side=60), _track(20, side=120), _track(1, side=500)
    taken, left = choose_people([small, large, flicker], 32, "all")
    assert taken == {0: large, 1: small}
    assert left == {"seen too briefly": 1}


def test_the_masks_decide_against_size_and_length() -> None:
    large, forged = _track(32, side=200, manipulated=0.02), _track(10, side=50, manipulated=0.9)
    assert choose_people([large, forged], 32, "main") == ({1: forged}, {"another person": 32})
    # A person whom the mask leaves alone is real: the clip's label would be wrong.
    assert choose_people([large, forged], 32, "all") == ({1: forged}, {"not manipulated": 32})


def test_two_who_are_manipulated() -> None:
    one, other = _track(8, manipulated=0.6), _track(8, manipulated=0.4)
    assert choose_people([other, one], 8, "all")[0] == {1: one, 0: other}


def test_faces_that_are_not_good_enough() -> None:
    blurred, sharp = _track(16, side=200, dropped="too blurred"), _track(16, side=80)
    assert choose_people([blurred, sharp], 16, "main") == ({0: sharp}, {"too blurred": 16})
    partly = _track(3) + _track(3, dropped="too small", start=3)
    taken, left = choose_people([partly], 6, "main")
    assert [find.position for find in taken[0]] == [0, 1, 2]
    assert left == {"too small": 3}


def test_an_image_and_an_empty_clip() -> None:
    assert choose_people([_track(1)], 1, "main")[0] == {0: _track(1)}
    assert choose_people([], 32, "main") == ({}, {})
