"""Marks of machine-made pictures: what generators write, what cameras write, what a detector says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.clips import portrait
from tests.detectors import make_detector
from unmask.detection import load_detector
from unmask.detection.marks import Mark, find_marks, in_words
from unmask.faces.texts import Text

TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
AIGC = '{"Label":"1","ContentProducer":"001191","ProduceID":"7"}'


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (
            f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{TYPES}trainedAlgorithmicMedia"/>',
            ["digital source type trainedAlgorithmicMedia"],
        ),
        (
            f"<Iptc4xmpExt:DigitalSourceType>\n {TYPES}compositeWithTrainedAlgorithmicMedia</x>",
            ["digital source type compositeWithTrainedAlgorithmicMedia"],
        ),
        (
            f"<Iptc4xmpExt:DigitalSourceType rdf:resource='{TYPES}algorithmicMedia'/>",
            ["digital source type algorithmicMedia"],
        ),
        (
            f"<a:DigitalSourceType>\n<rdf:Bag>\n<rdf:li xml:lang='x-default'>{TYPES}algorithmicMedia</rdf:li>",
            ["digital source type algorithmicMedia"],
        ),
        (f"<a:DigitalSourceType/><b:History>{TYPES}algorithmicMedia</b:History>", []),
        ("<p:DigitalSourceType>trainedAlgorithmicMedia</p>", ["digital source type trainedAlgorithmicMedia"]),
        (f'<a DigitalSourceType="{TYPES}compositeSynthetic"/>', ["digital source type compositeSynthetic"]),
        (f'<a DigitalSourceType="{TYPES}compositeCapture"/>', []),
        (f'<a DigitalSourceType="{TYPES}digitalCapture" note="no trainedAlgorithmicMedia"/>', []),
        ("<Iptc4xmpExt:AISystemUsed>A &amp; B\n2</Iptc4xmpExt:AISystemUsed>", ["AI system used: A & B 2"]),
        ("<d AISystemUsed='A 2' b='c'/>", ["AI system used: A 2"]),
        ('<d AISystemUsed=" "/><AISystemUsed> </AISystemUsed><AISystemUsed></AISystemUsed>', []),
        (f"<TC260:AIGC>{AIGC}</TC260:AIGC>", ["label AIGC 1, generated"]),
        (f'<d TC260:AIGC="{AIGC.replace(chr(34), "&quot;")}"/>', ["label AIGC 1, generated"]),
        ("<dc:description>trainedAlgorithmicMedia, Label 1, a photo of AIGC people</dc:description>", []),
    ],
)
def test_xmp(packet: str, says: list[str]) -> None:
    assert find_marks([Text("XMP", "", packet)]) == tuple(Mark("XMP", each) for each in says)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (
            Text("PNG", "parameters", "a cat\nNegative prompt: b\nSteps: 20, Sampler: Euler a, CFG scale: 7"),
            "PNG text parameters",
            "written by Stable Diffusion web UI",
        ),
        (
            Text("EXIF", "UserComment", "a\nSteps: 20, Schedule type: Karras"),
            "EXIF UserComment",
            "written by Stable Diffusion web UI",
        ),
        (Text("PNG", "prompt", '{"3": {"class_type": "KSampler"}}'), "PNG text prompt", "written by ComfyUI"),
        (Text("container", "comment", '{"1":{"class_type":"Load"}}'), "container comment", "written by ComfyUI"),
        (
            Text("container", "comment", json.dumps({"prompt": json.dumps({"1": {"class_type": "Load"}})})),
            "container comment",
            "written by ComfyUI",
        ),
        (Text("EXIF", "Make", 'workflow:{"class_type": "x"}'), "EXIF Make", "written by ComfyUI"),
        (Text("PNG", "parameters", '{"sui_image_params": {}}'), "PNG text parameters", "written by SwarmUI"),
        (Text("PNG", "invokeai_metadata", "{}"), "PNG text invokeai_metadata", "written by InvokeAI"),
        (Text("PNG", "Software", "NovelAI"), "PNG text Software", "written by NovelAI"),
        (
            Text("PNG", "Description", "a cat --v 6.0 Job ID: 01234567-89ab-4cde-8f01-23456789abcd"),
            "PNG text Description",
            "written by Midjourney",
        ),
        (Text("PNG", "AIGC", AIGC), "PNG text AIGC", "label AIGC 1, generated"),
        (Text("container", "AIGC", AIGC.replace("1", "2", 1)), "container AIGC", "label AIGC 2, may be generated"),
        (
            Text("EXIF", "UserComment", json.dumps({"AIGC": json.dumps({"Label": "3"})})),
            "EXIF UserComment",
            "label AIGC 3, suspected to be generated",
        ),
    ],
)
def test_what_programs_write(text: Text, place: str, says: str) -> None:
    assert find_marks([text, text]) == (Mark(place, says),)


@pytest.mark.parametrize(
    "text",
    [
        Text("EXIF", "Software", "Adobe Photoshop 26.0"),
        Text("EXIF", "ImageDescription", "Job ID: 7, Steps: 3"),
        Text("PNG", "parameters", "exposure 1/60"),
        Text("PNG", "prompt", "DOS prompt"),
        Text("PNG", "Software", "gnome-screenshot"),
        Text("container", "encoder", "Lavf61.1.100"),
        Text("PNG", "Dream", ""),
    ],
)
def test_what_others_write_is_no_mark(text: Text) -> None:
    assert find_marks([text]) == ()


def test_a_hostile_text_takes_no_time() -> None:
    for hostile in ("DigitalSourceType " * 50_000, "AIGC" * 200_000, "Steps: 1" * 100_000, "AIGC Label" * 90_000):
        assert find_marks([Text("XMP", "", hostile), Text("PNG", "parameters", hostile)]) == ()


def test_whatever_a_text_holds_a_mark_can_be_printed() -> None:
    packet = "<AISystemUsed>\x1b[31m\u202ea</AISystemUsed>"
    key = "\x07\x9b"
    assert find_marks([Text("XMP", "", packet), Text("PNG", key, "Steps: 1, Sampler: a")]) == (
        Mark("XMP", r"AI system used: \x1b[31m\u202ea"),
        Mark(r"PNG text \x07\x9b", "written by Stable Diffusion web UI"),
    )


def test_no_file_has_marks_without_end() -> None:
    packet = "".join(f"<AISystemUsed>{number}<" for number in range(1000))
    assert len(in_words(find_marks([Text("XMP", "", packet)]), False)) < 1000


def test_in_words() -> None:
    assert in_words([], False) == ""
    both = in_words([Mark("XMP", "a"), Mark("PNG text b", "c")], True)
    assert both.endswith("machine-made: a (XMP); c (PNG text b); digital source type in its content credentials")


@pytest.mark.parametrize(("threshold", "alone", "together"), [(1.0, "real", "uncertain"), (0.0, "fake", "fake")])
def test_what_is_marked_is_not_called_real_and_keeps_its_score(
    threshold: float, alone: str, together: str, tmp_path: Path
) -> None:
    text = PngInfo()
    text.add_text("parameters", "Steps: 20, Sampler: Euler a")
    image = Image.fromarray(portrait())
    image.save(tmp_path / "marked.png", pnginfo=text)
    image.save(tmp_path / "plain.png")
    detector = load_detector(make_detector(tmp_path / "detector", threshold=threshold))
    marked, plain = detector.detect(tmp_path / "marked.png"), detector.detect(tmp_path / "plain.png")
    assert (plain.verdict, marked.verdict) == (alone, together)
    assert marked.score == plain.score
    says = "written by Stable Diffusion web UI"
    assert marked.to_json()["marks"] == [{"place": "PNG text parameters", "says": says}]
    assert plain.to_json()["marks"] == []
    assert set(marked.warnings) - set(plain.warnings) == {
        f"the file itself says that it, or a part of it, is machine-made: {says} (PNG text parameters)"
    }
    with Image.open(tmp_path / "marked.png") as opened:
        assert detector.detect(opened).marks == marked.marks
    assert detector.detect((tmp_path / "marked.png").read_bytes()).marks == marked.marks
    assert detector.detect(portrait()).marks == ()
