from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.tables import make_image
from unmask.data import FaceTable
from unmask.data.duplicates import LIMIT, near_pairs, perceptual_hash


def picture(seed: int, size: int = 224) -> np.ndarray:
    """Smooth, with some detail: the spectrum of a photograph, roughly."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), np.float32)
    for cells in (4, 8, 16, 32):
        coarse = rng.normal(0, 60 / np.sqrt(cells / 4), (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return (image + 128).clip(0, 255).astype(np.uint8)


def distance(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.bitwise_count(perceptual_hash(first) ^ perceptual_hash(second)).sum())


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    decoded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.astype(np.uint8)


def test_a_hash_stands_coding_scale_and_light() -> None:
    for seed in range(10):
        image = picture(seed)
        assert distance(image, image) == 0
        assert distance(image, jpeg(image, 30)) <= LIMIT
        assert distance(image, cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA)) <= LIMIT
        assert distance(image, (image * 0.8).astype(np.uint8)) <= LIMIT


def test_other_pictures_are_far_away() -> None:
    pictures = [perceptual_hash(picture(seed)) for seed in range(40)]
    assert len(near_pairs(np.array(pictures))) == 0
    assert distance(picture(0), picture(0)[:, ::-1]) > 2 * LIMIT


@pytest.mark.parametrize("limit", [0, 7])
def test_pairs_are_those_of_comparing_each_with_each(limit: int) -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**32, (60, 8), dtype=np.uint32)
    for copy in range(40):
        hashes[20 + copy] = hashes[copy % 20]
        for bit in rng.choice(256, copy % 12, replace=False).tolist():
            hashes[20 + copy, bit // 32] ^= np.uint32(1 << (bit % 32))
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(2)
    expected = [(i, j) for i in range(60) for j in range(i + 1, 60) if apart[i, j] <= limit]
    assert len(expected) > 3
    assert near_pairs(hashes, limit).tolist() == [list(pair) for pair in expected]


def test_a_picture_that_occurs_a_thousand_times_costs_no_million_comparisons() -> None:
    hashes = np.tile(perceptual_hash(make_image(np.random.default_rng(0), fake=False)), (5000, 1))
    pairs = near_pairs(hashes)
    # Every row is paired with some other all the same.
    assert set(pairs.ravel().tolist()) == set(range(5000))
    assert len(pairs) < 5000 * 33


def test_none_and_one() -> None:
    assert near_pairs(np.empty((0, 8), np.uint32)).shape == (0, 2)
    assert near_pairs(np.zeros((1, 8), np.uint32)).shape == (0, 2)


def test_the_figures_of_the_documentation() -> None:
    """1,200 reals of DFDC's validation rows, one of each component: as docs/tables.md and the module say."""
    shared = Path(os.environ.get("UNMASK_SHARED", Path(__file__).parents[3] / "shared"))
    path = shared / "data" / "dfdc-faces" / "val.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    table = FaceTable.read(path)
    reals = np.flatnonzero(~table.fake)
    rows = np.sort(reals[np.unique(table.component[reals].astype(str), return_index=True)[1]])[:1200]
    images = [table.image(row) for row in rows.tolist()]
    halves = [cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA).astype(np.uint8) for image in images]
    ours, coded, small = (
        np.array([perceptual_hash(image) for image in kind])
        for kind in (images, [jpeg(image, 20) for image in images], halves)
    )
    changed, shrunk = (np.bitwise_count(ours ^ theirs).sum(1) for theirs in (coded, small))
    assert (np.median(changed), np.quantile(changed, 0.95) // 1, changed.max(), shrunk.max()) == (8, 16, 48, 10)
    apart = np.bitwise_count(ours[:, None] ^ ours[None]).sum(2)
    assert apart[np.triu_indices(len(ours), 1)].min() == 50
    found = set(map(tuple, near_pairs(np.concatenate([ours, coded])).tolist()))
    assert np.mean([(row, row + len(ours)) in found for row in range(len(ours))]) == pytest.approx(0.96, abs=0.01)
