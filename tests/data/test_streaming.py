"""Tables that stay on disk: the same rows, in an order of their own, within a bound of memory."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.tables import encode, make_image, write_table
from unmask import UnmaskError
from unmask.data import FaceTable
from unmask.data.augment import Augmentation
from unmask.data.batches import Batches
from unmask.data.loading import stream
from unmask.data.order import Order, blocks
from unmask.data.writer import write_faces

#: Videos a class, frames each, videos a part.
VIDEOS, FRAMES, PART = 600, 3, 100


def rows(kind: str, first: int, count: int, size: int = 8) -> Iterator[dict[str, object]]:
    rng = np.random.default_rng(first)
    for video in range(first, first + count):
        for frame in range(FRAMES):
            yield {
                "image": encode(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)),
                "label": kind,
                "method": "real" if kind == "real" else "FaceSwap",
                "video": f"{kind}{video}",
                "frame": frame,
                "source": f"real{video}",
                "track": 2,
                "box": [1.0, 2.0, 3.0, 4.0],
            }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve parts of 300 rows, two row groups each."""
    folder = tmp_path_factory.mktemp("parts")
    for kind in ("real", "fake"):
        (folder / kind).mkdir()
        for first in range(0, VIDEOS, PART):
            write_faces(folder / kind / f"{first:04}.parquet", rows(kind, first, PART))
    return folder


def group_by_group(folder: Path) -> FaceTable:
    """A streamed table whose buffer is of the size of eight row groups."""
    table = FaceTable.read(folder, streaming=True)
    assert table.streamed is not None
    table.streamed.buffer = 8 * int(table.streamed.image_bytes.max())
    return table


def test_a_streamed_table_has_the_rows_of_a_loaded_one(folder: Path) -> None:
    loaded, streamed = FaceTable.read(folder), FaceTable.read(folder, streaming=True)
    assert loaded.streamed is None
    assert len(streamed) == len(loaded) == 2 * VIDEOS * FRAMES
    for name in ("fake", "method", "video", "source", "component", "frame", "track", "quality"):
        assert (getattr(streamed, name) == getattr(loaded, name)).all(), name
    for row in (0, 255, 256, 299, 300, 3599):
        assert streamed.row(row) == loaded.row(row)
        assert streamed.where(row) == loaded.where(row)
        assert np.array_equal(streamed.image(row), loaded.image(row))


def test_a_split_of_a_streamed_table(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", 2, 2, split="val")
    write_table(tmp_path / "b.parquet", 2, 2, seed=1, split="train")
    write_table(tmp_path / "c.parquet", 1, 2, seed=2, split="val")
    loaded, streamed = (FaceTable.read(tmp_path, "val", streaming=streaming) for streaming in (False, True))
    assert [streamed.encoded(row) for row in range(7)] == [loaded.encoded(row) for row in range(7)]


def test_the_size_of_the_images_decides(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 256, 256, 3), dtype=np.uint8)
    for part in range(2):
        small = ({"image": encode(image), "label": "real"} for image in noise[:1])
        write_faces(tmp_path / f"{part}.parquet", small)
    assert FaceTable.read(tmp_path, buffer_mb=1).streamed is None
    write_faces(tmp_path / "large.parquet", ({"image": encode(image), "label": "fake"} for image in noise))
    with pytest.raises(UnmaskError, match=r"large\.parquet: row group 0 holds 3 MiB .* smaller row groups"):
        FaceTable.read(tmp_path, buffer_mb=1)
    assert FaceTable.read(tmp_path, buffer_mb=1, streaming=False).streamed is None
    assert FaceTable.read(tmp_path, buffer_mb=100).streamed is None


def test_parts_being_written_are_no_parts(folder: Path) -> None:
    (folder / "_part.parquet").write_bytes(b"PAR1 half")
    (folder / ".parts").mkdir()
    (folder / ".parts" / "x.parquet").write_bytes(b"")
    try:
        assert len(FaceTable.read(folder)) == 2 * VIDEOS * FRAMES
    finally:
        (folder / "_part.parquet").unlink()
        (folder / ".parts" / "x.parquet").unlink()


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_shows_every_video_once_and_fetches_every_group_once(folder: Path, epoch: int) -> None:
    table = group_by_group(folder)
    batches = Batches(table, size=8, batch_size=20)
    assert len(batches) == 60
    shown = np.concatenate([batches.rows(step) for step in range(epoch * 60, epoch * 60 + 60)])
    for kind in (table.fake, ~table.fake):
        assert sorted(table.video[row] for row in shown if kind[row]) == sorted(set(table.video[kind]))
    assert len(set(table.frame[shown])) == FRAMES
    assert table.streamed is not None
    for row in shown:
        table.encoded(row)
    assert table.streamed.fetched <= len(table.streamed.image_bytes)


