"""What every forgery must do: change the face, and nothing but the face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.forge.faces import face, table
from tests.tables import encode
from unmask.cli import main
from unmask.data import FaceTable
from unmask.data.writer import write_faces
from unmask.errors import UnmaskError
from unmask.faces.align import TEMPLATE
from unmask.forge import FORGERIES, AlignedFace, Forger, autoencoder, face_swap, mouth_render, resynthesis
from unmask.forge.faces import Faces, find_landmarks, row_key
from unmask.forge.geometry import FACE, affine, blend, displace, soft_mask


@pytest.fixture(scope="module")
def forgers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Every forgery, the learned ones after a few steps."""
    folder = tmp_path_factory.mktemp("models")
    made = table(folder / "t.parquet", 4)
    rows = np.flatnonzero(~made.fake)
    faces = Faces(made, rows, {int(row): face(int(row)).points.ravel().tolist() for row in rows})
    autoencoder.fitted(faces, folder, seed=0, steps=3)
    mouth_render.fitted(faces, folder, seed=0, steps=3)
    resynthesis.fitted(faces, folder, seed=0, steps=3)
    return {name: method.make(faces, folder, 0, None) for name, method in FORGERIES.items()}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("seed", range(3))
def test_only_what_the_mask_shows_is_changed(forgers: dict[str, object], name: str, seed: int) -> None:
    target, donor = face(seed), face(seed + 10)
    before = target.image.copy()
    image, mask = forgers[name](target, donor, np.random.default_rng(seed))  # type: ignore[operator]
    assert image.shape == target.image.shape
    assert (image.dtype, mask.dtype, mask.shape) == (np.uint8, np.uint8, image.shape[:2])
    assert np.array_equal(target.image, before)
    assert np.array_equal(image[mask == 0], target.image[mask == 0])
    assert not np.array_equal(image, target.image)
    assert 0.02 < (mask > 0).mean() < 0.8 or (name == "resynthesis" and mask.min() == 255)
    x, y = target.points[2 if name != "mouth-render" else 3 :].mean(axis=0).astype(int)
    assert mask[y, x] > 0
    again, same = forgers[name](target, donor, np.random.default_rng(seed))  # type: ignore[operator]
    assert np.array_equal(again, image)
    assert np.array_equal(same, mask)


@pytest.mark.parametrize("name", ["face-swap", "reenact", "autoencoder", "mouth-render"])
def test_the_donor_matters(forgers: dict[str, object], name: str) -> None:
    smiling = face(11)
    smile = smiling.points + np.array([[0, 0], [0, 0], [0, 0], [-3, -3], [3, -3]])
    donors = (face(12), AlignedFace(smiling.image, smile))
    images = [forgers[name](face(1), donor, np.random.default_rng(0))[0] for donor in donors]  # type: ignore[operator]
    assert not np.array_equal(*images)


@pytest.mark.parametrize("seed", range(6))
def test_a_face_swapped_with_itself_stays_where_it_is(seed: int) -> None:
    image, mask = face_swap(face(seed), face(seed), np.random.default_rng(seed))
    assert np.abs(image.astype(int) - face(seed).image)[mask > 0].mean() < 1.5


def test_points_too_close_together_are_no_face() -> None:
    for points in (np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((4, 2))):
        with pytest.raises(ValueError, match="points"):
            AlignedFace(np.zeros((64, 64, 3), np.uint8), points)


def test_alignment_is_exact_for_an_affine_face() -> None:
    matrix = np.array([[1.2, 0.3], [-0.2, 0.9]])
    points = TEMPLATE @ matrix.T + [5, 7]
    back = affine(points, TEMPLATE)
    assert points @ back[:, :2].T + back[:, 2] == pytest.approx(TEMPLATE)


def test_the_mask_of_a_face_holds_its_points() -> None:
    for seed in range(4):
        mask = soft_mask(face(seed), FACE, 0.25)
        assert mask.min() >= 0
        assert mask.max() <= 1
        for x, y in face(seed).points:
            assert mask[round(y), round(x)] > 0.3


def test_blending_and_displacing_known_values() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    half = blend(black, white, np.full((8, 8), 0.5))
    assert set(half.ravel().tolist()) == {128}
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    moved = displace(image, np.array([[20.0, 20.0]]), np.array([[4.0, -3.0]]), reach=30.0)
    assert np.unravel_index(moved[..., 0].argmax(), (41, 41)) == (17, 24)


