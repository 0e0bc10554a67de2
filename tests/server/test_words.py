"""The page of the server and the report say the same of a verdict, in the same words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from importlib.resources import files
from pathlib import Path

import pytest

from tests.detectors import make_card
from unmask.detection import Detection, DetectorName, Evidence, FaceScore, Provenance, ScoredTrack, render_report
from unmask.faces import Box

NODE = shutil.which("node")

#: What a browser has and result.js needs, and the text of every paragraph of each result.
SCRIPT = """
import { found } from "./result.js";
const texts = (node) => node.children?.map(texts).join("") ?? node;
const paragraphs = (node) => (node.tag === "p" ? [texts(node)] : (node.children ?? []).flatMap(paragraphs));
function create(tag) {
  const children = [];
  return { tag, children, style: {}, setAttribute() {}, append: (...more) => children.push(...more),
    querySelectorAll: () => [] };
}
globalThis.document = { createElement: create, createElementNS: (_, tag) => create(tag) };
console.log(JSON.stringify(JSON.parse(process.argv[2]).map((job) => paragraphs(found(job)))));
"""


def detection(
    verdict: str | None,
    score: float | None,
    tracks: int = 1,
    counted: bool = True,
    kind: str = "image",
    first: str = "",
) -> Detection:
    face = FaceScore(position=0, frame=0, time=0.0, box=Box(0, 0, 80, 80), found=1.0, score=score or 0.5)
    track = ScoredTrack((face,), face.score, counted, None if counted else "too small", first or verdict)  # type: ignore[arg-type]
    return Detection(
        "a.png", verdict, score, 0.5, DetectorName("d", "1", "ab"), (0.4, 0.49), kind, 100, 100,  # type: ignore[arg-type]
        times=(0.0,), duration=1.0, tracks=(track,) * tracks,
    )  # fmt: skip


EVIDENCE = Evidence(0, detection("fake", 0.7).tracks[0].faces[0], b"face", ((1.0,),), b"heat", b"sigma")
CASES = [
    detection("no face", None, tracks=0),
    detection("no face", None, counted=False),
    detection("fake", 0.7),
    detection("real", 0.2, tracks=3, kind="video"),
    detection("uncertain", 0.45),
    detection("uncertain", 0.2, first="real"),
    detection("uncertain", 0.7),
    replace(detection("fake", 0.7), evidence=(EVIDENCE,)),
    *(
        replace(detection("fake", 0.7), provenance=Provenance(state, sources=("trainedAlgorithmicMedia",)))
        for state in ("trusted", "valid", "invalid", "elsewhere", "unreadable")
    ),
]


@pytest.mark.skipif(NODE is None, reason="there is no Node on this machine")
def test_page_and_report_say_the_same(tmp_path: Path) -> None:
    for name in ("result.js", "drawing.js"):
        (tmp_path / name).write_bytes((files("unmask.server") / "page" / name).read_bytes())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "say.js").write_text(SCRIPT)
    kinds = [
        {"kind": kind, "track": 0, "frame": 0, "score": 0.7, "href": ""} for kind in ("face", "heat map", "adversary")
    ]
    jobs = [{"name": "a.png", "result": each.to_json(), "pictures": kinds if each.evidence else []} for each in CASES]
    command = [str(NODE), str(tmp_path / "say.js"), json.dumps(jobs)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    for each, paragraphs in zip(CASES, said, strict=True):
        article = render_report([each], make_card()).partition("<article")[2].partition("</article>")[0]
        assert " ".join(paragraphs) == unescape(" ".join(re.findall(r"<p(?: [^>]*)?>(.*?)</p>", article)))
