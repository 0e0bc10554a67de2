"""The detector that ships: its card is complete, and the same bytes get the same score as when it was made."""

from __future__ import annotations

import cv2
import pytest
import torch

from unmask.demo import portraits
from unmask.detection import FaceQuality
from unmask.detection.verdict import untested
from unmask.detector import Scorer
from unmask.detector.adversary import read_adversary
from unmask.detector.file import BUNDLED
from unmask.faces import Box
from unmask.faces.quality import sharpness

#: Raw log-odds of a public-domain portrait, cropped round a fixed box, and of its mirror image: a newer timm,
#: torchvision or OpenCV that changes what the detector says is found here, not by a user.
BOX = Box(177.0, 63.0, 86.0, 116.0)
GOLDEN = (-2.153, -1.855)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load("default")


def test_it_is_small_enough_to_ship() -> None:
    assert sum(file.stat().st_size for file in (BUNDLED / "default").iterdir()) < 21 * 10**6


def test_its_card_says_what_was_measured_and_what_it_cannot_do(scorer: Scorer) -> None:
    card = scorer.card
    measured = card.results["DFDC test split"]["auc"]
    assert 0.918 <= measured["low"] <= measured["value"] <= measured["high"] < 1
    for name in ("five forgeries of DFDC test reals", "four forgeries of 299 CelebA photos"):
        assert card.results[name]["auc"]["low"] > 0.91
    assert card.training["mixed"]["share"] == 0.75
    assert card.training["adversary"]["name"] == "worst-of"
    assert card.training["mixed"]["second"]["mixed"]["first"]["adversary"]["name"] == "random-restore"
    assert "research" in card.licence
    assert card.limits
    assert 0 < card.threshold < 1


def test_it_says_when_it_does_not_know(scorer: Scorer) -> None:
    card = scorer.card
    assert card.uncertain is not None
    assert 0.2 < card.uncertain[0] < card.uncertain[1] < card.threshold
    assert "of the validation fakes are called real" in card.uncertain_rule
    assert card.results["DFDC test split"]["ece"]["value"] < 0.03
    # A face enlarged from 32 pixels is poorer than nearly all it was tested on; the portrait itself is not.
    face = scorer.card.crop.crop(portraits()[0], BOX)
    small = cv2.resize(cv2.resize(face, (32, 32), interpolation=cv2.INTER_AREA), face.shape[:2])
    found = [untested(FaceQuality(200.0, sharpness(each), 1.0), card.tested) for each in (face, small)]
    assert found[0] == ()
    assert "too blurred or enlarged" in found[1][0]


def test_its_adversary_plays_on_what_is_in_the_picture(scorer: Scorer) -> None:
    adversary = read_adversary("default", scorer.card)
    assert adversary is not None
    entry = scorer.card.adversary
    assert entry is not None
    # It hurts by where it blurs: the map of another face, as strong a blur, hurts far less.
    assert entry["loss_after"] - entry["loss_before"] > 2 * (entry["loss_control"] - entry["loss_before"])
    crop = scorer.card.crop.crop(portraits()[0], BOX)
    images = scorer.prepare([crop, crop[:, ::-1]])
    sigma = adversary.sigma(images, torch.ones(2, dtype=torch.long))
    assert 0.05 < sigma.std() < 0.5
    # The map follows the face: turned with it, it is nearly the same map.
    maps = torch.stack([sigma[0].flatten(), sigma[1].flip(-1).flatten(), sigma[0].flip(-1).flatten()])
    same, other = torch.corrcoef(maps)[0, 1:]
    assert same > 0.6
    assert same > other + 0.2


def test_golden_scores(scorer: Scorer) -> None:
    crop = scorer.card.crop.crop(portraits()[0], BOX)
    # OpenCV and torch may round a pixel differently from one processor to the next; a slip is far larger.
    assert scorer.log_odds([crop, crop[:, ::-1]]) == pytest.approx(GOLDEN, abs=0.05)
