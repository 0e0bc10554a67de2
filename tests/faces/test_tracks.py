"""Tracks: every face in exactly one, nobody twice in a frame, people and scenes kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.faces import Box, Face, find_scenes, link_tracks


def _face(x: float, y: float = 100.0, size: float = 50.0) -> Face:
    return Face(Box(x, y, size, size), 1.0)


_faces = st.builds(_face, st.floats(-50, 400), st.floats(-50, 400), st.floats(1, 200))
_clips = st.lists(st.lists(_faces, max_size=4), max_size=12)


@given(_clips, st.data())
def test_each_face_is_in_exactly_one_track(clip: list[list[Face]], data: st.DataObject) -> None:
    scenes = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=len(clip), max_size=len(clip)))
    tracks = link_tracks(clip, scenes)
    linked = sorted((position, id(face)) for track in tracks for position, face in track.faces)
    assert linked == sorted((position, id(face)) for position, frame in enumerate(clip) for face in frame)
    for track in tracks:
        positions = [position for position, _ in track.faces]
        assert positions == sorted(set(positions))
        assert scenes is None or len({scenes[position] for position in positions}) == 1
    assert [len(track) for track in tracks] == sorted((len(track) for track in tracks), reverse=True)
    assert tracks == link_tracks(clip, scenes)


def test_two_people_side_by_side_stay_apart() -> None:
    clip = [[_face(100 + 3 * i), _face(160 - 3 * i)][:: 1 if i % 2 else -1] for i in range(8)]
    tracks = link_tracks(clip)
    assert [len(track) for track in tracks] == [8, 8]
    for track in tracks:
        steps = np.diff([face.box.x for _, face in track.faces])
        assert np.abs(steps).max() == pytest.approx(3)


def test_a_face_that_moved_by_most_of_its_width_is_the_same() -> None:
    assert len(link_tracks([[_face(100)], [_face(145)], [_face(190)]])) == 1
    assert len(link_tracks([[_face(100)], [_face(300)]])) == 2
    assert len(link_tracks([[_face(100, size=50)], [_face(60, 60, size=130)]])) == 2


def test_a_gap_is_bridged_up_to_its_limit() -> None:
    clip: list[list[Face]] = [[_face(100)], [], [], [], [_face(105)]]
    assert len(link_tracks(clip, max_gap=3)) == 1
    assert len(link_tracks(clip, max_gap=2)) == 2


def test_cutting_back_continues_the_track() -> None:
    clip = [[_face(100)], [_face(100)], [_face(110)], [_face(110)], [_face(101)], [_face(101)]]
    tracks = link_tracks(clip, scenes=[0, 0, 1, 1, 0, 0])
    assert [[position for position, _ in track.faces] for track in tracks] == [[0, 1, 4, 5], [2, 3]]


def test_long_tracks_come_first_then_large_faces() -> None:
    clip = [[_face(400, size=90), _face(0, size=40)], [_face(0, size=40)], [_face(800, size=50)]]
    sizes = [track.faces[0][1].box.width for track in link_tracks(clip)]
    assert sizes == [40, 90, 50]


def test_nothing_in_nothing_out() -> None:
    assert link_tracks([]) == []
    assert link_tracks([[], []]) == []
    assert find_scenes([]) == []


def test_scenes_by_colour() -> None:
    rng = np.random.default_rng(0)

    def shot(colour: tuple[int, int, int]) -> np.ndarray:
        noise = rng.integers(0, 20, (90, 160, 3))
        return (np.array(colour) + noise).astype(np.uint8)

    one, other = (10, 140, 200), (200, 80, 10)
    assert find_scenes([shot(one), shot(one), shot(other), shot(other), shot(one)]) == [0, 0, 1, 1, 0]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="scene labels"):
        link_tracks([[]], [0, 1])
    with pytest.raises(ValueError, match="max_gap"):
        link_tracks([[]], max_gap=-1)
