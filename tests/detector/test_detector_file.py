from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from unmask.detector import Card, read_detector, save_detector
from unmask.detector.file import read_weights
from unmask.errors import UnmaskError


class Mischief:
    """Leaves a file behind if anybody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def refusal(path: Path | str) -> UnmaskError:
    with pytest.raises(UnmaskError) as caught:
        read_detector(path)
    assert "\n" not in str(caught.value)
    return caught.value


def edit(folder: Path, **changes: object) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("inside", ["", "card.json", "model.safetensors"])
def test_round_trip_to_the_bit(folder: Path, card: Card, state: dict[str, torch.Tensor], inside: str) -> None:
    found, tensors = read_detector(folder / inside)
    assert found == replace(card, weights_sha256=found.weights_sha256)
    assert len(found.weights_sha256) == 64
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], state[name]) for name in state)


def test_dtypes_are_kept(tmp_path: Path, card: Card, state: dict[str, torch.Tensor]) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    _, tensors = read_detector(save_detector(tmp_path, half, card))
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {
        name: tensor.dtype for name, tensor in half.items()
    }


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path, card: Card) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    _, tensors = read_detector(save_detector(tmp_path, {"a": base, "b": base.t(), "c": base[0]}, card))
    assert torch.equal(tensors["b"], base.t())


def test_saving_replaces_and_leaves_nothing_else(folder: Path, card: Card, state) -> None:
    save_detector(folder, state, replace(card, version="0.2"))
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors"]
    assert read_detector(folder)[0].version == "0.2"


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, card: Card, state) -> None:
    one, two = (save_detector(tmp_path / name, state, card) for name in "ab")
    for name in ("card.json", "model.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_card_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path, card: Card) -> None:
    for value in (float("nan"), torch.zeros(1)):
        with pytest.raises(UnmaskError, match="JSON"):
            save_detector(tmp_path / "new", {}, replace(card, results={"auc": value}))
    assert not (tmp_path / "new").exists()


def test_saving_where_a_file_is_in_the_way(tmp_path: Path, card: Card) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnmaskError, match="file: the folder cannot be made"):
        save_detector(tmp_path / "file", {}, card)


def test_the_name_of_a_bundled_detector() -> None:
    card, tensors = read_detector("default")
    assert card.classes[0] == "real"
    assert tensors


def test_nothing_there(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none")
    assert error.subject == str(tmp_path / "none")
    assert "no such detector" in error.reason
    assert "no such detector" in refusal("").reason or "missing" in refusal("").reason


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert str(refusal(folder)) == f"{folder / name}: the file is missing"


def test_a_file_that_is_no_detector(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\0" * 100)
    assert "is no detector" in refusal(tmp_path / "clip.mp4").reason


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    error = refusal(folder)
    assert error.subject == str(path)
    assert "truncated" in error.reason


def test_weights_of_another_card(folder: Path, tmp_path: Path, card: Card, state) -> None:
    other = save_detector(tmp_path / "other", {name: tensor + 1 for name, tensor in state.items()}, card)
    (other / "model.safetensors").replace(folder / "model.safetensors")
    assert "SHA-256 differs" in refusal(folder).reason


def test_weights_that_are_not_numbers(tmp_path: Path, card: Card) -> None:
    folder = save_detector(tmp_path, {"head.weight": torch.tensor([1.0, float("nan")])}, card)
    assert "tensor head.weight holds NaN" in refusal(folder).reason


@pytest.mark.parametrize("how", ["torch", "pickle", "legacy"])
@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_pickle_is_refused_and_not_run(folder: Path, tmp_path: Path, how: str, name: str) -> None:
    trace = tmp_path / "trace"
    (folder / "model.safetensors").unlink()
    if how == "pickle":
        (folder / name).write_bytes(pickle.dumps(Mischief(trace)))
    else:
        torch.save(Mischief(trace), folder / name, _use_new_zipfile_serialization=how == "torch")
    for path in (folder, folder / name):
        error = refusal(path)
        assert "pickle" in error.reason
        assert str(folder) in error.subject
    assert not trace.exists()


def test_weights_whose_first_bytes_are_those_of_a_pickle(tmp_path: Path) -> None:
    """Safetensors begin with the length of their header."""
    path, tensors, pad = tmp_path / "model.safetensors", {"weight": torch.ones(2)}, 0
    while not (content := save(tensors, {"pad": "x" * pad})).startswith(b"\x80\x02"):
        pad += 1
    path.write_bytes(content)
    assert torch.equal(read_weights(path, "")["weight"], tensors["weight"])


def test_a_card_of_another_format(folder: Path) -> None:
    edit(folder, format=2, calibration=None)
    error = refusal(folder)
    assert error.subject == str(folder / "card.json")
    assert error.reason == "card format 2, this version of unmask reads 1"


def test_a_wrong_first_class(folder: Path) -> None:
    edit(folder, classes=["face swap", "real", "reenactment"])
    assert "it must be 'real'" in refusal(folder).reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "utf-8"),
        (b"[]", "must be a JSON object"),
        (b'{"format": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_card_that_is_none(folder: Path, text: bytes, reason: str) -> None:
    (folder / "card.json").write_bytes(text)
    error = refusal(folder)
    assert error.subject == str(folder / "card.json")
    assert reason in error.reason
