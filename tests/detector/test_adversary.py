"""The adversary beside a detector: it plays against it, survives the disk, and nothing else is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.tables import write_table

from unmask.data.table import FaceTable
from unmask.detection import load_detector
from unmask.detector import Card, Scorer, read_detector
from unmask.detector.adversary import ADVERSARY, fit_adversary, read_adversary, save_adversary
from unmask.errors import UnmaskError
from unmask.game.adversaries import GeneratorBlur


@pytest.fixture
def table(tmp_path: Path) -> FaceTable:
    return FaceTable.read(write_table(tmp_path / "table.parquet", 8, 8))


@pytest.fixture
def saved(folder: Path) -> Path:
    """A detector's folder with an untrained adversary in it."""
    torch.manual_seed(0)
    card, _ = read_detector(folder)
    save_adversary(
        folder, card, GeneratorBlur("two", sigma_max=1.5), "blur-generator", {"sigma_max": 1.5}, {"steps": 0}
    )
    return folder


def test_it_learns_to_hurt_and_leaves_the_detector_alone(folder: Path, table: FaceTable) -> None:
    scorer = Scorer.load(folder, device="cpu")
    before = {name: tensor.clone() for name, tensor in scorer.model.state_dict().items()}
    state = torch.get_rng_state()
    steps: list[tuple[int, int]] = []
    adversary, losses = fit_adversary(
        scorer, table, steps=24, lr=0.01, seed=1, progress=lambda *step: steps.append(step)
    )
    assert losses["loss_after"] > losses["loss_before"]
    assert steps == [(step, 24) for step in range(1, 25)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in scorer.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not adversary.training
    again, told = fit_adversary(scorer, table, steps=24, lr=0.01, seed=1)
    assert told == losses
    assert all(torch.equal(a, b) for a, b in zip(adversary.parameters(), again.parameters(), strict=True))


def test_it_survives_the_disk(saved: Path) -> None:
    card, _ = read_detector(saved)
    assert card.adversary is not None
    assert card.adversary["steps"] == 0
    found = read_adversary(saved, card)
    assert found is not None
    assert found.sigma_max == 1.5
    assert set(found.generators) == {"real", "fake"}
    stored = safetensors.torch.load_file(saved / ADVERSARY)
    assert all(torch.equal(tensor.float(), found.state_dict()[name]) for name, tensor in stored.items())


def test_a_detector_without_one(folder: Path) -> None:
    assert read_adversary(folder, read_detector(folder)[0]) is None
    assert load_detector(folder).adversary is None


def damage(folder: Path, how: str) -> None:
    card = json.loads((folder / "card.json").read_text())
    if how == "missing":
        (folder / ADVERSARY).unlink()
    elif how == "truncated":
        (folder / ADVERSARY).write_bytes((folder / ADVERSARY).read_bytes()[:100])
    elif how == "SHA-256":
        safetensors.torch.save_file({"a": torch.zeros(1)}, folder / ADVERSARY)
    elif how == "does not fit":
        card["adversary"]["options"]["width"] = 8
    elif how == "no generator":
        card["adversary"] |= {"name": "noise", "options": {}}
    else:
        card["adversary"]["name"] = how
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "the file is missing"),
        ("truncated", "truncated or no safetensors"),
        ("SHA-256", "its SHA-256 differs"),
        ("does not fit", "does not fit"),
        ("no generator", "is no generator of blur"),
        ("os.system", "expected plain"),
    ],
)
def test_what_is_no_adversary_is_refused(saved: Path, how: str, reason: str) -> None:
    damage(saved, how)
    card = Card.from_json(json.loads((saved / "card.json").read_text()))
    with pytest.raises(UnmaskError, match=reason) as caught:
        read_adversary(saved, card)
    assert "\n" not in str(caught.value)


def test_one_class_is_no_game(folder: Path, tmp_path: Path) -> None:
    table = FaceTable.read(write_table(tmp_path / "reals.parquet", 4, 0))
    with pytest.raises(UnmaskError, match="both reals and fakes"):
        fit_adversary(Scorer.load(folder, device="cpu"), table, steps=1)


def test_its_map_is_in_the_evidence(saved: Path, clip: Path) -> None:
    detector = load_detector(saved)
    found = detector.detect(clip, frames=4, pictures=True)
    assert found.notes == ()
    for each in found.evidence:
        assert each.sigma is not None
        assert each.heat is not None
        assert each.cells is not None
    assert detector.detect(clip, frames=4, pictures=True) == found
