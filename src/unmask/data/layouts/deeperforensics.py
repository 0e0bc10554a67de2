"""DeeperForensics-1.0.

Source: https://github.com/EndlessSora/DeeperForensics-1.0/tree/master/dataset (README).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from unmask.data.layouts.findings import Findings
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import Folder, has_folder, leftovers, scan, sequences

DEEPER_FORENSICS = "DeeperForensics-1.0"
_SPLITS = ("train", "val", "test")


def people(name: str) -> tuple[str, str]:
    """The FF++ original that is seen and the actor whose face it is: ``000_M101`` gives 000 and M101."""
    match = re.fullmatch(r"(\d{3})_([MW]\d{3})", name)
    return (match[1], match[2]) if match else (name, "")


def method_and_quality(kind: str) -> tuple[str, str]:
    """``end_to_end_level_3`` is ``end_to_end`` at quality ``level_3``; without distortion the quality is ``raw``."""
    match = re.fullmatch(r"(end_to_end|reenact_postprocess)(?:_(.+))?", kind)
    return (match[1], match[2] or "raw") if match else (kind, "raw")


def read_deeperforensics(src: Path, findings: Findings) -> bool:
    """The manipulated videos, eleven folders of 1,000. They are fakes only: the reals are FF++'s originals at c23.

    The README says so, and that ``source_videos``, the recordings of the actors, are not the real part; they are left
    out. It groups by the actors whose faces were put in, and so do the official lists: they are the components.
    """
    if not has_folder(src, "manipulated_videos"):
        return False
    root = scan(src, findings)
    manipulated = root.at("manipulated_videos")
    splits = _splits(root, findings)
    for kind, folder in (manipulated.folders if manipulated else {}).items():
        method, quality = method_and_quality(kind)
        for clip in sequences(folder, findings):
            source, actor = people(clip.name)
            if not actor:
                findings.problem(clip.paths[0], "is not named like a fake: 000_M101; left out")
                continue
            findings.add(
                Clip(
                    paths=clip.paths,
                    method=method,
                    dataset=DEEPER_FORENSICS,
                    quality=quality,
                    split=splits.get(clip.name, ""),
                    video=clip.name,
                    source=source,
                    component=actor,
                    frames=clip.frames,
                    donor=actor,
                )
            )
            if splits and clip.name not in splits:
                findings.problem(clip.paths[0], "is in none of the split lists; has no split")
        _name_missing(root, kind, folder, findings)
    if (left_out := (root.at("source_videos") or Folder(src)).drop()) > 0:
        findings.note(f"source_videos: {left_out} files left out; they are not the real part (README)")
    findings.note("fakes only: the reals are FF++'s originals at c23 (layout ffpp); `component` is the actor put in")
    leftovers(root, findings)
    return True


def _splits(root: Folder, findings: Findings) -> dict[str, str]:
    folder = root.at("lists", "splits")
    splits: dict[str, str] = {}
    for split in _SPLITS:
        path = folder.file(f"{split}.txt") if folder else None
        if path is None:
            findings.problem(root.path / "lists" / "splits" / f"{split}.txt", "missing: its clips have no split")
            continue
        for number, line in findings.read_lines(path):
            name = PurePosixPath(line.replace("\\", "/")).stem
            if splits.setdefault(name, split) != split:
                findings.problem(f"{path}:{number}", f"{name} is in {splits[name]}.txt as well, which counts")
    if folder and not splits:
        findings.problem(folder.path, "its lists name no clip: no clip has a split")
    return splits


def _name_missing(root: Folder, kind: str, folder: Folder, findings: Findings) -> None:
    """Name what ``manipulated_videos_<kind>_list.txt`` has and the folder has not, where that list is there."""
    lists = root.at("lists", "manipulated_videos_lists")
    path = lists.file(f"manipulated_videos_{kind}_list.txt") if lists else None
    if path is None:
        return
    there = {clip.video for clip in findings.clips() if clip.paths[0].is_relative_to(folder.path)}
    for _, line in findings.read_lines(path):
        name = PurePosixPath(line.replace("\\", "/")).name
        if PurePosixPath(name).stem not in there:
            findings.problem(folder.path / name, f"is named in {path.name}, but missing")
