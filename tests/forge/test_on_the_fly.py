"""Fakes made while training: of the real beside them, another one every time, and of nothing that has no face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.forge import faces
from tests.tables import encode
from unmask.data import FaceTable
from unmask.data.batches import Batches
from unmask.data.writer import write_faces
from unmask.errors import UnmaskError
from unmask.forge.on_the_fly import SelfBlending

_SIDE = 112


def _table(path: Path, reals: int = 6, fakes: int = 6, without: tuple[int, ...] = (), crooked: int = -1) -> FaceTable:
    """Reals with landmarks, but for some, and of one with those of no face; and fakes of them in turn."""
    rows: list[dict[str, Any]] = []
    for number in range(reals):
        face = faces.face(number, _SIDE)
        points = np.full((5, 2), 7.0) if number == crooked else face.points
        known = {"dataset": "made", "source": f"clip{number}", "video": f"clip{number}", "frame": 0}
        rows.append({**known, "label": "real", "method": "real", "image": encode(face.image)})
        if number not in without:
            rows[-1]["landmarks"] = points.ravel().tolist()
    for number in range(fakes):
        known = {"dataset": "made", "source": f"clip{number % reals}", "video": f"fake{number}", "frame": 0}
        image = encode(faces.face(100 + number, _SIDE).image)
        rows.append({**known, "label": "fake", "method": "theirs", "image": image, "landmarks": [1.0]})
    write_faces(path, rows)
    return FaceTable.read(path)


def _batches(table: FaceTable, share: float, **options: Any) -> Batches:
    return Batches(table, size=_SIDE, batch_size=8, pairing="aligned", forging=SelfBlending(table, share), **options)


def test_reals_alone_give_pairs_that_differ_where_the_face_is(tmp_path: Path) -> None:
    batches = _batches(_table(tmp_path / "t.parquet", 8, 0), 1.0)
    assert len(batches) == 2
    shown = [batches[step] for step in range(4)]
    seen = torch.cat([batch.rows for batch in shown[:2]]).tolist()
    assert sorted(seen) == sorted(2 * list(range(8)))  # every real once an epoch, and its fake beside it
    first: dict[int, torch.Tensor] = {}
    for batch in shown:
        assert batch.labels.tolist() == [0, 1] * 4
        for real, fake, row in zip(batch.images[0::2], batch.images[1::2], batch.rows[0::2].tolist(), strict=True):
            off = (real.int() - fake.int()).abs().amax(dim=0)
            assert off.max() > 4
            assert off[:4].max() == off[-4:].max() == off[:, :4].max() == off[:, -4:].max() == 0
            # A new fake in the next epoch.
            assert not torch.equal(first.setdefault(row, fake), fake) or first[row] is fake
    again = batches[3]
    assert torch.equal(again.images, shown[3].images)


def test_a_share_of_the_tables_fakes_gives_way(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.parquet", without=(2,))
    batches = _batches(table, 0.5)
    rows = np.stack([batches.rows(step).reshape(4, 2) for step in range(100)]).reshape(-1, 2)
    made = ~table.fake[rows[:, 1]]
    assert 0.3 < made.mean() < 0.5  # half of five in six
    assert (rows[made, 0] == rows[made, 1]).all()
    assert (table.source[rows[:, 0]] == table.source[rows[:, 1]]).all()
    assert 2 not in rows[made]
    halves = [_batches(table, 0.5, rank=rank, world=2)[3] for rank in (0, 1)]
    whole = batches[3]
    assert torch.equal(torch.cat([half.images for half in halves]), whole.images)
    assert torch.cat([half.labels for half in halves]).tolist() == whole.labels.tolist() == [0, 1] * 4


def test_manipulations_by_name_have_a_class_for_it(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.parquet")
    labels = _batches(table, 1.0, classes=("real", "theirs", "self-blend"))[0].labels
    assert labels.tolist() == [0, 2] * 4
    with pytest.raises(UnmaskError, match=r"data\.self_blend: manipulation 'self-blend' is not among"):
        _batches(table, 0.5, classes=("real", "theirs", "others"))


def test_points_of_no_face_give_their_place_to_another_pair(tmp_path: Path) -> None:
    batches = _batches(_table(tmp_path / "t.parquet", 4, 0, crooked=1), 1.0)
    rows = torch.cat([batches[step].rows for step in range(2)])
    assert 1 not in rows
    assert torch.equal(rows[0::2], rows[1::2])


def test_landmarks_are_needed(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match=r"t\.parquet: no real has the five landmarks that self-blending needs"):
        SelfBlending(_table(tmp_path / "t.parquet", without=tuple(range(6))), 0.5)
    with pytest.raises(ValueError, match="share must be in"):
        SelfBlending(_table(tmp_path / "t.parquet"), 0.0)


@pytest.mark.parametrize("streaming", [False, True])
def test_landmarks_of_a_table(tmp_path: Path, streaming: bool) -> None:
    _table(tmp_path / "t.parquet", 4, 2, without=(1,))
    points = FaceTable.read(tmp_path / "t.parquet", streaming=streaming).landmarks()
    assert points.shape == (6, 5, 2)
    assert np.isnan(points).all(axis=(1, 2)).tolist() == [False, True, False, False, True, True]
    np.testing.assert_allclose(points[3], faces.face(3, _SIDE).points, rtol=1e-6)
