"""FFIW-10K, Face Forensics in the Wild: several people in a video, of whom some are manipulated.

Source: https://github.com/tfzhou/FFIW (README); Zhou et al., CVPR 2021, arXiv 2103.16076.
"""

from __future__ import annotations

from pathlib import Path

from unmask.data.layouts.findings import AS_IT_IS, Findings, split_of
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import Folder, has_folder, leftovers, scan, sequences

FFIW = "FFIW"


def read_ffiw(src: Path, findings: Findings) -> bool:
    """``source/SPLIT`` holds the reals, ``target/SPLIT`` the fakes, ``target_mask/SPLIT`` what was manipulated in them.

    A fake's source is the real of its own name and split, if there is one. Names start over in every split, so the
    split is part of a clip's name.
    """
    if not has_folder(src, "source", "target"):
        return False
    root = scan(src, findings)
    masks = _masks(root.at("target_mask"))
    reals: set[str] = set()
    for place, label in (("source", "real"), ("target", "fake")):
        top = root.at(place)
        if top is None:
            findings.problem(src / place, "missing")
            continue
        for name, folder in top.folders.items():
            split = split_of(name)
            if not split:
                continue
            for clip in sequences(folder, findings):
                video = f"{split}/{clip.name}"
                if label == "real":
                    reals.add(video)
                findings.add(
                    Clip(
                        paths=clip.paths,
                        method="real" if label == "real" else FFIW,
                        dataset=FFIW,
                        quality=AS_IT_IS,
                        split=split,
                        video=video,
                        source=video,
                        component=video,
                        frames=clip.frames,
                        masks=masks.get(video, ()) if label == "fake" and not clip.frames else (),
                    )
                )
    if mask := root.at("target_mask"):
        mask.drop()
    unpaired = sum(clip.label == "fake" and clip.video not in reals for clip in findings.clips())
    if reals and unpaired:
        findings.note(f"{unpaired} fakes have no real of their name: each is its own source")
    leftovers(root, findings)
    return True


def _masks(folder: Folder | None) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for name, inner in (folder.folders if folder else {}).items():
        for place in (inner, inner.at("videos")):
            if place and (split := split_of(name)):
                found |= {f"{split}/{Path(video).stem}": (place.path / video,) for video in place.videos}
    return found
