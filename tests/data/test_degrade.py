"""Qualities do what their names say, in place, and the same whoever asks."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.clips import portrait
from tests.tables import encode, write_table
from unmask.cli import main
from unmask.data import FaceTable
from unmask.data.degrade import QUALITIES, degrade_image, degrade_table, get_quality, strength
from unmask.data.degrade.qualities import FRAMES, VideoCodec, h264, pan
from unmask.data.writer import write_faces
from unmask.errors import UnmaskError


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return np.ascontiguousarray(portrait()[40:200, 30:190])


@pytest.mark.parametrize("name", QUALITIES)
def test_every_quality_keeps_the_face_where_it_is(face: np.ndarray, name: str) -> None:
    degraded = degrade_image(face, name, 3)
    assert degraded.shape == face.shape
    assert degraded.dtype == np.uint8
    here = strength(face, degraded)[0]
    assert here > 20
    if name != "source":
        assert not np.array_equal(degraded, face)
        for shift in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            moved = np.roll(degraded, shift, axis=(0, 1))
            assert strength(face[2:-2, 2:-2], moved[2:-2, 2:-2])[0] < here
    assert np.array_equal(degraded, degrade_image(face, name, 3))


@pytest.mark.parametrize(
    "ladder",
    [
        ("source", "h264-23", "h264-32", "h264-40"),
        ("h265-28", "h265-35"),
        ("vp9-35", "vp9-50"),
        ("jpeg-95", "jpeg-60", "jpeg-30"),
    ],
)
def test_a_lower_quality_loses_more(face: np.ndarray, ladder: tuple[str, ...]) -> None:
    found = [strength(face, degrade_image(face, name)) for name in ladder]
    assert sorted(found, reverse=True) == found


def test_the_names_of_ffpp_mean_its_settings() -> None:
    assert get_quality("c23") is QUALITIES["h264-23"]
    assert get_quality("c40").steps == (h264(40),)
    with pytest.raises(UnmaskError, match=r"quality 'c99': expected one of source, .*c40"):
        get_quality("c99")


def test_the_middle_frame_is_predicted_from_others(face: np.ndarray) -> None:
    """The same picture coded by itself, without neighbours to predict from, is another picture."""
    rng = np.random.default_rng(0)
    frames = pan(face, rng)
    assert len(frames) == FRAMES
    assert np.array_equal(frames[FRAMES // 2], face)
    assert all(not np.array_equal(frames[0], other) for other in frames[1:])
    codec = h264(32)
    assert isinstance(codec, VideoCodec)
    among, alone = codec.transcode(frames)[FRAMES // 2], codec.transcode([face])[0]
    assert not np.array_equal(among, alone)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(2, 40),
    st.sampled_from(["h264-32", "h265-35", "vp9-35", "jpeg-30", "half", "noise", "social-video"]),
)
def test_any_size_will_do(height: int, width: int, name: str) -> None:
    image = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert degrade_image(image, name).shape == image.shape


def test_strength_of_known_changes(face: np.ndarray) -> None:
    psnr, ssim = strength(face, face)
    assert (psnr, ssim) == (np.inf, pytest.approx(1.0))
    ten = np.where(face > 127, face - 10, face + 10).astype(np.uint8)
    assert strength(face, ten)[0] == pytest.approx(20 * np.log10(255 / 10))


def test_a_table_keeps_its_rows_and_says_what_they_lost(tmp_path: Path) -> None:
    table = FaceTable.read(write_table(tmp_path / "t.parquet", 3, 3, size=32))
    done = degrade_table(table, tmp_path / "one.parquet", "h264-32")
    assert (done.rows, done.left_out) == (6, ())
    assert degrade_table(table, tmp_path / "two.parquet", "h264-32", workers=2) == done
    one, two = (FaceTable.read(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    for row in range(6):
        known = one.row(row)
        assert known == two.row(row)
        assert known["quality"] == "h264-32"
        assert known["video"] == table.video[row]
        psnr, ssim = strength(table.image(row), one.image(row))
        assert (known["psnr"], known["ssim"]) == (pytest.approx(psnr, rel=1e-5), pytest.approx(ssim, rel=1e-5))
    assert done.psnr == pytest.approx(np.mean([one.row(row)["psnr"] for row in range(6)]))


def test_a_worker_that_is_killed_costs_one_row(tmp_path: Path) -> None:
    table = FaceTable.read(write_table(tmp_path / "t.parquet", 20, 20, size=32))
    killed = []

    def kill_one(name: str, done: int, total: int) -> None:
        if done == 4 and not killed:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    done = degrade_table(table, tmp_path / "o.parquet", "h264-32", workers=2, progress=kill_one)
    assert done.rows == 39
    assert len(done.left_out) == 1
    assert "cannot be degraded" in done.left_out[0]
    kept = [str(name) for name in FaceTable.read(tmp_path / "o.parquet").video]
    assert kept == [name for name in map(str, table.video) if name in kept]


def test_a_turned_picture_lies_as_in_the_table(tmp_path: Path) -> None:
    data = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 16)).save(data, "jpeg", exif=exif)
    write_faces(tmp_path / "t.parquet", [{"image": data.getvalue(), "label": "real"}])
    table = FaceTable.read(tmp_path / "t.parquet")
    degrade_table(table, tmp_path / "o.parquet", "jpeg-60")
    assert FaceTable.read(tmp_path / "o.parquet").image(0).shape == table.image(0).shape == (16, 32, 3)


def test_a_broken_row_is_named_and_the_rest_done(tmp_path: Path) -> None:
    image = encode(np.full((16, 16, 3), 90, np.uint8))
    rows = [{"image": data, "label": "real", "video": str(n)} for n, data in enumerate((image, b"no image", image))]
    write_faces(tmp_path / "t.parquet", rows)
    done = degrade_table(FaceTable.read(tmp_path / "t.parquet"), tmp_path / "o.parquet", "jpeg-60")
    assert done.rows == 2
    assert len(done.left_out) == 1
    assert "t.parquet: row 1: cannot decode the image" in done.left_out[0]
    write_faces(tmp_path / "b.parquet", rows[1:2])
    with pytest.raises(UnmaskError, match=r"b\.parquet: row 0.*no row of 1 could be degraded"):
        degrade_table(FaceTable.read(tmp_path / "b.parquet"), tmp_path / "o2.parquet", "jpeg-60")
    assert not (tmp_path / "o2.parquet").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_table(tmp_path / "t.parquet", 2, 2, size=32)
    command = ["degrade", str(source), str(tmp_path / "out"), "--workers", "1", "--quality", "c40", "webp-50"]
    assert main(command) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["h264-40.parquet", "webp-50.parquet"]
    assert "4 rows, PSNR" in capsys.readouterr().out
    before = (tmp_path / "out/h264-40.parquet").stat().st_mtime_ns
    assert main(command) == 0
    assert "there already" in capsys.readouterr().out
    assert (tmp_path / "out/h264-40.parquet").stat().st_mtime_ns == before
    assert main(["degrade", "--list"]) == 0
    assert "h264-40        H.264, constant rate factor 40 (short: c40)" in capsys.readouterr().out
    assert main(["degrade", str(source), str(tmp_path / "out")]) == 2
    assert main([*command[:3], "--quality", "c99"]) == 2
    assert main(["degrade", str(source), str(source), "--quality", "c40"]) == 2
    assert "t.parquet: the folder cannot be made" in capsys.readouterr().err
