"""Averaged detectors: what lies between two, and what cannot be averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.detectors import make_card, make_detector

from unmask.cli import main
from unmask.detector import read_detector, save_detector
from unmask.detector.mixing import mix_detectors
from unmask.errors import UnmaskError


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A detector, and the same with other weights."""
    first = make_detector(tmp_path / "first")
    card, state = read_detector(first)
    moved = {name: tensor + 1 if tensor.is_floating_point() else tensor + 7 for name, tensor in state.items()}
    return first, save_detector(tmp_path / "second", moved, card)


def test_weights_lie_between(two: tuple[Path, Path], tmp_path: Path) -> None:
    assert main(["mix", str(two[0]), str(two[1]), str(tmp_path / "out"), "--share", "0.25"]) == 0
    (_, old), (_, new), (card, mixed) = (read_detector(folder) for folder in (*two, tmp_path / "out"))
    for name, tensor in mixed.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, old[name] + 0.25)
        else:
            assert torch.equal(tensor, new[name])
    assert card.training["mixed"]["share"] == 0.25
    assert card.results == {}  # what was measured was another detector

    again, _ = read_detector(mix_detectors(two[0], tmp_path / "out", 0.5, tmp_path / "again"))
    assert again.training["mixed"]["share"] == 0.5
    assert again.training["mixed"]["second"]["mixed"] == card.training["mixed"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_are_the_two(two: tuple[Path, Path], tmp_path: Path, share: float) -> None:
    _, mixed = read_detector(mix_detectors(*two, share, tmp_path / "out"))
    _, end = read_detector(two[int(share)])
    for name in (name for name, tensor in end.items() if tensor.is_floating_point()):
        torch.testing.assert_close(mixed[name], end[name])


def test_training_may_have_gone_on_at_another_size(two: tuple[Path, Path], tmp_path: Path) -> None:
    other = make_detector(tmp_path / "other", input_size=96)
    card, _ = read_detector(mix_detectors(two[0], other, 0.5, tmp_path / "out"))
    assert card.input_size == 96


def test_what_cannot_be_mixed_says_why(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_detector(tmp_path / "other", mean=[0.4, 0.5, 0.5])
    with pytest.raises(UnmaskError, match=r"cannot be mixed with .*first: mean differs"):
        mix_detectors(two[0], other, 0.5, tmp_path / "out")
    card, state = read_detector(two[0])
    fewer = save_detector(tmp_path / "fewer", dict(list(state.items())[1:]), make_card(training=card.training))
    with pytest.raises(UnmaskError, match="their tensors differ"):
        mix_detectors(two[0], fewer, 0.5, tmp_path / "out")
    assert main(["mix", str(two[0]), str(two[1]), str(tmp_path / "out"), "--share", "2"]) == 2
    assert "lies in [0, 1], got 2.0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
