from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.tables import encode, make_image, write_table
from unmask import UnmaskError
from unmask.data import FaceTable
from unmask.data.augment import Augment, Augmentation
from unmask.data.batches import Batches, class_indices
from unmask.data.loading import stream


@pytest.fixture
def table(tmp_path: Path) -> FaceTable:
    return FaceTable.read(write_table(tmp_path / "t.parquet", reals=10, fakes=14, frames=3))


def test_half_real_half_fake_in_every_pair(table: FaceTable) -> None:
    batch = Batches(table, size=32, batch_size=8)[3]
    assert batch.images.shape == (8, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert batch.labels.tolist() == [0, 1] * 4
    assert table.fake[batch.rows.numpy()].tolist() == [False, True] * 4


def test_an_epoch_shows_every_video_once(table: FaceTable) -> None:
    batches = Batches(table, size=16, batch_size=4)
    rows = np.concatenate([batches.rows(step) for step in range(7)])
    fakes = [table.video[row] for row in rows if table.fake[row]]
    assert sorted(fakes) == sorted(set(table.video[table.fake]))
    assert len(batches) == 7


def test_paired_rows_share_their_source_and_frame(table: FaceTable) -> None:
    rows = Batches(table, size=16, batch_size=8, pairing="paired").rows(2)
    assert (table.source[rows[0::2]] == table.source[rows[1::2]]).all()
    assert (table.frame[rows[0::2]] == table.frame[rows[1::2]]).all()


def test_aligned_pairs_are_augmented_alike(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", reals=10, fakes=10, size=48)
    rows = pq.read_table(path).to_pylist()
    originals = {row["source"]: row["image"] for row in rows if row["label"] == "real"}
    copies = [row | {"image": originals[row["source"]]} for row in rows]
    pq.write_table(pa.Table.from_pylist(copies, pq.read_schema(path)), path)

    def images(pairing: str) -> torch.Tensor:
        batches = Batches(FaceTable.read(path), size=48, batch_size=8, augmentation=Augmentation(), pairing=pairing)
        return torch.stack([batches[step].images for step in range(3)]).unflatten(1, (4, 2))

    aligned, paired = images("aligned"), images("paired")
    # Every fake is a copy of its real here: what they do not share is the augmentation's.
    assert torch.equal(aligned[:, :, 0], aligned[:, :, 1])
    assert (paired[:, :, 0] != paired[:, :, 1]).flatten(2).any(dim=2).all()
    assert len({image.numpy().tobytes() for image in aligned[:, :, 0].flatten(0, 1)}) == 12, "pairs differ"


def test_a_pair_is_of_one_quality_where_it_can_be(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", reals=6, fakes=6)
    for name, quality in (("low", "h264-32"), ("lowest", "h264-40")):
        rows = pq.read_table(path).to_pylist()
        kept = [row | {"quality": quality} for row in rows if name == "low" or row["label"] == "fake"]
        pq.write_table(pa.Table.from_pylist(kept, pq.read_schema(path)), tmp_path / f"{name}.parquet")
    table = FaceTable.read([path, tmp_path / "low.parquet", tmp_path / "lowest.parquet"])
    batches = Batches(table, size=16, batch_size=12, pairing="paired")
    pairs = {
        (str(table.quality[fake]), str(table.quality[real]))
        for step in range(3)
        for real, fake in batches.rows(step).reshape(-1, 2)
    }
    # There is no real at CRF 40.
    assert pairs == {("source", "source"), ("h264-32", "h264-32"), ("h264-40", "source")}


def test_a_step_depends_on_seed_and_step_alone(table: FaceTable) -> None:
    def batches(seed: int = 0) -> Batches:
        return Batches(table, size=24, batch_size=4, augmentation=Augmentation(), seed=seed)

    first = batches()
    torch.manual_seed(1)
    expected = first[5].images
    torch.manual_seed(2)
    assert torch.equal(batches()[5].images, expected)
    assert not torch.equal(batches(seed=1)[5].images, expected)
    streamed = list(stream(batches(), 4, 6, threads=1))
    assert torch.equal(streamed[1].images, expected)


def test_ranks_share_out_the_batch_of_one_process(table: FaceTable) -> None:
    options = {"size": 24, "batch_size": 8, "augmentation": Augmentation()}
    whole = Batches(table, **options)[1]  # type: ignore[arg-type]
    parts = [Batches(table, **options, rank=rank, world=2)[1] for rank in range(2)]  # type: ignore[arg-type]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)


def test_global_random_state_is_left_alone(table: FaceTable) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    _ = Batches(table, size=16, batch_size=4, augmentation=Augmentation())[0]
    assert torch.equal(torch.rand(2), expected)


def test_an_unreadable_row_gives_its_place_to_the_next_of_its_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{"image": encode(make_image(rng, fake=False)), "label": "real"} for _ in range(3)]
    rows += [
        {"image": b"broken", "label": "fake"},
        {"image": encode(make_image(rng, fake=True)), "label": "fake"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    batches = Batches(FaceTable.read(tmp_path / "t.parquet"), size=16, batch_size=8)
    assert set(batches[0].rows[1::2].tolist()) == {4}
    assert [(Path(row).name, reason[:13]) for row, reason in batches.unusable.items()] == [
        ("t.parquet: row 3", "cannot decode")
    ]


def test_an_aligned_pair_gives_its_place_to_another_pair(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for clip in range(4):
        for label in ("real", "fake"):
            broken = (clip, label) in ((1, "fake"), (2, "real"))
            image = b"broken" if broken else encode(make_image(rng, fake=label == "fake"))
            rows.append({"image": image, "label": label, "video": f"{label}{clip}", "source": str(clip)})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    table = FaceTable.read(tmp_path / "t.parquet")
    batch = Batches(table, size=16, batch_size=8, pairing="aligned")[0]
    shown = table.source[batch.rows].reshape(-1, 2)
    assert (shown[:, 0] == shown[:, 1]).all()
    assert set(shown[:, 0]) == {"0", "3"}


def test_one_class_only_is_an_error(tmp_path: Path) -> None:
    table = FaceTable.read(write_table(tmp_path / "t.parquet", reals=4, fakes=0))
    with pytest.raises(UnmaskError, match=r"t\.parquet: no fake row to train on"):
        Batches(table, size=16, batch_size=4)


def test_manipulations_become_classes(tmp_path: Path) -> None:
    table = FaceTable.read(write_table(tmp_path / "t.parquet", 2, 4, methods=("Deepfakes", "FaceSwap")))
    assert class_indices(table, ("real", "Deepfakes", "FaceSwap")).tolist() == [0, 0, 1, 2, 1, 2]
    assert class_indices(table, ("real", "fake")).tolist() == [0, 0, 1, 1, 1, 1]
    with pytest.raises(UnmaskError, match="manipulation 'FaceSwap' is not among"):
        class_indices(table, ("real", "Deepfakes", "NeuralTextures"))


def test_augmentation_switched_off_only_resizes() -> None:
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    assert np.array_equal(Augment(8, Augmentation(enabled=False))(image, torch.Generator()), image)


def test_each_augmentation_changes_the_image() -> None:
    rng = np.random.default_rng(0)
    image = make_image(rng, fake=True)
    names = ("flip", "geometry", "colour", "grey", "noise", "jpeg", "rescale")
    for name in names:
        chances = {other: float(other == name) for other in names}
        before = image.copy()
        generator = torch.Generator().manual_seed(1)
        augmented = Augment(48, Augmentation(**chances, jpeg_quality=(30, 30)))(image, generator)  # type: ignore[arg-type]
        assert augmented.shape == image.shape
        assert augmented.dtype == np.uint8
        assert not np.array_equal(augmented, image), name
        assert np.array_equal(image, before), name


@pytest.mark.parametrize(
    "wrong",
    [{"flip": 1.5}, {"min_area": 0.0}, {"jpeg_quality": (80, 60)}, {"degrees": -5.0}, {"noise_levels": float("inf")}],
)
def test_augmentation_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="augmentation"):
        Augmentation(**wrong)  # type: ignore[arg-type]