def test_a_table_of_forgeries(tmp_path: Path) -> None:
    made = table(tmp_path / "t.parquet", 6)
    forger = Forger(made, tmp_path)
    assert len(forger.faces) == 6, forger.faces.left_out
    for name in ("real", "face-swap", "self-blend", "given"):
        forger.forge(name)
    real, swapped = (FaceTable.read(tmp_path / f"{name}.parquet") for name in ("real", "face-swap"))
    assert len(real) == len(swapped) == 6
    assert swapped.fake.all()
    assert set(swapped.method) == {"face-swap"}
    for row in range(6):
        known = swapped.row(row)
        assert known["video"] == f"face-swap/{known['source']}"
        assert known["donor"] != known["source"]
        assert known["component"] == real.component[row]
        mask = cv2.imdecode(np.frombuffer(known["mask"], np.uint8), cv2.IMREAD_GRAYSCALE)
        # Coded alike, block by block: far from the mask the files hold the same pixels.
        far = cv2.dilate(mask, np.ones((33, 33))) == 0
        assert np.array_equal(swapped.image(row)[far], real.image(row)[far])
    given = FaceTable.read(tmp_path / "given.parquet")
    assert list(given.method) == ["theirs"]
    blended = FaceTable.read(tmp_path / "self-blend.parquet")
    assert [blended.row(row)["donor"] for row in range(6)] == list(blended.source)

    again = tmp_path / "again"
    again.mkdir()
    Forger(made, again).forge("face-swap")
    assert [swapped.row(row) for row in range(6)] == [
        FaceTable.read(again / "face-swap.parquet").row(row) for row in range(6)
    ]


def test_nobody_lends_a_face_across_splits_or_to_himself(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = table(tmp_path / "t.parquet", 6)
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()[:6]
    for number, row in enumerate(rows):
        row["split"] = "train" if number < 3 else "test"
        row["component"] = f"person{number // 2}"  # 0 0 1 1 2 2
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "u.parquet")
    made = FaceTable.read(tmp_path / "u.parquet")
    points = {row: face(row).points.ravel().tolist() for row in range(6)}
    faces = Faces(made, np.arange(6), points)
    rng = np.random.default_rng(0)
    allowed = {0: {2}, 1: {2}, 2: {0, 1}, 3: {4, 5}, 4: {3}, 5: {3}}
    for place, lenders in allowed.items():
        assert {faces.donor(place, rng) for _ in range(5)} <= lenders
    assert Faces(made, np.arange(2), points).donor(0, rng) is None


