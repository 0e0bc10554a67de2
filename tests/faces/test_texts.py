"""What a file says in words, read from files that real encoders wrote."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.clips import portrait
from unmask.faces import read_media
from unmask.faces.image import quietly
from unmask.faces.texts import Text, container_texts, picture_texts

XMP = b"<x:xmpmeta><rdf:RDF>packet</rdf:RDF></x:xmpmeta>"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_xmp_of_a_picture(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    image, options = Image.fromarray(portrait()), {"xmp": XMP}
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": text}  # type: ignore[dict-item]
    if kind == "TIFF":
        options = {"tiffinfo": {700: XMP}}  # type: ignore[dict-item]
    image.save(path, kind, **options)  # type: ignore[arg-type]
    assert read_media(path).noticed.texts == (Text("XMP", "", XMP.decode()),)


@pytest.mark.parametrize(
    "comment",
    [b"UNICODE\0" + "made".encode("utf-16-le"), b"UNICODE\0" + "made".encode("utf-16-be"), b"ASCII\0\0\0made", "made"],
)
def test_exif(comment: bytes | str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[305] = "a program"
    exif.get_ifd(0x8769)[0x9286] = comment
    Image.fromarray(portrait()).save(tmp_path / "a.jpg", exif=exif)
    texts = read_media(tmp_path / "a.jpg").noticed.texts
    assert texts == (Text("EXIF", "Software", "a program"), Text("EXIF", "UserComment", "made"))


def test_texts_of_png_before_and_behind_the_picture_and_of_one_that_moves(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("parameters", "Steps", zip=True)
    text.add(b"tEXt", b"late\0text", after_idat=True)
    image = Image.fromarray(portrait())
    image.save(tmp_path / "a.png", pnginfo=text)
    found = {Text("PNG", "parameters", "Steps"), Text("PNG", "late", "text")}
    assert set(read_media(tmp_path / "a.png").noticed.texts) == found
    text.add(b"comf", b"prompt\0{}", after_idat=True)  # where ComfyUI puts it
    image.save(tmp_path / "b.png", pnginfo=text, save_all=True, append_images=[image.rotate(9)])
    moving = read_media(tmp_path / "b.png")
    assert moving.kind == "video"
    assert {Text("PNG", "parameters", "Steps"), Text("PNG", "prompt", "{}")} <= set(moving.noticed.texts)


def test_damaged_exif_says_nothing() -> None:
    file = BytesIO()
    Image.fromarray(portrait()).save(file, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with quietly():
        assert picture_texts(Image.open(file)) == ()


def test_of_endless_texts_so_much_is_kept(tmp_path: Path) -> None:
    text = PngInfo()
    for number in range(20):
        text.add_text(f"{number}", "a" * 900_000)
    Image.fromarray(portrait()).save(tmp_path / "a.png", pnginfo=text)
    kept = read_media(tmp_path / "a.png").noticed.texts
    assert [each.key for each in kept] == ["0", "1", "2"]
    assert sum(len(each.key + each.text) for each in kept) <= 2_000_001
    assert container_texts({"k" * 1000: "a"}) == (Text("container", "k" * 80, "a"),)


def test_tags_and_xmp_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(path, "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["comment"] = "a comment"
        container.metadata["AIGC"] = "a label"
        stream = container.add_stream("libx264", rate=10, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(portrait())))
        container.mux(stream.encode())
    plain = path.read_bytes()
    for packet, read in ((XMP, XMP.decode()), (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}")):
        box = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet  # ISO 16684-3: where MP4 keeps its XMP
        path.write_bytes(plain + (8 + len(box)).to_bytes(4, "big") + b"uuid" + box)
        texts = read_media(path).noticed.texts
        assert {Text("container", "comment", "a comment"), Text("container", "AIGC", "a label")} <= set(texts)
        assert Text("XMP", "", read) in texts
    path.write_bytes(plain.replace(b"a comment", b"\xe9 comment"))
    assert Text("container", "comment", "\N{REPLACEMENT CHARACTER} comment") in read_media(path).noticed.texts
