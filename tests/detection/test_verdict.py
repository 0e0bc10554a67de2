"""From frame scores to verdicts: robust, one a person, and careful where nothing was tested."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from unmask.detection import FaceQuality, FaceScore, ScoredTrack, judge, rank_tracks
from unmask.detection.verdict import settle, untested
from unmask.detector import QualityLimits
from unmask.detector.frames import pooled
from unmask.faces import Box

TESTED = QualityLimits(crops=500, quantile=0.01, face_side=60.0, sharpness=0.1, blockiness=2.0)
GOOD = FaceQuality(200.0, 0.3, 1.1)


def track(scores: Sequence[float], quality: FaceQuality | None = GOOD) -> ScoredTrack:
    faces = tuple(FaceScore(i, i, i / 2, Box(0, 0, 100, 120), 0.99, score) for i, score in enumerate(scores))
    return ScoredTrack(faces, pooled(scores), quality=quality)


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        (GOOD, []),
        (FaceQuality(59.0, 0.3, 1.1), ["too small: 59 px, tested from 60 px on"]),
        (FaceQuality(200.0, 0.05, 1.1), ["too blurred or enlarged"]),
        (FaceQuality(200.0, 0.3, 2.5), ["too strongly compressed"]),
        (FaceQuality(50.0, 0.05, None), ["too small", "too blurred"]),
        (FaceQuality(200.0, 0.3, 1.1, 24.0), []),
        (FaceQuality(200.0, 0.3, 1.1, 64.0), ["too far from upright: 64 degrees"]),
    ],
)
def test_poorer_than_tested_is_uncertain_and_says_so(quality: FaceQuality, words: list[str]) -> None:
    for score in (0.01, 0.99):
        judged = judge(track([score], quality), 0.5, None, TESTED)
        assert len(judged.warnings) == len(words)
        assert all(word in text for word, text in zip(words, judged.warnings, strict=True))
        assert judged.verdict == ("uncertain" if words else "fake" if score > 0.5 else "real")
        # The score stays what the detector said.
        assert judged.score == score


def test_without_tested_ranges_nothing_is_held_against_a_face() -> None:
    poor = FaceQuality(1.0, 0.0, 99.0)
    assert untested(poor, None) == ()
    assert untested(poor, QualityLimits(crops=0, quantile=0.01)) == ()
    assert judge(track([0.9], poor), 0.5, None, None).verdict == "fake"


def test_a_forged_stretch_is_named_though_the_whole_is_real() -> None:
    judged = judge(track([0.1] * 10 + [0.95] * 4 + [0.1] * 18), 0.7, None, TESTED)
    assert judged.verdict == "real"
    assert judged.warnings == ("every face from 5.00 s to 6.50 s scores as fake, though the whole does not",)
    for scores in ([0.1] * 10 + [0.95] * 2 + [0.1] * 20, [0.95] * 10):
        assert judge(track(scores), 0.7, None, TESTED).warnings == ()
    # A poor picture takes the verdict from a whole that scores as fake, and not its score.
    (poor,) = judge(track([0.95] * 10, FaceQuality(50.0, 0.3, None)), 0.7, None, TESTED).warnings
    assert "too small" in poor


def test_the_gravest_verdict_decides_and_not_the_highest_score() -> None:
    poor = FaceQuality(50.0, 0.3, None)
    people = [judge(track([score] * 8, quality), 0.5, None, TESTED) for score, quality in ((0.95, poor), (0.8, GOOD))]
    people.append(judge(track([0.2] * 8), 0.5, None, TESTED))
    ranked = rank_tracks(people, "video", 8)
    assert [(each.verdict, each.score) for each in ranked] == [("fake", 0.8), ("uncertain", 0.95), ("real", 0.2)]
    # Without the fake one the poor one is why nobody may say real.
    assert rank_tracks([people[0], people[2]], "video", 8)[0].verdict == "uncertain"


def test_a_track_that_does_not_count_has_no_verdict() -> None:
    ranked = rank_tracks(
        [judge(track([0.9]), 0.5, None, TESTED), judge(track([0.1] * 8), 0.5, None, TESTED)], "video", 8
    )
    assert [each.verdict for each in ranked] == ["real", None]


def test_who_is_seen_briefly_makes_no_clip_fake_and_none_real() -> None:
    whole, brief = judge(track([0.1] * 24), 0.5, None, TESTED), judge(track([0.9, 0.95]), 0.5, None, TESTED)
    assert settle(rank_tracks([whole], "video", 32), 0.5) == ("real", ())
    verdict, notes = settle(rank_tracks([brief, whole], "video", 32), 0.5)
    assert verdict == "uncertain"
    assert notes == (
        "a face from 0.00 s to 0.50 s scores as fake (0.929), too briefly seen to count: judge that part alone",
    )
    # One glimpse is an accident, and a fake clip stays fake.
    assert settle(rank_tracks([judge(track([0.9]), 0.5, None, TESTED), whole], "video", 32), 0.5)[0] == "real"
    fake = judge(track([0.9] * 24), 0.5, None, TESTED)
    verdict, notes = settle(rank_tracks([fake, *[brief] * 5], "video", 32), 0.5)
    assert (verdict, len(notes), notes[-1]) == ("fake", 4, "so do 2 more")


def test_of_a_crowd_some_are_warned_of_one_by_one() -> None:
    crowd = [judge(track([0.1], FaceQuality(59.0, 0.05, 1.1)), 0.5, None, TESTED) for _ in range(300)]
    notes = settle(rank_tracks([judge(track([0.1]), 0.5, None, TESTED), *crowd], "image", 1), 0.5)[1]
    assert [note.partition(":")[0] for note in notes[:6]] == [f"face {number}" for number in (1, 1, 2, 2, 3, 3)]
    assert notes[6:-1] == ("there are warnings about 297 more",)


def test_faces_that_are_not_judged_are_named() -> None:
    assert settle([], 0.5) == ("no face", ())
    glimpses = [judge(track([0.1]), 0.5, None, TESTED) for _ in range(27)]
    verdict, notes = settle(rank_tracks(glimpses, "video", 32), 0.5)
    assert verdict == "no face"
    assert notes == ("27 faces were found and none judged: too short: seen in 1 of 32 frames, 3 are needed",)
    # Nobody is judged; but where one scores as fake, nobody should take it for a clip without faces.
    fake = judge(track([0.9, 0.9]), 0.5, None, TESTED)
    assert settle(rank_tracks([*glimpses, fake], "video", 32), 0.5)[0] == "uncertain"


def test_among_many_faces_chance_is_named() -> None:
    crowd = [judge(track([score]), 0.5, None, TESTED) for score in (0.9, 0.1, 0.1, 0.1, 0.1)]
    verdict, notes = settle(rank_tracks(crowd, "image", 1), 0.5)
    assert verdict == "fake"
    assert notes == ("the gravest of 5 faces decides, and among many a genuine one may score as fake",)
    assert settle(rank_tracks(crowd[1:], "image", 1), 0.5) == ("real", ())
