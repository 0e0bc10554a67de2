"""A fake is cut as its original is cut, same frames and same pixels; or by its own faces, and the report says why."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.clips import moving, portrait, write_image
from tests.data.prepare import clips
from tests.data.prepare.clips import clip_of
from unmask.cli import main
from unmask.data import FaceTable
from unmask.data.layouts import Clip
from unmask.data.originals import Originals
from unmask.data.prepare import PrepareRecipe
from unmask.data.prepare.clip import clip_worker
from unmask.data.writer import write_faces
from unmask.faces import CropRecipe, read_media

_RECIPE = PrepareRecipe(frames=4, crop=CropRecipe(size=128), min_face=20, format="png", like_original=True)
_LOSSLESS = {"crf": "0", "preset": "ultrafast"}


def _forged(image: np.ndarray) -> np.ndarray:
    """The mouth is upside down, which moves the box that a search finds; drifting, as the portrait does."""
    image = image.copy()
    image[62:80, 98:150] = image[62:80, 98:150][::-1]
    return image


def _pair(folder: Path, frames: int = 8, of_fake: slice = slice(None)) -> tuple[Clip, Clip]:
    images = moving(portrait(), frames)
    real = clip_of(clips.encode(folder / "real.mp4", images, options=_LOSSLESS))
    forged = [_forged(image) for image in images[of_fake]]
    fake = clip_of(clips.encode(folder / "fake.mp4", forged, options=_LOSSLESS), label="fake", source="real")
    return real, replace(fake, original=real)


def _prepared(clip: Clip, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return clip_worker(replace(_RECIPE, **options))(clip)


def _picture(row: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row["image"]))).astype(int)


@pytest.mark.parametrize("align", [False, True])
def test_crops_lie_pixel_on_pixel(tmp_path: Path, align: bool) -> None:
    real, fake = _pair(tmp_path)
    reals, fakes = (_prepared(clip, align=align)[0] for clip in (real, fake))
    alone, _ = _prepared(fake, align=align, like_original=False)
    assert [row["frame"] for row in fakes] == [row["frame"] for row in reals] == [1, 3, 5, 7]
    for ours, theirs, own in zip(reals, fakes, alone, strict=True):
        assert theirs["box"] == ours["box"] != own["box"]
        off = np.abs(_picture(ours) - _picture(theirs)).max(axis=2)
        assert off.max() > 60  # the forgery is there,
        assert off[:20].max() == off[-10:].max() == 0  # and nothing else
        assert np.abs(_picture(ours) - _picture(own)).max(axis=2)[:20].max() > 0
    assert fakes[0]["label"] == "fake"


def test_a_shorter_fake_gives_the_frames_it_shares(tmp_path: Path) -> None:
    real, fake = _pair(tmp_path, 8, slice(6))
    reals, (fakes, note) = _prepared(real)[0], _prepared(fake)
    assert [row["frame"] for row in fakes] == [1, 3, 5]
    assert [row["box"] for row in fakes] == [row["box"] for row in reals][:3]
    assert note["frames"] == 3
    assert "remarks" not in note
    (longer, _) = _prepared(replace(real, method="swap", original=fake))
    assert [row["frame"] for row in longer] == [0, 2, 3, 5]  # as a clip of six frames is cut


def test_a_shorter_fake_has_the_masks_of_the_very_frames(tmp_path: Path) -> None:
    _, fake = _pair(tmp_path, 32, slice(26))
    grey = [np.full((256, 256, 3), 60 + 6 * number, np.uint8) for number in range(26)]
    masks = clips.encode(tmp_path / "masks/fake.mp4", grey, options=_LOSSLESS)
    rows, note = _prepared(replace(fake, masks=(masks,)))
    assert [row["frame"] for row in rows] == [4, 12, 20]
    levels = [np.asarray(Image.open(io.BytesIO(row["mask"]))).max() for row in rows]
    assert levels == pytest.approx([60 + 6 * row["frame"] for row in rows], abs=2)
    few = clips.encode(tmp_path / "masks/few.mp4", grey[:3])
    rows, note = _prepared(replace(fake, masks=(few,)))
    assert [row["frame"] for row in rows if "mask" not in row] == [4, 12, 20]
    assert "remarks" not in note


def test_the_second_person_of_a_fake_is_paired_with_itself_or_with_nobody(tmp_path: Path) -> None:
    frame = np.full((360, 640, 3), 60, np.uint8)
    frame[:, :360], frame[60:300, 380:620] = portrait(360), portrait(240)
    forged, mask = frame.copy(), np.zeros_like(frame)
    forged[100:130, 470:500] = forged[100:130, 470:500][::-1]
    mask[100:130, 470:500] = 255
    real = clip_of(clips.encode(tmp_path / "real.mp4", [frame] * 4, options=_LOSSLESS))
    video, masks = (clips.encode(tmp_path / f"{name}.mp4", [image] * 4) for name, image in (("f", forged), ("m", mask)))
    fake = clip_of(video, label="fake", source="real", masks=(masks,), original=real)
    for people, found in (("main", False), ("all", True)):
        rows = [row for clip in (real, fake) for row in _prepared(clip, frames=2, people=people)[0]]
        write_faces(tmp_path / "t.parquet", rows)
        table = FaceTable.read(tmp_path / "t.parquet")
        fakes = np.flatnonzero(table.fake).tolist()
        assert len(fakes) == 2
        for row in fakes:
            original = Originals(table).exactly_of(row)
            assert (original is not None) == found
            assert original is None or rows[original]["box"] == rows[row]["box"]


def test_extracted_frames_beside_a_video(tmp_path: Path) -> None:
    _, fake = _pair(tmp_path)
    frames = read_media(fake.paths[0], 8).frames
    paths = [write_image(tmp_path / f"{frame.index:04}.png", frame.image) for frame in frames if frame.index != 3]
    as_files = replace(fake, paths=tuple(paths), frames=(0, 1, 2, 4, 5, 6, 7))
    assert [row["frame"] for row in _prepared(as_files)[0]] == [1, 5, 7]
    swapped = replace(fake, original=replace(as_files, method="real"))
    assert [row["frame"] for row in _prepared(swapped)[0]] == [0, 2, 5, 7]


def test_a_damaged_original_gives_others_of_its_frames(tmp_path: Path) -> None:
    images = moving(portrait(), 30)
    real = clip_of(clips.encode(tmp_path / "real.mp4", images, options={"g": "3"}))
    fake = clip_of(clips.encode(tmp_path / "fake.mp4", images), label="fake", source="real", original=real)
    data = bytearray(real.paths[0].read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle : middle + 3000] = bytes(3000)
    real.paths[0].write_bytes(data)
    reals, fakes = (_prepared(clip, frames=12)[0] for clip in (real, fake))
    assert 8 <= len(fakes) <= 12
    common = {row["frame"]: row["box"] for row in reals}
    assert all(common[row["frame"]] == row["box"] for row in fakes)


def test_without_an_original_that_fits_it_is_cut_by_its_own_faces(tmp_path: Path) -> None:
    _, fake = _pair(tmp_path)
    own, _ = _prepared(fake, like_original=False)
    (tmp_path / "no.mp4").write_bytes(b"no video")
    small = clips.encode(tmp_path / "small.mp4", moving(portrait(128), 8))
    late = [write_image(tmp_path / f"{n}.png", portrait()) for n in (20, 21)]
    for original, why in (
        (None, "its original real is not there"),
        (
            clip_of(tmp_path / "no.mp4"),
            f"its original cannot be read: {tmp_path}/no.mp4: is not an image or video of a kind that is read here",
        ),
        (clip_of(small), "256 x 256 pixels, its original 128 x 128"),
        (clip_of(*late, frames=(20, 21)), "no frame is there that was taken of its original"),
    ):
        rows, note = _prepared(replace(fake, original=original))
        assert [row["box"] for row in rows] == [row["box"] for row in own]
        assert note["remarks"] == [f"{tmp_path}/fake.mp4: cut by its own faces: {why}"]
    fake.paths[0].write_bytes(b"broken")
    assert _prepared(fake)[1]["reason"] == f"{tmp_path}/fake.mp4: is not an image or video of a kind that is read here"


def test_the_command_finds_the_original_of_the_same_quality(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    youtube, swaps = tmp_path / "FF" / "original_sequences/youtube", tmp_path / "FF" / "manipulated_sequences/Deepfakes"
    images = moving(portrait(), 4)
    clips.encode(youtube / "c23/videos/000.mp4", images, options=_LOSSLESS)
    clips.without_face(youtube / "c40/videos/000.mp4")
    for name in ("000_003", "001_870"):
        clips.encode(swaps / f"c23/videos/{name}.mp4", [_forged(image) for image in images], options=_LOSSLESS)
    made = ["prepare", "ffpp", str(tmp_path / "FF"), str(tmp_path / "out"), "--format", "png", "--min-face", "20"]
    assert main([*made, "--like-original"]) == 0
    lost = swaps / "c23/videos/001_870.mp4"
    assert f"remark: {lost}: cut by its own faces: its original 001 is not there" in capsys.readouterr().out
    table = FaceTable.read(tmp_path / "out")
    assert len(table) == 12
    ours, theirs = (
        table.image(int(np.flatnonzero((table.video == video) & (table.frame == 1))[0])) for video in ("000", "000_003")
    )
    assert (ours[:40] == theirs[:40]).all()
    assert (ours != theirs).any()
    # Begun with one recipe, gone on with another: refused.
    assert main(made) == 2
    assert "like_original True, not None" in capsys.readouterr().err
