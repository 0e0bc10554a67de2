"""An adversary replayed against a finished detector: where it blurred and what it took away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.detectors import make_detector
from tests.tables import encode, make_image, write_table
from unmask.detector import read_detector
from unmask.detector.adversary import save_adversary
from unmask.errors import UnmaskError
from unmask.game.adversaries import GeneratorBlur
from unmask.protocols.plots import radial_power, replay, sigma_map, spectrum


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_detector(tmp_path_factory.mktemp("replay") / "detector", backbone="test_efficientnet", input_size=32)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "faces.parquet", 6, 20, size=32)


def test_a_blur_of_known_sigma_is_seen_as_it_is(detector: Path, table: Path) -> None:
    distribution = [[0.4, 0.4], [0.8, 0.8]]  # reals, fakes
    found = replay(detector, "random-blur", {"distribution": distribution}, table, limit=8)
    assert found.rows == {"real": 6, "fake": 8}
    np.testing.assert_allclose(found.sigma["real"], np.full((32, 32), 0.4), rtol=1e-6)
    np.testing.assert_allclose(found.sigma["fake"], np.full((32, 32), 0.8), rtol=1e-6)
    # The fakes' checkerboard lies in the corner of the spectrum, and blur takes it away.
    assert np.median(found.removed["fake"], axis=0)[-1] > 10 * np.median(found.removed["real"], axis=0)[-1]
    assert found.clean["fake"].shape == (8, len(found.frequency))
    titles = [panel.name for panel in (*sigma_map(found, "Mine.").panels, *spectrum(found, "Mine.").panels)]
    assert titles == ["map", "map-difference", "spectrum"]
    assert spectrum(found, "Mine.").caption.endswith("Mine.")


def test_gradient_blur_attacks_any_detector_and_repeats(detector: Path, table: Path) -> None:
    first, second = (replay(detector, "blur-gradient", {"sigma_max": 0.9}, table, limit=4) for _ in range(2))
    for kind in ("real", "fake"):
        np.testing.assert_array_equal(first.sigma[kind], second.sigma[kind])
        assert 0.2 <= first.sigma[kind].min() < first.sigma[kind].max() <= 0.9
        assert first.removed[kind].max() > 0


def test_a_generator_is_the_one_that_was_kept(detector: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="keeps no adversary"):
        replay(detector, "blur-generator", {}, table)
    folder = tmp_path / "kept"
    folder.mkdir()
    for file in detector.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    options = {"generators": "fake", "sigma_max": 1.5}
    save_adversary(folder, read_detector(folder)[0], GeneratorBlur(**options), "blur-generator", options, {})
    found = replay(folder, "blur-generator", {}, table, limit=4)
    assert spectrum(found, "Mine.").missing == ["The adversary leaves reals as they are."]
    assert not found.sigma["real"].any()
    assert 0 < found.sigma["fake"].min() < found.sigma["fake"].max() < 1.5


def test_what_does_not_blur_has_a_spectrum_and_no_map(detector: Path, table: Path) -> None:
    found = replay(detector, "random-noise", {"eps": 0.02}, table, limit=4)
    assert sigma_map(found, "Mine.").missing == ["The adversary plays no blur."]
    assert spectrum(found, "Mine.").panels


def test_one_class_is_not_enough(detector: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "reals.parquet", 4, 0, size=32)
    with pytest.raises(UnmaskError, match="both reals and fakes"):
        replay(detector, "blur-gradient", {}, table)
    with pytest.raises(UnmaskError, match="nothing to replay"):
        replay(detector, "plain", {}, table)
    with pytest.raises(UnmaskError, match="needs a fake beside its original to be attacked by restore-gradient"):
        replay(detector, "restore-gradient", {}, table)


def test_what_restores_is_given_each_fake_with_its_original(detector: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    reals = [make_image(rng, False, 32) for _ in range(5)]
    checkerboard = np.where(np.indices((32, 32)).sum(axis=0) % 2, 12, -12)[..., None]
    fakes = [(real.astype(int) + checkerboard).clip(0, 255).astype(np.uint8) for real in reals]
    row = {"dataset": "made", "quality": "source", "split": "test", "frame": 0}
    rows = [
        {**row, "image": encode(image), "label": label, "method": label, "video": f"{label}{k}", "source": str(k)}
        for label, images in (("fake", fakes[::-1]), ("real", reals))
        for k, image in (enumerate(images) if label == "real" else zip(range(4, -1, -1), images, strict=True))
        if (label, k) != ("real", 2)  # one fake has lost its original
    ]
    pq.write_table(
        pa.Table.from_pylist([{**each, "component": each["source"]} for each in rows]), tmp_path / "p.parquet"
    )
    options = {"random": "random-restore", "draws": 2, "strength": 1.0, "share": 0.9, "sigma_max": 0.31}
    found = replay(detector, "worst-of", options, tmp_path / "p.parquet")
    assert found.rows == {"real": 4, "fake": 4}
    assert 0.3 <= found.sigma["fake"].min() < found.sigma["fake"].max() <= 0.31
    # What is taken back is the checkerboard, and nothing of the picture, as it were if another's original were used.
    removed = np.median(found.removed["fake"], axis=0)
    assert removed[-1] > 100 * removed[:4].max()
    assert removed[-1] > 100 * np.median(found.removed["real"], axis=0)[-1]


def test_power_of_white_noise_is_its_variance_everywhere() -> None:
    noise = np.random.default_rng(0).normal(3.0, 0.5, (200, 3, 64, 64))
    frequency, power = radial_power(noise)
    assert (frequency[0] > 0, frequency[-1] < 0.72) == (True, True)
    # The window smears the mean, which is taken out, over the first bin.
    np.testing.assert_allclose(power.mean(axis=0)[1:], 0.25, rtol=0.12)


def test_power_of_a_wave_is_where_its_frequency_is() -> None:
    wave = np.sin(2 * np.pi * 0.3 * np.arange(64)) * np.ones((1, 1, 64, 1))
    frequency, power = radial_power(wave)
    assert frequency[power[0].argmax()] == pytest.approx(0.3, abs=1 / 64)