def test_people_and_qualities_of_a_frame_have_points_of_their_own(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = table(tmp_path / "t.parquet", 1)
    (row,) = pq.read_table(tmp_path / "t.parquet").slice(0, 1).to_pylist()
    rows = [row, row | {"track": 1}, row | {"quality": "c23"}, row | {"quality": "c23", "track": 1}]
    pq.write_table(pa.Table.from_pylist([{"track": 0} | each for each in rows]), tmp_path / "u.parquet")
    several = FaceTable.read(tmp_path / "u.parquet")
    keys = [row_key(several, number) for number in range(4)]
    assert len(set(keys)) == 4
    assert keys[0] == row_key(made, 0)


def test_landmarks_are_found_once_and_lie_on_the_face(tmp_path: Path) -> None:
    made = table(tmp_path / "t.parquet", 2)
    cache = tmp_path / "landmarks.json"
    found = find_landmarks(made, np.arange(2), cache)
    for row in range(2):
        points = found[row]
        assert points is not None
        assert np.abs(np.reshape(points, (5, 2)) - face(row).points).max() < 8

    def never(frames: object) -> list[list[object]]:
        raise AssertionError("was found before")

    assert find_landmarks(made, np.arange(2), cache, never) == found  # type: ignore[arg-type]

    # Other crops of the same clips are looked at anew.
    turned = [{**made.row(row), "image": encode(np.roll(made.image(row), 20, axis=1))} for row in range(2)]
    write_faces(tmp_path / "u.parquet", turned)
    with pytest.raises(AssertionError, match="was found before"):
        find_landmarks(FaceTable.read(tmp_path / "u.parquet"), np.arange(2), cache, never)  # type: ignore[arg-type]


def test_points_are_each_images_own_where_rows_have_one_name(tmp_path: Path) -> None:
    made = table(tmp_path / "t.parquet", 1)
    shown = [np.roll(made.image(0), shift, axis=1) for shift in (0, 12)]
    rows = [{"image": encode(image), "label": "real", "video": "clip"} for image in shown]
    write_faces(tmp_path / "u.parquet", rows)
    found = find_landmarks(FaceTable.read(tmp_path / "u.parquet"), np.arange(2), tmp_path / "landmarks.json")
    first, second = (np.reshape(found[row] or [], (5, 2)) for row in range(2))
    np.testing.assert_allclose(second - first, [[12, 0]] * 5, atol=5)


def test_every_given_fake_is_written_once_at_its_own_frame(tmp_path: Path) -> None:
    made = table(tmp_path / "t.parquet", 1)
    real = made.row(0)
    fake = {**real, "label": "fake", "method": "theirs", "video": "theirs/0", "source": real["source"]}
    rows = [{**row, "frame": frame} for row, frames in ((real, (0, 5, 9)), (fake, (0, 9))) for frame in frames]
    write_faces(tmp_path / "u.parquet", rows)
    Forger(FaceTable.read(tmp_path / "u.parquet"), tmp_path).forge("given")
    assert sorted(FaceTable.read(tmp_path / "given.parquet").frame) == [0, 9]


def test_a_given_fake_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    made = table(tmp_path / "t.parquet", 2)
    rows = [made.row(row) for row in range(3)]
    rows += [{**rows[1], "label": "fake", "method": "theirs", "video": "fake1", "image": b"no image"}]
    write_faces(tmp_path / "u.parquet", rows)
    summary = Forger(FaceTable.read(tmp_path / "u.parquet"), tmp_path).forge("given")
    assert summary.rows == 1
    (left_out,) = summary.left_out
    assert "u.parquet: row 3" in left_out


def test_a_real_that_cannot_be_read_is_not_called_faceless(tmp_path: Path) -> None:
    row = table(tmp_path / "t.parquet", 1).row(0)
    grey = encode(np.full((96, 96, 3), 127, np.uint8))
    write_faces(tmp_path / "u.parquet", [row, {**row, "image": b"no image"}, {**row, "image": grey}])
    unreadable, faceless = Forger(FaceTable.read(tmp_path / "u.parquet"), tmp_path).faces.left_out
    assert "u.parquet: row 1: cannot decode the image" in unreadable
    assert faceless == f"{tmp_path}/u.parquet: row 2: no face found"


def test_what_cannot_be_forged_is_named(tmp_path: Path) -> None:
    made = table(tmp_path / "t.parquet", 2)
    with pytest.raises(UnmaskError, match="forgery 'magic': expected real, given, face-swap"):
        Forger(made, tmp_path).forge("magic")
    flat = made.row(0)["image"][:40]
    write_faces(tmp_path / "u.parquet", [{"image": flat, "label": "real"}])
    with pytest.raises(UnmaskError, match=r"u\.parquet: no face found in 1 reals"):
        Forger(FaceTable.read(tmp_path / "u.parquet"), tmp_path / "x")
    write_faces(tmp_path / "v.parquet", [made.row(2)])
    with pytest.raises(UnmaskError, match=r"v\.parquet: no real to forge"):
        Forger(FaceTable.read(tmp_path / "v.parquet"), tmp_path)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    made = table(tmp_path / "t.parquet", 2)
    (tmp_path / "autoencoder.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UnmaskError, match=r"autoencoder\.safetensors: holds no weights of this forgery"):
        Forger(made, tmp_path).forge("autoencoder")
    assert not (tmp_path / "autoencoder.parquet").exists()


@pytest.mark.parametrize("name", ["autoencoder", "mouth-render", "resynthesis"])
def test_a_network_that_given_models_lack_is_not_fitted_to_other_data(tmp_path: Path, name: str) -> None:
    made, models = table(tmp_path / "t.parquet", 2), tmp_path / "models"
    models.mkdir()
    with pytest.raises(UnmaskError, match=rf"{name}\.safetensors: no such network"):
        Forger(made, tmp_path / "out", models=models).forge(name)
    assert not list(models.iterdir())
    assert not (tmp_path / "out" / f"{name}.parquet").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path / "t.parquet", 3)
    command = ["forge", str(tmp_path / "t.parquet"), str(tmp_path / "out"), "--method", "reenact"]
    assert main(command) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"landmarks.json", "real.parquet", "reenact.parquet"}
    assert "reenact.parquet: 3 rows, 0 reals left out" in capsys.readouterr().out
    assert main(command) == 0
    assert "there already" in capsys.readouterr().out
    assert main([*command[:3], "--method", "magic"]) == 2
    assert main([*command[:2], str(tmp_path / "t.parquet")]) == 2
    assert "t.parquet: the folder cannot be made: File exists" in capsys.readouterr().err
    assert main(["forge"]) == 2
    assert main(["forge", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in FORGERIES)
