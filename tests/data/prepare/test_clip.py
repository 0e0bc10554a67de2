"""One clip to rows: what is decoded, who is chosen, what the crops show, and what is said of clips that are broken."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.clips import moving, portrait, write_image
from tests.data.prepare import clips
from tests.data.prepare.clips import clip_of
from unmask.data.decode import decode_image
from unmask.data.layouts import Clip
from unmask.data.prepare import PrepareRecipe
from unmask.data.prepare.clip import clip_worker
from unmask.faces import MTCNN, CropRecipe, read_media
from unmask.faces.align import canonical_points

_SMALL = CropRecipe(size=96)


def _prepare(clip: Clip, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return clip_worker(PrepareRecipe(**({"crop": _SMALL, "min_face": 20} | options)))(clip)


def _picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_rows_say_where_each_crop_is_from(tmp_path: Path) -> None:
    clip = clip_of(clips.with_face(tmp_path / "a.mp4", 8), label="fake", donor="b")
    rows, note = _prepare(clip, frames=4, format="png")
    assert note == {"state": "done", "rows": 4, "frames": 4, "seconds": note["seconds"]}
    assert [row["frame"] for row in rows] == [1, 3, 5, 7]
    frames = read_media(tmp_path / "a.mp4", 4).frames
    for row, frame in zip(rows, frames, strict=True):
        names = ("label", "method", "dataset", "quality", "split", "video", "source", "component", "donor", "track")
        assert [row[name] for name in names] == ["fake", "swap", "made", "c23", "train", "a", "a", "a", "b", 0]
        (face,) = MTCNN()([frame.image])[0]
        x, y, width, height = row["box"]
        assert abs(x - face.box.x) + abs(y - face.box.y) < 8
        assert abs(width - face.box.width) + abs(height - face.box.height) < 12
        crop = _picture(row["image"])
        assert crop.shape == (96, 96, 3)
        # The landmarks are those that a search of the crop finds.
        (again,) = MTCNN()([crop])[0]
        np.testing.assert_allclose(np.array(row["landmarks"]).reshape(5, 2), again.landmarks, atol=6)
        assert row["found"] > 0.9


def test_jpeg_of_quality_95_is_the_default(tmp_path: Path) -> None:
    path = clips.with_face(tmp_path / "a.mp4")
    (jpeg, *_), (png, *_) = (_prepare(clip_of(path), format=format)[0] for format in ("jpeg", "png"))
    image = Image.open(io.BytesIO(jpeg["image"]))
    assert image.format == "JPEG"
    assert image.quantization[0][0] == 2  # libjpeg's table at 95
    assert np.abs(_picture(jpeg["image"]).astype(int) - _picture(png["image"])).mean() < 4


def test_frames_by_rate(tmp_path: Path) -> None:
    rows, _ = _prepare(clip_of(clips.with_face(tmp_path / "a.mp4", 10)), rate=3)
    assert [row["frame"] for row in rows] == [1, 5, 8]


def test_aligned_faces_have_their_eyes_where_they_belong(tmp_path: Path) -> None:
    rows, _ = _prepare(clip_of(clips.with_face(tmp_path / "a.mp4")), align=True)
    for row in rows:
        points = np.array(row["landmarks"]).reshape(5, 2)
        np.testing.assert_allclose(points, canonical_points(_SMALL), atol=6)
        (face,) = MTCNN()([_picture(row["image"])])[0]
        np.testing.assert_allclose(face.landmarks, points, atol=6)


def test_ten_faces(tmp_path: Path) -> None:
    path = clips.encode(tmp_path / "ten.mp4", [clips.crowd(5, 2)] * 3)
    rows, _ = _prepare(clip_of(path), people="all")
    assert sorted((row["track"], row["frame"]) for row in rows) == [(t, f) for t in range(10) for f in range(3)]
    rows, note = _prepare(clip_of(path))
    assert len(rows) == 3
    assert note["left_out"] == {"another person": 27}


def _two_and_a_mask(folder: Path, colour: tuple[int, int, int]) -> Clip:
    """A large face on the left and a smaller one on the right, whose mask is drawn in a colour, all of it as videos."""
    large, small = portrait(360), portrait(240)
    frame = np.full((360, 640, 3), 60, np.uint8)
    frame[:, :360], frame[60:300, 380:620] = large, small
    (first, second) = MTCNN()([frame])[0]
    assert first.box.area > 1.5 * second.box.area
    mask = np.zeros_like(frame)
    x, y = map(round, second.box.centre)
    mask[y - 20 : y + 20, x - 15 : x + 15] = colour
    video = clips.encode(folder / "two.mp4", [frame] * 6)
    masks = clips.encode(folder / "masks" / "two.mp4", [mask] * 6)
    return clip_of(video, label="fake", masks=(masks,))


@pytest.mark.parametrize("colour", [(255, 255, 255), (40, 60, 200)])
def test_masks_choose_the_manipulated_person(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    clip = _two_and_a_mask(tmp_path, colour)
    rows, note = _prepare(clip, frames=3)
    assert [row["box"][0] > 380 for row in rows] == [True] * 3
    assert note["left_out"] == {"another person": 3}
    for row in rows:
        mask = _picture(row["mask"])
        assert mask.shape == (96, 96)
        assert mask[48, 48] > 230
        assert mask[:8].max() == 0
        # As large as it was drawn, on the scale of the crop.
        scale = 96 / (1.3 * max(row["box"][2:]))
        assert (mask > 127).sum() == pytest.approx(40 * 30 * scale**2, rel=0.25)
    rows, note = _prepare(clip, frames=3, people="all")
    assert len(rows) == 3
    assert note["left_out"] == {"not manipulated": 3}


def test_a_broken_mask_is_remarked_and_the_clip_is_done(tmp_path: Path) -> None:
    clip = _two_and_a_mask(tmp_path, (255, 255, 255))
    clip.masks[0].write_bytes(b"no video")
    rows, note = _prepare(clip, frames=3)
    assert [row["box"][0] < 360 for row in rows] == [True] * 3
    assert "mask" not in rows[0]
    assert note["remarks"] == [f"{clip.masks[0]}: is not an image or video of a kind that is read here"]


def test_extracted_frames_keep_their_numbers_and_their_masks(tmp_path: Path) -> None:
    images = moving(portrait(), 6)
    paths = [write_image(tmp_path / f"{10 * i:04}.png", image) for i, image in enumerate(images)]
    masks = [write_image(tmp_path / f"mask{i}.png", np.full((256, 256), 40 * i + 30, np.uint8)) for i in range(6)]
    clip = clip_of(*paths, frames=tuple(range(0, 60, 10)), masks=tuple(masks))
    rows, _ = _prepare(clip, frames=3)
    assert [row["frame"] for row in rows] == [10, 30, 50]
    assert [_picture(row["mask"]).max() for row in rows] == [70, 150, 230]
    assert len(_prepare(clip, rate=1)[0]) == 6

    paths[3].write_bytes(b"broken")
    rows, note = _prepare(clip, frames=3)
    assert [row["frame"] for row in rows] == [10, 50]
    assert note["remarks"] == [f"{paths[3]}: is not an image or video of a kind that is read here"]
    for path in paths:
        path.unlink()
    rows, note = _prepare(clip)
    assert (rows, note["state"]) == ([], "broken")
    assert note["reason"].endswith("0050.png: no such file")


def test_a_single_image(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.jpg", portrait())
    mask = write_image(tmp_path / "mask.png", np.full((256, 256), 90, np.uint8))
    rows, _ = _prepare(clip_of(image, frames=(7,), masks=(mask,)))
    assert [(row["frame"], _picture(row["mask"]).max()) for row in rows] == [(7, 90)]


def test_a_broken_mask_costs_its_own_frame(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{i}.png", image) for i, image in enumerate(moving(portrait(), 3))]
    masks = [write_image(tmp_path / f"mask{i}.png", np.full((256, 256), 90, np.uint8)) for i in range(3)]
    masks[1].write_bytes(b"broken")
    rows, note = _prepare(clip_of(*paths, masks=tuple(masks)))
    assert ["mask" in row for row in rows] == [True, False, True]
    assert note["remarks"] == [f"{masks[1]}: is not an image or video of a kind that is read here"]


def test_ready_crops_are_taken_as_they_are(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    jpeg = write_image(tmp_path / "a.jpg", noise, quality=70)
    png = write_image(tmp_path / "b.png", noise)
    turned = write_image(tmp_path / "c.jpg", portrait(64), exif=_turned())
    see_through = write_image(tmp_path / "d.png", np.dstack([noise, noise[..., 0]]))
    deep = write_image(tmp_path / "e.png", 257 * noise[..., 0].astype(np.uint16))
    paths = (jpeg, png, turned, see_through, deep)
    rows, note = _prepare(clip_of(*paths, cropped=True))
    kept = [row["image"] == path.read_bytes() for row, path in zip(rows, paths, strict=True)]
    assert kept == [True, True, False, False, False]
    # Coded anew, as a reader of tables without an eye for EXIF, transparency and deep greys must see it.
    assert np.abs(decode_image(rows[4]["image"]).astype(int) - noise[..., :1]).mean() < 8
    assert np.abs(_picture(rows[2]["image"]).astype(int) - np.rot90(portrait(64), -1)).mean() < 8
    assert _picture(rows[3]["image"]).shape == (50, 40, 3)
    assert {"box", "found", "landmarks"}.isdisjoint(rows[0])
    assert note["state"] == "done"


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    return exif


def test_the_quality_filter_counts_what_it_leaves_out(tmp_path: Path) -> None:
    clip = clip_of(clips.with_face(tmp_path / "a.mp4"))
    for options, reason in (
        ({"min_face": 200}, "smaller than 200 px"),
        ({"min_score": 1.0}, "detector score below 1"),
        ({"min_sharpness": 5.0}, "sharpness below 5"),
    ):
        rows, note = _prepare(clip, **options)
        assert rows == []
        assert note["state"] == "no face"
        assert note["left_out"] == {reason: 4}
        assert note["reason"] == f"{tmp_path}/a.mp4: no face in 4 frames (4 {reason})"
    sharp, blurred = portrait(), np.asarray(Image.fromarray(portrait()).resize((24, 24)).resize((256, 256)))
    path = clips.encode(tmp_path / "b.mp4", [sharp, sharp, sharp, blurred])
    rows, note = _prepare(clip_of(path), min_sharpness=0.1)
    assert [row["frame"] for row in rows] == [0, 1, 2]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (clips.cut_off, "no frame of the video can be decoded|the video is damaged or cut off|has no picture"),
        (clips.sound_only, "has sound but no picture"),
        (lambda path: path, "no such file"),
        (lambda path: (path.write_bytes(b"") and path) or path, "the file is empty"),
        (lambda path: path.write_text("<html>") and path, "is not an image or video of a kind that is read here"),
    ],
)
def test_a_broken_clip_says_why(tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    path = make(tmp_path / "a.mp4")
    rows, note = _prepare(clip_of(path))
    assert (rows, note["state"], note["rows"]) == ([], "broken", 0)
    assert note["reason"].startswith(f"{path}: ")
    assert note["reason"].removeprefix(f"{path}: ") in reason.split("|")


def test_no_face(tmp_path: Path) -> None:
    rows, note = _prepare(clip_of(clips.without_face(tmp_path / "a.mp4")))
    assert (rows, note["state"]) == ([], "no face")
    assert note["reason"] == f"{tmp_path}/a.mp4: no face in 3 frames"


def test_a_truncated_video_gives_what_is_left_of_it(tmp_path: Path) -> None:
    path = clips.encode(tmp_path / "a.mp4", moving(portrait(), 20), options={"g": "3"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    rows, note = _prepare(clip_of(path), frames=5)
    assert note["state"] == "done"
    assert 1 <= len(rows) <= 5
    assert rows[-1]["frame"] < 19
    (remark,) = note["remarks"]
    assert re.fullmatch(rf"{path}: the video is damaged: only [01]\.\d s of 2\.0 s could be read", remark)


def test_damage_in_the_middle_gives_as_many_frames_as_wanted(tmp_path: Path) -> None:
    path = clips.encode(tmp_path / "a.mp4", moving(portrait(), 30), options={"g": "3"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat")
    middle = (start + len(data)) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    rows, _ = _prepare(clip_of(path), frames=20)
    numbers = [row["frame"] for row in rows]
    assert numbers == sorted(set(numbers))
    assert numbers == [frame.index for frame in read_media(path, 20).frames][: len(numbers)]


@pytest.mark.parametrize("name", ["turned", "variable", "hevc", "odd", "a name with ä ö ü 漢字 '\"%d.mp4"])
def test_clips_that_are_unusual(tmp_path: Path, name: str) -> None:
    if name == "turned":
        path = clips.lying(tmp_path / "a.mp4")
    elif name == "variable":
        times = [0, 10, 20, 30, 1000, 2500]
        path = clips.encode(tmp_path / "a.mkv", moving(portrait(), 6), milliseconds=times)
    elif name == "hevc":
        options = {"x265-params": "log-level=none"}
        path = clips.encode(tmp_path / "a.mp4", moving(portrait(), 4), "libx265", "yuv420p10le", options)
    elif name == "odd":
        path = clips.encode(tmp_path / "a.mkv", [portrait(257)[:251]] * 3, pixels="yuv444p")
    else:
        path = clips.with_face(tmp_path / name)
    rows, note = _prepare(clip_of(path))
    assert note["state"] == "done"
    assert len(rows) == note["frames"] >= 3
    for row in rows:
        (face,) = MTCNN()([_picture(row["image"])])[0]
        assert face.landmarks is not None
        (left, right, *_, mouth) = face.landmarks
        assert left[0] < right[0]  # upright: eyes side by side, the mouth below
        assert mouth[1] > right[1]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    clips.with_face(path)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4"))
    path.rename(odd)
    rows, _ = _prepare(clip_of(odd))
    assert [row["video"] for row in rows] == ["\\xff"] * 4
