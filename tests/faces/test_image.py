"""Images: colours, depths, rotation, and the files that are none."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from unmask.errors import UnmaskError
from unmask.faces import find_media, is_media, read_media
from unmask.faces.media import MediaStream

from .conftest import painted

pillow_heif.register_heif_opener()


def _reason(path: Path) -> str:
    with pytest.raises(UnmaskError) as caught:
        read_media(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return caught.value.reason


def _red(media_path: Path) -> np.ndarray:
    return read_media(media_path).frames[0].image[6, 8]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif", "avif", "heic"])
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


@pytest.mark.parametrize(
    ("suffix", "orientation"), [*(("png", each) for each in range(1, 9)), ("avif", 6), ("heic", 6), ("heic", 3)]
)
def test_exif_rotation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"turned.{suffix}"
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
    stored.save(path, exif=exif.tobytes())
    image = read_media(path).frames[0].image
    if suffix == "png":
        np.testing.assert_array_equal(image, painted(3))
    else:
        assert np.abs(image.astype(int) - painted(3)).mean() < 6


def _profile(
    space: bytes, curves: dict[bytes, np.ndarray], colorants: dict[bytes, tuple[float, float, float]]
) -> bytes:
    """A colour profile after ICC.1:2001: tone curves, and where the primaries lie in XYZ (D50)."""

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    name = b"mine"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
    }
    tags |= {key: xyz(place) for key, place in colorants.items()}
    for key, curve in curves.items():
        points = np.rint(curve * 65535).astype(">u2")
        tags[key] = b"curv\0\0\0\0" + struct.pack(">I", len(points)) + points.tobytes()
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02100000, b"mntr", space, b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def _display_p3() -> bytes:
    value = np.linspace(0, 1, 1024)
    curve = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    colorants = {  # those of the profile that phones write
        b"rXYZ": (0.51512, 0.2412, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.1571, 0.06657, 0.78407),
    }
    return _profile(b"RGB ", dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve), colorants)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp", "avif", "heic"])
def test_colours_are_those_of_the_profile(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"wide.{suffix}"
    Image.new("RGB", (64, 48), (234, 51, 35)).save(path, icc_profile=_display_p3(), quality=95)
    np.testing.assert_allclose(_red(path), (255, 0, 0), atol=6)  # the red of sRGB, in the numbers of Display P3
    Image.new("RGB", (64, 48), (234, 51, 35)).save(path, quality=95)
    np.testing.assert_allclose(_red(path), (234, 51, 35), atol=6)


def test_grey_has_a_profile_too(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    linear = _profile(b"GRAY", {b"kTRC": np.linspace(0, 1, 2)}, {})
    Image.new("L", (64, 48), 55).save(path, icc_profile=linear)  # of the light that white has
    np.testing.assert_allclose(_red(path), 128, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK", "I;16"])
def test_a_profile_of_no_use_is_passed_over(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    picture = Image.new("RGB", (64, 48), (90, 90, 90)).convert("I" if mode == "I;16" else mode).convert(mode)
    picture.save(path)
    plain = _red(path)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    damaged, linear = _display_p3()[:200], _profile(b"GRAY", {b"kTRC": np.linspace(0, 1, 2)}, {})
    for profile in (damaged, srgb, *([] if mode == "L" else [linear])):
        picture.save(path, icc_profile=profile)
        np.testing.assert_array_equal(_red(path), plain)


def test_heic_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.heic"
    Image.fromarray(painted(0)).save(path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert _reason(path) == "HEIC needs pillow-heif: pip install 'unmask[heic]'"


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


@pytest.mark.parametrize("suffix", ["webp", "png", "gif", "avif"])
def test_an_image_that_moves_is_a_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    greys = [Image.new("RGB", (64, 48), (10 * number,) * 3) for number in range(20)]
    options = {"webp": {"lossless": True}, "avif": {"quality": 100}}.get(suffix, {})
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
    if suffix in ("webp", "avif"):  # their decoders want the whole file
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


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "avif", "heic"])
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
