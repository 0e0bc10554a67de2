"""The whole crop rendered by a decoder: what it keeps of the photograph, and what it must not give away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.forge.faces import face, table
from unmask.forge import learned
from unmask.forge.faces import Faces
from unmask.forge.resynthesis import CELL, UPSAMPLING, Resynthesiser, fitted, match_spectrum


@pytest.mark.parametrize("decoder", range(len(UPSAMPLING)))
def test_a_picture_comes_back_in_its_size_and_from_a_smaller_code(decoder: int) -> None:
    images = torch.rand(2, 3, 32, 48)
    model = Resynthesiser()
    assert model(images, decoder).shape == images.shape
    code = model.encoder(images)
    assert code.shape[-2:] == (32 // CELL, 48 // CELL)
    assert code.numel() < images.numel() / 4


def test_every_decoder_and_the_encoder_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "_BATCH", 6)
    made = table(tmp_path / "t.parquet", 4)
    rows = np.flatnonzero(~made.fake)
    faces = Faces(made, rows, {int(row): face(int(row)).points.ravel().tolist() for row in rows})

    def learned_for(steps: int) -> Resynthesiser:
        told: list[tuple[int, int]] = []
        (tmp_path / str(steps)).mkdir()
        model = fitted(faces, tmp_path / str(steps), 0, lambda *done: told.append(done), steps).model
        assert told == [(step + 1, steps) for step in range(steps)]
        return model

    # Forty steps are enough for the discriminator to take part.
    short, long = learned_for(2), learned_for(40)
    image = torch.from_numpy(face(1, 128).image.transpose(2, 0, 1).copy()).float()[None] / 255
    for decoder in range(len(UPSAMPLING)):
        before, after = ((model(image, decoder) - image).abs().mean() for model in (short, long))
        assert after < 0.95 * before
    kept = fitted(faces, tmp_path / "40", 1, steps=40).model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in long.state_dict().items())


def test_a_blurred_picture_gets_its_spectrum_back() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(70, 186, (64, 64, 3)).astype(np.uint8)
    dull = (sharp.astype(int) + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1)) // 3
    spread = np.std(sharp)
    assert np.std(dull) < 0.7 * spread
    restored = match_spectrum(dull.astype(np.uint8), sharp)
    assert np.std(restored) == pytest.approx(spread, rel=0.05)
    assert restored.mean((0, 1)) == pytest.approx(sharp.mean((0, 1)), abs=2)


def test_a_picture_of_the_wanted_spectrum_stays() -> None:
    image = face(0, 96).image
    assert np.abs(match_spectrum(image, image).astype(int) - image).max() <= 1
    assert np.array_equal(match_spectrum(np.zeros_like(image), np.zeros_like(image)), np.zeros_like(image))


def test_of_very_many_faces_some_are_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = table(tmp_path / "t.parquet", 5)
    rows = np.flatnonzero(~made.fake)
    faces = Faces(made, rows, {int(row): face(int(row)).points.ravel().tolist() for row in rows})
    assert len(learned.patches(faces, (0, 0, 112))) == 5
    monkeypatch.setattr(learned, "_FACES", 3)
    assert list(learned.places(faces)) == [0, 2, 4]
    assert len(learned.patches(faces, (0, 0, 112))) == 3
