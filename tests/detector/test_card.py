from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.detector import Card, QualityLimits, calibrated


def test_survives_json(card: Card) -> None:
    again = Card.from_json(json.loads(json.dumps(card.to_json())))
    assert again == card
    assert again.crop == card.crop
    assert again.uncertain == (0.5, 0.62)


def test_a_card_without_optional_fields(card: Card) -> None:
    value = card.to_json()
    for name in ("uncertain", "uncertain_rule", "tested", "adversary", "weights_sha256"):
        del value[name]
    assert Card.from_json(value) == replace(card, uncertain=None)


def test_probability_is_platt_scaling(card: Card) -> None:
    raw = np.array([-3.0, 0.0, 2.5])
    assert card.probability(raw) == pytest.approx(1 / (1 + np.exp(-(0.7 * raw - 0.2))))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_probability_lies_in_range_and_keeps_order(raw: list[float]) -> None:
    card_ = Card.from_json(CARD)
    found = card_.probability(np.sort(raw))
    assert found.dtype == np.float64
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()


CARD = {
    "format": 1,
    "backbone": "test_efficientnet",
    "classes": ["real", "fake"],
    "input_size": 48,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "crop": {"margin": 1.3, "shift_y": 0.0, "size": 64},
    "calibration": {"method": "platt", "scale": 1.0, "offset": 0.0},
    "threshold": 0.5,
    "threshold_rule": "by hand",
    "training": {},
    "results": {},
    "licence": "Apache-2.0",
    "intended_use": "tests",
    "limits": [],
    "version": "0.1",
}


ISOTONIC = {"method": "isotonic", "scale": 0.5, "offset": 0.0, "log_odds": [-2, 0, 1], "probability": [0.1, 0.5, 0.9]}


def test_an_isotonic_table_is_interpolated_and_goes_on_with_its_slope() -> None:
    card = Card.from_json({**CARD, "calibration": ISOTONIC})
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card
    ninth = np.log(9)
    odds = np.array([-ninth - 0.5 * 3, -ninth, -ninth / 2, 0, ninth / 2, ninth, ninth + 0.5])
    found = card.probability([-5, -2, -1, 0, 0.5, 1, 2])
    assert found == pytest.approx(1 / (1 + np.exp(-odds)))
    assert calibrated(0.0, card.calibration).shape == ()


def test_tested_ranges_survive_json() -> None:
    card = Card.from_json({**CARD, "tested": {"crops": 300, "quantile": 0.01, "sharpness": 0.1}})
    assert card.tested == QualityLimits(300, 0.01, None, 0.1, None)
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "card format 2, this version of unmask reads 1"),
        ({"classes": ["fake", "real"]}, "the first class is 'fake', it must be 'real'"),
        ({"classes": ["real"]}, "at least one manipulation"),
        ({"classes": ["real", "fake", "fake"]}, "twice"),
        ({"classes": "real, fake"}, "'classes' must list texts"),
        ({"classes": ["real", 1]}, "'classes' must list texts"),
        ({"backbone": "hf-hub:somebody/model"}, "is no timm model name"),
        ({"backbone": "local-dir:/etc"}, "is no timm model name"),
        ({"backbone": None}, "'backbone' must be text"),
        ({"input_size": 1e9}, "input_size"),
        ({"input_size": True}, "input_size"),
        ({"input_size": 7}, "input_size"),
        ({"mean": [0.5]}, "'mean' needs 3 numbers"),
        ({"std": [0.5, 0.5, 0]}, "'std' must be above 0"),
        ({"std": [0.5, 0.5, "a"]}, "'std' needs 3 numbers"),
        ({"crop": 1.3}, "'crop' must be an object"),
        ({"crop": {"margin": -1}}, "margin"),
        ({"crop": {"zoom": 2}}, "zoom"),
        ({"calibration": {"method": "platt"}}, "lacks scale, offset"),
        ({"calibration": {"method": "isotonic", "scale": 1, "offset": 0}}, "isotonic"),
        ({"calibration": {"method": "platt", "scale": -1, "offset": 0}}, "scale above 0"),
        ({"calibration": {"method": "platt", "scale": 1, "offset": None}}, "offset"),
        ({"calibration": []}, "'calibration' must be an object"),
        ({"threshold": 1.5}, "threshold 1.5 not in"),
        ({"threshold": "0.5"}, "threshold '0.5' not in"),
        ({"uncertain": [0.7, 0.6]}, "no interval"),
        ({"uncertain": 0.5}, "needs 2 numbers"),
        ({"training": []}, "'training' must be an object"),
        ({"limits": "none"}, "'limits' must list texts"),
        ({"script": "os.system"}, "unknown fields: script"),
        ({"calibration": ISOTONIC | {"probability": [0.1, 0.1, 0.9]}}, "must rise"),
        ({"calibration": ISOTONIC | {"probability": [0.1, 0.5, 1.0]}}, "must rise, within"),
        ({"calibration": ISOTONIC | {"probability": [0.1, 0.5]}}, "as many log-odds as probabilities"),
        ({"calibration": ISOTONIC | {"log_odds": "abc"}}, "needs a table"),
        ({"uncertain_rule": 3}, "'uncertain_rule' must be text"),
        ({"tested": 3}, "'tested' must be an object"),
        ({"tested": {"crops": 5}}, "missing or unknown entries"),
        ({"tested": {"crops": 5, "quantile": 0.01, "noise": 1}}, "missing or unknown entries"),
        ({"tested": {"crops": 5, "quantile": 2}}, "quantile"),
        ({"tested": {"crops": 5, "quantile": 0.01, "sharpness": "much"}}, "'sharpness' of 'tested'"),
        ({"adversary": "blur"}, "'adversary' must be an object"),
        ({"adversary": {}}, "'adversary' needs a name"),
        ({"adversary": {"name": "blur-generator", "options": 3}}, "options of 'adversary'"),
    ],
)
def test_refuses_what_makes_no_sense(change: dict, reason: str) -> None:
    assert Card.from_json(CARD).version == "0.1"
    with pytest.raises(ValueError, match=reason):
        Card.from_json({**CARD, **change})


@pytest.mark.parametrize("name", sorted(set(CARD) - {"format"}))
def test_names_the_missing_field(name: str) -> None:
    with pytest.raises(ValueError, match=f"the card lacks {name}"):
        Card.from_json({key: value for key, value in CARD.items() if key != name})


@pytest.mark.parametrize("value", [[], None, 3, "card", {}])
def test_refuses_what_is_no_card(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a JSON object|not a detector card"):
        Card.from_json(value)
