"""The detector that ships: its card is complete, and the same bytes get the same score as when it was made."""

from __future__ import annotations

import pytest

from unmask.demo import portraits
from unmask.detector import Scorer
from unmask.detector.file import BUNDLED
from unmask.faces import Box

#: Raw log-odds of a public-domain portrait, cropped round a fixed box, and of its mirror image: a newer timm,
#: torchvision or OpenCV that changes what the detector says is found here, not by a user.
BOX = Box(177.0, 63.0, 86.0, 116.0)
GOLDEN = (-1.630, -2.317)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load("default")


def test_it_is_small_enough_to_ship() -> None:
    assert sum(file.stat().st_size for file in (BUNDLED / "default").iterdir()) < 16 * 10**6


def test_its_card_says_what_was_measured_and_what_it_cannot_do(scorer: Scorer) -> None:
    card = scorer.card
    measured = card.results["DFDC test split"]["auc"]
    plain = card.results["plain training of the same budget, DFDC test split"]["auc"]
    assert 0.92 <= measured["low"] <= measured["value"] <= measured["high"] < 1
    assert 0 < plain["value"] < 1
    assert card.training["adversary"]["name"] == "blur-generator"
    assert "research" in card.licence
    assert card.limits
    assert 0 < card.threshold < 1


def test_golden_scores(scorer: Scorer) -> None:
    crop = scorer.card.crop.crop(portraits()[0], BOX)
    # OpenCV and torch may round a pixel differently from one processor to the next; a slip is far larger.
    assert scorer.log_odds([crop, crop[:, ::-1]]) == pytest.approx(GOLDEN, abs=0.05)
