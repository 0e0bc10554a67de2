from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from unmask.detector import Card, Scorer, save_detector
from unmask.errors import UnmaskError

State = dict[str, torch.Tensor]


@pytest.fixture
def crops() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (13, 6, 6, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


@pytest.fixture
def scorer(card: Card, state: State) -> Scorer:
    return Scorer(card, state, device="cpu")


def test_log_odds_fold_all_manipulations(scorer: Scorer, crops: np.ndarray) -> None:
    images = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        shares = scorer.model(images).softmax(dim=1).double().numpy()
    found = scorer.log_odds(crops)
    assert found.shape == (13,)
    assert found.dtype == np.float64
    assert found == pytest.approx(np.log(shares[:, 1:].sum(axis=1) / shares[:, 0]), abs=1e-5)
    assert np.ptp(found) > 0.1


def test_score_is_calibrated(scorer: Scorer, crops: np.ndarray) -> None:
    raw = scorer.log_odds(crops)
    assert scorer.score(crops) == pytest.approx(1 / (1 + np.exp(-(0.7 * raw - 0.2))), abs=1e-12)


def test_batch_size_and_order_do_not_count(card: Card, state: State, crops: np.ndarray) -> None:
    expected = Scorer(card, state, device="cpu", batch_size=13).score(crops)
    for batch_size in (1, 2, 5, 64):
        found = Scorer(card, state, device="cpu", batch_size=batch_size).score(crops)
        assert found == pytest.approx(expected, abs=1e-5)
    assert Scorer(card, state, device="cpu").score(crops[::-1])[::-1] == pytest.approx(expected, abs=1e-5)


def test_scores_repeat_to_the_bit(card: Card, state: State, crops: np.ndarray) -> None:
    one, two = Scorer(card, state, device="cpu"), Scorer(card, state, device="cpu")
    assert np.array_equal(one.score(crops), two.score(crops))
    assert np.array_equal(one.score(crops), one.score(list(crops)))


def test_crops_are_resized_as_in_training(scorer: Scorer) -> None:
    rng = np.random.default_rng(1)
    for height, width in ((1, 1), (7, 90), (48, 48), (97, 33), (300, 200)):
        crop = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = F.resize(torch.from_numpy(crop).permute(2, 0, 1), [48, 48], antialias=True)
        # Torch and Pillow round differently, by one level at most.
        assert (scorer.prepare([crop])[0] * 255 - expected).abs().max() < 1.01


def test_crops_of_several_sizes_in_one_call(scorer: Scorer, crops: np.ndarray) -> None:
    mixed = [crops[0], np.repeat(np.repeat(crops[1], 2, axis=0), 2, axis=1), crops[2][:5, :9]]
    alone = [float(scorer.score([crop])[0]) for crop in mixed]
    assert scorer.score(mixed) == pytest.approx(alone, abs=1e-5)


def test_read_only_and_strided_crops(scorer: Scorer, crops: np.ndarray) -> None:
    expected = scorer.score(crops[:, :, ::-1])
    copy = np.ascontiguousarray(crops[:, :, ::-1])
    copy.setflags(write=False)
    assert np.array_equal(scorer.score(copy), expected)


def test_no_crops_no_scores(scorer: Scorer) -> None:
    assert scorer.score([]).shape == (0,)
    assert scorer.log_odds(np.empty((0, 64, 64, 3), np.uint8)).dtype == np.float64


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_crop_is_refused(scorer: Scorer, crop: np.ndarray) -> None:
    with pytest.raises(ValueError, match="crop 0 is"):
        scorer.score([crop])


def test_threads_share_one(scorer: Scorer, crops: np.ndarray) -> None:
    expected = [scorer.score([crop])[0] for crop in crops]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda crop: scorer.score([crop])[0], [*crops] * 4))
    assert found == pytest.approx(expected * 4, abs=1e-6)


def test_nothing_is_learned_while_scoring(scorer: Scorer, crops: np.ndarray) -> None:
    before = {name: tensor.clone() for name, tensor in scorer.model.state_dict().items()}
    with torch.enable_grad():
        scorer.score(crops)
    assert all(torch.equal(tensor, before[name]) for name, tensor in scorer.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in scorer.model.parameters())


def test_the_model_lets_a_gradient_reach_its_input(scorer: Scorer, crops: np.ndarray) -> None:
    scorer.score(crops)
    images = scorer.prepare(crops[:2]).requires_grad_(True)
    scorer.model(images)[:, 1:].logsumexp(dim=1).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_half_precision_files_are_scored_in_single(
    tmp_path: Path, card: Card, state: State, scorer: Scorer, crops: np.ndarray
) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    found = Scorer.load(save_detector(tmp_path, half, card), device="cpu")
    assert {parameter.dtype for parameter in found.model.parameters()} == {torch.float32}
    assert found.score(crops) == pytest.approx(scorer.score(crops), abs=0.01)


def test_a_file_gives_the_scores_of_its_weights(folder: Path, scorer: Scorer, crops: np.ndarray) -> None:
    loaded = Scorer.load(folder, device="cpu")
    assert np.array_equal(loaded.score(crops), scorer.score(crops))
    assert loaded.name == str(folder)


def test_tensors_that_do_not_fit_are_named(card: Card, state: State) -> None:
    names = [name for name in state if name.endswith("weight")]
    changed = {name: tensor for name, tensor in state.items() if name not in names[:5]}
    changed["surplus"] = torch.zeros(1)
    changed[names[6]] = torch.zeros(1, 2)
    with pytest.raises(UnmaskError) as caught:
        Scorer(card, changed, name="my detector")
    assert caught.value.subject == "my detector"
    assert f"5 missing ({', '.join(names[:3])}, ...)" in caught.value.reason
    assert "1 unexpected (surplus)" in caught.value.reason
    assert f"1 of another shape ({names[6]} (1, 2) for " in caught.value.reason


def test_weights_with_another_number_of_classes(card: Card, state: State) -> None:
    with pytest.raises(UnmaskError, match="of another shape"):
        Scorer(replace(card, classes=["real", "fake"]), state)


def test_a_backbone_that_timm_does_not_know(card: Card, state: State) -> None:
    with pytest.raises(UnmaskError, match="my detector: nonsense_net"):
        Scorer(replace(card, backbone="nonsense_net"), state, name="my detector")
