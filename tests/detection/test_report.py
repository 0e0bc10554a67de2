"""The page: complete in itself, honest about what was not analysed, and deaf to what is in a file name."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.clips import portrait, write_image
from tests.detectors import make_card
from unmask import UnmaskError
from unmask.detection import Detection, DetectorName, load_detector, render_report, write_report
from unmask.printing import printable


class Page(HTMLParser):
    """Collects elements, attributes and text; fails on elements that are not closed in order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def found(untrained: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Detection]:
    folder = tmp_path_factory.mktemp("inputs")
    face = write_image(folder / "<script>alert(1)&\"'.jpg", portrait())
    blank = write_image(folder / "blank.png", portrait()[200:, :60])
    paths = [clip, face, blank, folder / "missing.mp4"]
    return list(load_detector(untrained).detect_many(paths, frames=6, pictures=True))


def test_everything_is_on_the_page(found: list[Detection]) -> None:
    page = Page(render_report(found, make_card()))
    for detection in found:
        assert Path(detection.path).name in page.text
        assert (detection.verdict or "not analysed") in page.text
        if detection.score is not None:
            assert f"{detection.score:.3f}" in page.text
    assert "no such file" in page.text
    assert "It has learned nothing." in page.text
    assert "5 % false positives on validation reals" in page.text
    assert "0.5 (0.4 to 0.6)" in page.text
    assert page.tags.count("article") == 4
    shown = [picture for each in found for face in each.evidence for picture in (face.jpeg, face.heat, face.sigma)]
    assert page.tags.count("img") == len([each for each in shown if each]) + sum(
        each.still is not None for each in found
    )
    alternatives = [value for name, value in page.attributes if name == "alt"]
    assert len(alternatives) == page.tags.count("img")
    assert all(alternatives)
    assert "No map of the adversary" in page.text


def test_the_page_loads_and_runs_nothing(found: list[Detection]) -> None:
    page = Page(render_report(found, make_card()))
    assert not {"script", "link", "iframe", "object", "form", "base"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert all(value.startswith(("data:image/jpeg;base64,", "#input-")) for value in sources)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in render_report(found, make_card())


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>.jpg",
        "a&b\"'.mp4",
        "$heading ${x} $",
        "zwei\nZeilen",
        "\udcff.jpg",
        "\u202egpj.mp4",
    ],
)
def test_names_stay_text(name: str) -> None:
    detection = Detection(name, None, None, 0.5, DetectorName(name, "1", "ab"), error=f"{name} is bad")
    text = render_report([detection, detection], make_card(intended_use=name))
    page = Page(text)
    assert "onerror" not in [attribute for attribute, _ in page.attributes]
    assert printable(name.replace("\n", " ")) in page.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", text)
    text.encode("utf-8")


@pytest.mark.parametrize(
    ("score", "threshold", "band"), [(0.0, 0.0, None), (1.0, 1.0, (0.0, 1.0)), (0.5, 0.02, (0.5, 0.5))]
)
def test_scores_at_the_ends_of_the_scale(
    found: list[Detection], score: float, threshold: float, band: tuple[float, float] | None
) -> None:
    page = Page(render_report([replace(found[0], score=score, threshold=threshold, uncertain=band)], make_card()))
    assert f"{score:.3f}" in page.text
    assert f"threshold {threshold:.3f}" in page.text


def test_a_page_without_pictures(found: list[Detection]) -> None:
    plain = [replace(each, evidence=(), still=None) for each in found]
    page = Page(render_report(plain, make_card()))
    assert "img" not in page.tags
    assert "What was analysed" in page.text


def test_no_inputs_still_make_a_page() -> None:
    assert "0 files" in Page(render_report([], make_card())).text


def test_several_faces_are_told_apart(untrained: Path, tmp_path: Path) -> None:
    import numpy as np

    image = np.concatenate([portrait(), portrait()[:, ::-1]], axis=1)
    detector = load_detector(untrained)
    detection = detector.detect(write_image(tmp_path / "two.png", image), pictures=True)
    assert len(detection.tracks) == 2
    text = Page(render_report([detection], detector.card)).text
    assert "The most suspicious of 2 faces in this picture" in text
    assert re.search("face 1.*face 2", text, re.DOTALL)


def test_the_page_is_written_whole_or_not_at_all(found: list[Detection], tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", found, make_card())
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(UnmaskError, match="nowhere"):
        write_report(tmp_path / "nowhere" / "report.html", found, make_card())
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
