"""Marks by which a file itself says that a machine made its picture, in metadata that anybody can read.

Generators are asked to leave them (IPTC's digital source type; China's label of GB 45438-2025) or leave them by the
way (the prompt from which a picture was made). They make no file ``fake``, for anybody can write them, and their lack
none ``real``, for they are lost when a picture is posted; but a file that has one is not called ``real``. Signed
statements are :mod:`unmask.detection.provenance`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass

from unmask.faces.texts import Text
from unmask.printing import printable

#: IPTC digital source types that say in so many words that a picture, or a part of it, was not taken by a camera
#: (http://cv.iptc.org/newscodes/digitalsourcetype).
MADE = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic", "algorithmicMedia")

#: What stands between the name of a property in XMP and its value: an attribute, an element, a list in it.
_OPENS = r"(?:\s+rdf:resource)?\s*(?:=\s*[\"']|>)\s*(?:<rdf:[^<>]{1,80}>\s*){0,2}"
_SOURCE_TYPE = re.compile(rf"DigitalSourceType{_OPENS}(?:[^\"'<>\s]*/)?(\w+)")
#: IPTC Photo Metadata 2025.1.
_SYSTEM = re.compile(rf"AISystemUsed{_OPENS}([^\"'<>\s][^\"'<>]{{0,199}})")
#: The label of GB 45438-2025 is JSON under the name AIGC, in XMP (TC260), or in any other text.
_AIGC = re.compile(r"\bAIGC\b.{0,80}?\bLabel[\"\\]*\s*:\s*[\"\\]*([123])", re.DOTALL)
_AIGC_MEANS = {"1": "generated", "2": "may be generated", "3": "suspected to be generated"}

#: Marks of one file that are told; nobody but who means harm writes more.
_MOST = 20
#: Programs that make pictures, by the keys (any, where none is named) and the texts that they write into them.
_PROGRAMS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("Stable Diffusion web UI", (), re.compile(r"\bSteps: \d+, (?:Sampler|Schedule type): ")),
    ("ComfyUI", (), re.compile(r"\"class_type\\*\"\s*:\s*\\*\"")),
    ("SwarmUI", (), re.compile(r"\"sui_image_params\"\s*:")),
    ("InvokeAI", ("invokeai_metadata", "invokeai_graph", "sd-metadata", "Dream"), re.compile(r"\S")),
    ("NovelAI", ("Software",), re.compile(r"NovelAI\b")),
    ("Midjourney", ("Description",), re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-")),
)


@dataclass(frozen=True)
class Mark:
    """One mark.

    Attributes:
        place: where it is written, such as ``XMP`` or ``PNG text parameters``.
        says: what it says, in plain words.
    """

    place: str
    says: str

    def to_json(self) -> dict[str, str]:
        return {"place": self.place, "says": self.says}


def find_marks(texts: Iterable[Text]) -> tuple[Mark, ...]:
    """The marks in the texts of a file, each once, in the order of the texts; printable whatever they hold."""
    found: list[Mark] = []
    for each in texts:
        place = " ".join(filter(None, ({"PNG": "PNG text"}.get(each.place, each.place), each.key)))
        found += [Mark(printable(place), printable(says)) for says in _said(each)]
    return tuple(dict.fromkeys(found))[:_MOST]


def in_words(marks: Iterable[Mark], signed: bool) -> str:
    """The warning that goes with marks, or with credentials that say the same; empty without either."""
    said = [f"{mark.says} ({mark.place})" for mark in marks]
    if signed:
        said.append("digital source type in its content credentials")
    return f"the file itself says that it, or a part of it, is machine-made: {'; '.join(said)}" if said else ""


def _said(text: Text) -> Iterable[str]:
    if text.place == "XMP":
        for kind in _SOURCE_TYPE.findall(text.text):
            if kind in MADE:
                yield f"digital source type {kind}"
        for system in _SYSTEM.findall(text.text):
            yield f"AI system used: {' '.join(html.unescape(system).split())}"
    # The key may be the name of the label.
    label = _AIGC.search(f"{text.key} {html.unescape(text.text)}")
    if label:
        yield f"label AIGC {label[1]}, {_AIGC_MEANS[label[1]]}"
    for program, keys, wanted in _PROGRAMS:
        if (not keys or text.key in keys) and wanted.search(text.text):
            yield f"written by {program}"