def test_pairs_that_lie_anywhere_are_fetched_once_a_block(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    made = [*rows("real", 0, VIDEOS), *rows("fake", 0, VIDEOS)]
    write_faces(tmp_path / "t.parquet", (made[row] for row in rng.permutation(len(made))))
    table = group_by_group(tmp_path)
    assert table.streamed is not None
    batches = Batches(table, size=8, batch_size=20, pairing="paired")
    shown = np.concatenate([batches.rows(step) for step in range(60)])
    assert sorted(table.video[shown[1::2]]) == sorted(set(table.video[table.fake]))
    assert (table.source[shown[0::2]] == table.source[shown[1::2]]).all()
    for row in shown:
        table.encoded(row)
    groups = len(table.streamed.image_bytes)
    assert groups == 15
    # Eight blocks of two groups, for each of which all groups are looked through once; one by one it would be 600.
    assert table.streamed.fetched <= groups + 8 * groups


def test_rows_are_shuffled_within_their_blocks_and_blocks_among_each_other(folder: Path) -> None:
    table = group_by_group(folder)
    assert table.streamed is not None
    batches = Batches(table, size=8, batch_size=20)
    epochs = [[batches.rows(step)[1::2] for step in range(first, first + 60)] for first in (0, 60)]
    for epoch in map(np.concatenate, epochs):
        groups = table.streamed.group[epoch]
        # A quarter of the buffer is two groups of 256 rows, with the small ones between them.
        assert len(set(groups[:60])) >= 2
        assert len(set(groups[:60])) < len(set(groups))
        assert (np.diff(epoch) < 0).mean() > 0.3
    assert set(epochs[0][0]) != set(epochs[1][0])


def test_a_streamed_step_depends_on_seed_and_step_alone(folder: Path) -> None:
    def batches(seed: int = 0) -> Batches:
        options = {"size": 8, "batch_size": 20, "augmentation": Augmentation(), "seed": seed}
        return Batches(group_by_group(folder), **options)  # type: ignore[arg-type]

    whole = list(stream(batches(), 0, 65, threads=2))
    resumed = list(stream(batches(), 58, 65, threads=0))
    for first, second in zip(whole[58:], resumed, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.rows, second.rows)
    assert not torch.equal(batches(seed=1)[0].rows, whole[0].rows)


def test_ranks_share_out_each_streamed_batch(folder: Path) -> None:
    options = {"size": 8, "batch_size": 20, "augmentation": Augmentation(), "pairing": "paired"}
    whole = Batches(group_by_group(folder), **options)  # type: ignore[arg-type]
    ranks = [Batches(group_by_group(folder), **options, rank=rank, world=2) for rank in range(2)]  # type: ignore[arg-type]
    for step in (0, 31, 60):
        parts = [rank[step] for rank in ranks]
        assert torch.equal(torch.cat([part.rows for part in parts]), whole[step].rows)
        assert torch.equal(torch.cat([part.images for part in parts]), whole[step].images)
        pairs = whole[step].rows.view(-1, 2)
        assert (whole.table.source[pairs[:, 0]] == whole.table.source[pairs[:, 1]]).all()


MEMORY = """
import sys, pathlib, pyarrow as pa
from unmask.data import FaceTable
from unmask.data.batches import Batches
from unmask.data.loading import stream

table = FaceTable.read(sys.argv[1], streaming=sys.argv[2] == "streamed", buffer_mb=4)
batches = Batches(table, size=8, batch_size=16)
shown = sum(len(batch.rows) for batch in stream(batches, 0, len(batches), 2))
fetched = table.streamed.fetched if table.streamed else 0
print(shown, pa.default_memory_pool().max_memory(), fetched, len(table.streamed.image_bytes) if table.streamed else 0)
"""


def test_memory_is_bounded_by_the_buffer(tmp_path: Path) -> None:
    """An epoch over 20 MiB of images with a buffer of 4 MiB."""
    rng = np.random.default_rng(0)
    encoded = encode(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for kind in ("real", "fake"):
        for part in range(16):
            # Bytes behind the end of a PNG: images that differ, without the time to make them.
            made = (
                {"image": encoded + rng.bytes(8), "label": kind, "video": f"{kind}/{part}/{row}"} for row in range(50)
            )
            write_faces(tmp_path / f"{kind}{part}.parquet", made)
    images = sum(pq.read_table(file, columns=["image"]).nbytes for file in tmp_path.glob("*.parquet"))
    assert images > 4 * (4 << 20)

    def run(how: str) -> list[int]:
        command = [sys.executable, "-c", MEMORY, str(tmp_path), how]
        return list(map(int, subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()))

    shown, peak, fetched, groups = run("streamed")
    assert shown == 1600
    # The buffer, a group that is being read, encoded and decoded by Parquet.
    assert peak < (4 << 20) + 4 * images // groups
    assert fetched == groups
    assert run("loaded")[1] > images


def test_a_part_that_vanishes_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", 2, 2)
    table = FaceTable.read(tmp_path, streaming=True)
    (tmp_path / "t.parquet").unlink()
    with pytest.raises(UnmaskError, match=r"t\.parquet: row group 0 cannot be read"):
        table.image(0)


def test_threads_fetch_a_group_once(folder: Path) -> None:
    table = FaceTable.read(folder, streaming=True)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(table.encoded(5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8
    assert table.streamed is not None
    assert table.streamed.fetched == 1


def test_blocks_keep_their_limit() -> None:
    assert blocks(np.array([3, 3, 3, 9, 1, 1]), 6).tolist() == [0, 0, 1, 2, 3, 3]
    assert blocks(np.array([], np.int64), 6).tolist() == []


def test_order_of_a_table_in_memory_is_one_of_all() -> None:
    order = Order(np.arange(6), np.array(["a", "b", "c", "b", "a", "c"], object), (0, 0), None)
    seen = {tuple(order[epoch * 3 + place] % 6 for place in range(3)) for epoch in range(200)}
    assert len(order) == 3
    # Six orders of three videos, two frames each.
    assert len(seen) == 6 * 8


@pytest.fixture
def three_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_the_loader_leaves_the_threads_of_torch_alone(tmp_path: Path, three_threads: int) -> None:
    batches = Batches(FaceTable.read(write_table(tmp_path / "t.parquet")), size=8, batch_size=4)
    own = three_threads
    for _ in stream(batches, 0, 5, threads=2):
        later: list[int] = []
        thread = threading.Thread(target=lambda later=later: later.append(torch.get_num_threads()))  # type: ignore[misc]
        thread.start()
        thread.join()
        assert later == [own]
        assert torch.get_num_threads() == own
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("unmask-loader")]


def test_a_loop_that_ends_early_ends_the_loader(tmp_path: Path) -> None:
    batches = Batches(FaceTable.read(write_table(tmp_path / "t.parquet")), size=8, batch_size=4)
    loader = stream(batches, 0, 10_000, threads=2)
    next(loader)
    loader.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("unmask-loader")]


def test_decoded_crops_are_kept_within_their_bound(tmp_path: Path) -> None:
    table = FaceTable.read(write_table(tmp_path / "t.parquet", 300, 300, size=48))
    batches = Batches(table, size=48, batch_size=100, cache_mb=1)
    without = Batches(table, size=48, batch_size=100)
    for step in (0, 1, 2, 3, 4, 5, 6, 7):
        assert torch.equal(batches[step].images, without[step].images)
    kept = sum(image.nbytes for image in batches._decoded.values())
    assert (1 << 20) - 48 * 48 * 3 < kept <= 1 << 20
    assert not without._decoded


def test_make_image_is_what_the_table_holds(tmp_path: Path) -> None:
    """The streamed pixels are those that were written, not only those that a loaded table gives."""
    table = FaceTable.read(write_table(tmp_path / "t.parquet", 2, 0, seed=4), streaming=True)
    rng = np.random.default_rng(4)
    assert all(np.array_equal(table.image(row), make_image(rng, False)) for row in range(2))
