"""UADFV: 49 real videos and their 49 fakes.

Source: Yang, Li and Lyu, ICASSP 2019, arXiv 1811.00661; https://github.com/SCLBD/DeepfakeBench lists its folders.
"""

from __future__ import annotations

from pathlib import Path

from unmask.data.layouts.findings import AS_IT_IS, Findings
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import has_folder, leftovers, scan, sequences

UADFV = "UADFV"


def source_of(name: str) -> str:
    """``0000_fake`` was made from ``0000``."""
    return name.removesuffix("_fake")


def read_uadfv(src: Path, findings: Findings) -> bool:
    """``real/0000.mp4`` and ``fake/0000_fake.mp4``; a pair is a component. There is no official split."""
    if not has_folder(src, "real", "fake"):
        return False
    root = scan(src, findings)
    there: dict[str, set[str]] = {}
    for label in ("real", "fake"):
        folder = root.at(label)
        if folder is None:
            findings.problem(src / label, "missing")
            continue
        clips = sequences(folder, findings)
        there[label] = {source_of(clip.name) for clip in clips}
        for clip in clips:
            source = source_of(clip.name)
            findings.add(
                Clip(
                    paths=clip.paths,
                    method="real" if label == "real" else UADFV,
                    dataset=UADFV,
                    quality=AS_IT_IS,
                    split="",
                    video=clip.name,
                    source=source,
                    component=source,
                    frames=clip.frames,
                )
            )
    for source in sorted(there.get("fake", set()) - there.get("real", set())) if "real" in there else ():
        findings.problem(src / "real" / f"{source}.mp4", "missing: a fake was made from it")
    findings.note("UADFV has no official split: its clips have none")
    leftovers(root, findings)
    return True
