"""Images: colours, depths, rotation, and the files that are none."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from unmask.errors import UnmaskError
from unmask.faces import find_media, is_media, read_media
from unmask.faces.media import MediaStream

from .conftest import painted


def _reason(path: Path) -> str:
    with pytest.raises(UnmaskError) as caught:
        read_media(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return caught.value.reason


def _red(media_path: Path) -> np.ndarray:
    return read_media(media_path).frames[0].image[6, 8]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif"])
def test_red_stays_red(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"red.{suffix}"
    Image.fromarray(painted(3)).save(path)
    media = read_media(path)
    assert (media.kind, media.width, media.height, media.duration) == ("image", 64, 48, None)
    assert len(media.frames) == 1
    assert (media.frames[0].index, media.frames[0].time) == (0, 0.0)
    image = media.frames[0].image
    assert image.dtype == np.uint8
    assert image.shape == (48, 64, 3)
    np.testing.assert_allclose(image[6, 8], (255, 0, 0), atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "turned.png"
    upright = Image.fromarray(painted(3))
    # What the camera stored: the inverse of the turn that the tag asks for.
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(inverse[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif)
    np.testing.assert_array_equal(read_media(path).frames[0].image, painted(3))


def test_cmyk(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.fromarray(painted(0)).convert("CMYK").save(path)
    np.testing.assert_allclose(_red(path), (255, 0, 0), atol=8)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_keeps_its_tones(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)).save(path)
    image = read_media(path).frames[0].image
    np.testing.assert_allclose(image[..., 0].ravel(), np.arange(256), atol=1)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floating_point_grey(tmp_path: Path, white: float) -> None:
    path = tmp_path / "float.tiff"
    Image.fromarray(np.linspace(0, white, 256, dtype=np.float32).reshape(16, 16)).save(path)
    np.testing.assert_allclose(read_media(path).frames[0].image[..., 1].ravel(), np.arange(256), atol=1)


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    pixels = np.dstack([painted(0), np.zeros((48, 64), np.uint8)])
    pixels[:24, :32, 3] = 255
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(_red(path), (255, 0, 0))
    assert (read_media(path).frames[0].image[30:] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "YCbCr", "LAB", "RGBA"])
def test_other_modes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "mode.tiff"
    picture = Image.fromarray(painted(0))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    else:
        picture = picture.convert("L").convert(mode) if mode == "PA" else picture.convert(mode)
    picture.save(path)
    assert read_media(path).frames[0].image.shape == (48, 64, 3)


def test_the_first_page_of_several(tmp_path: Path) -> None:
    path = tmp_path / "several.tiff"
    first, second = Image.fromarray(painted(0)), Image.new("RGB", (64, 48), "lime")
    first.save(path, save_all=True, append_images=[second])
    np.testing.assert_allclose(_red(path), (255, 0, 0), atol=3)
    assert read_media(path).noticed.several
    first.save(path)
    assert not read_media(path).noticed.several


@pytest.mark.parametrize("suffix", ["webp", "png", "gif"])
def test_an_image_that_moves_is_a_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    greys = [Image.new("RGB", (64, 48), (10 * number,) * 3) for number in range(20)]
    options = {"lossless": True} if suffix == "webp" else {}
    greys[0].save(path, save_all=True, append_images=greys[1:], duration=[50] * 10 + [150] * 10, **options)
    media = read_media(path, frames=4)
    assert (media.kind, media.duration) == ("video", 2.0)
    # The middles of four shares of the time, not of the pictures.
    assert [frame.index for frame in media.frames] == [4, 11, 14, 17]
    assert [round(frame.time, 3) for frame in media.frames] == [0.2, 0.65, 1.1, 1.55]
    assert [int(np.median(frame.image)) for frame in media.frames] == [40, 110, 140, 170]
    whole = read_media(path, frames=64)
    assert [int(np.median(frame.image)) for frame in whole.frames] == list(range(0, 200, 10))
    assert [frame.index for frame in MediaStream(path, places=[3, 7, 90])] == [3, 7]
    assert not whole.noticed.damage

    # Cut off, it gives what decodes, and says so.
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    if suffix == "webp":  # its decoder wants the whole file
        assert "the image is" in _reason(path)
    else:
        cut = read_media(path, frames=64)
        assert 0 < len(cut.frames) < 20
        assert int(np.median(cut.frames[0].image)) == 0
        assert cut.duration is not None
        assert cut.noticed.damage == f"the video is damaged: only its first {cut.duration:.1f} s could be read"
    greys[0].save(path)
    assert read_media(path).kind == "image"


def test_an_animation_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.gif"
    small, large = Image.new("L", (16, 16)), Image.new("L", (2000, 2000), 50)
    small.save(path, save_all=True, append_images=[Image.new("L", (16, 16), 20 * number) for number in range(1, 9)])
    assert len(read_media(path).frames) == 9
    monkeypatch.setattr("unmask.faces.animation._PICTURES", 5)
    assert _reason(path) == "the animation is too long for an image: save it as a video"
    monkeypatch.setattr("unmask.faces.animation._PIXELS", 1000)
    assert _reason(path) == "the animation is too long for an image: save it as a video"

    # A later picture that is larger than the first enlarges all.
    monkeypatch.undo()
    frames = [BytesIO(), BytesIO()]
    for picture, file in zip((small, large), frames, strict=True):
        picture.save(file, "GIF", save_all=True, append_images=[picture.point(lambda value: value + 99)])
    begin, second = (file.getvalue() for file in frames)
    # The pictures of the second file behind those of the first, which ends in its trailer.
    path.write_bytes(begin[:-1] + second[second.index(b"\x21\xf9") :])
    monkeypatch.setattr("unmask.faces.media.MAX_PIXELS", 1_000_000)
    assert _reason(path) == "2000 x 2000 pixels, more than the 1 megapixels allowed"


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "picture.mp4"
    Image.fromarray(painted(0)).save(path, format="png")
    assert read_media(path).kind == "image"


def test_files_that_are_no_media(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello " * 99)
    (tmp_path / "short.mp4").write_bytes(b"x")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(4096))
    (tmp_path / "odd.jpg").write_bytes(b"BM and then some text")
    assert _reason(tmp_path / "missing.jpg") == "no such file"
    assert _reason(tmp_path / "empty.jpg") == "the file is empty"
    assert _reason(tmp_path / "text.jpg") == "is not an image or video of a kind that is read here"
    assert _reason(tmp_path / "short.mp4") == "is not an image or video of a kind that is read here"
    assert "is not an image or video" in _reason(tmp_path / "noise.mp4")
    assert _reason(tmp_path / "odd.jpg").startswith("the image is")
    assert _reason(tmp_path) == "is a folder, not an image or video"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        assert _reason(tmp_path / "pipe.mp4") == "is not a regular file"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff"])
def test_a_truncated_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut off" in _reason(path) or "damaged" in _reason(path)


@pytest.mark.parametrize("side", [10_001, 13_000, 60_000])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    path = tmp_path / "bomb.png"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    assert "100 megapixels" in _reason(path)


def test_a_large_image_under_the_limit(tmp_path: Path) -> None:
    # Above the size at which Pillow warns, and warnings are errors here.
    path = tmp_path / "large.png"
    Image.new("L", (12_000, 7_600), 9).save(path, compress_level=1)
    media = read_media(path)
    assert (media.width, media.height) == (12_000, 7_600)


def test_at_least_one_frame_must_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="at least 1"):
        read_media(tmp_path, frames=0)


def test_media_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    named = ("z.MP4", "b/a.jpeg", "b/deep/c.webm", "b/notes.txt", ".hidden.png", "table.parquet", "b/d.HEIC", "b/e.mts")
    for name in named:
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    others: list[str] = []
    found = [path.relative_to(tmp_path).as_posix() for path in find_media(tmp_path, left_out=others.append)]
    assert found == ["z.MP4", "b/a.jpeg", "b/d.HEIC", "b/e.mts", "b/deep/c.webm"]
    assert others == [str(tmp_path / "table.parquet"), str(tmp_path / "b/notes.txt")]
    assert is_media("x/y.TIFF")
    assert not is_media("x/y.txt")
    with pytest.raises(UnmaskError, match="no such folder"):
        list(find_media(tmp_path / "missing"))


def test_a_limit_above_pillows_own_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (400, 300)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_media(tmp_path / "large.png").width == 400
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_exif_that_cannot_be_read_turns_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "odd.png", exif=b"Exif\0\0no tiff at all")
    assert read_media(tmp_path / "odd.png").frames[0].image.shape == (30, 40, 3)


def test_frames_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unmask.faces import media

    Image.new("RGB", (40, 30)).save(tmp_path / "small.png")
    monkeypatch.setattr(media, "MAX_BYTES", 40 * 30 * 3 - 1)
    with pytest.raises(UnmaskError, match="more than 0 frames of 40 x 30 pixels do not fit: ask for fewer"):
        read_media(tmp_path / "small.png")
