"""A CSV file that names clips, one per row, for data that no other layout knows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from unmask.data.layouts.findings import AS_IT_IS, LABELS, Findings, own_source, split_of
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import children, frames_of
from unmask.faces.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

COLUMNS = ("path", "label", "method", "split", "source", "video", "quality", "dataset")


def read_csv(src: Path, findings: Findings) -> bool:
    """Columns ``path`` and ``label``, and those of :data:`COLUMNS` that are known.

    A path is a video, an image or a folder of frames; a relative one starts at the CSV's folder. Images that share
    ``video`` (and data set, method and quality) are the frames of one clip. A URL is refused: nothing is fetched.
    """
    file = _file(src, findings)
    if file is None:
        return False
    rows = list(findings.read_rows(file))
    if not rows or not {"path", "label"} <= rows[0][1].keys():
        findings.problem(file, "has no columns `path` and `label` in its first line, or no row")
        return False
    if unknown := sorted(name for name in rows[0][1] if name and name not in COLUMNS):
        findings.note(f"columns that are not read: {', '.join(unknown)}")
    frames: dict[str, list[Clip]] = {}
    for number, row in rows:
        clip = _clip(file, number, row, findings)
        if clip is None:
            continue
        if row.get("video") and len(clip.paths) == 1 and clip.paths[0].suffix.lower() in IMAGE_SUFFIXES:
            frames.setdefault(clip.key, []).append(clip)
        else:
            findings.add(clip)
    for clips in frames.values():
        first = clips[0]
        for other in clips:
            if (other.label, other.split, other.source) != (first.label, first.split, first.source):
                findings.problem(
                    other.paths[0], f"differs from {first.paths[0]} in label, split or source, yet is of one video"
                )
        ordered = frames_of(first.video, dict.fromkeys(clip.paths[0] for clip in clips))
        findings.add(replace(first, paths=ordered.paths, frames=ordered.frames))
    return True


def _file(src: Path, findings: Findings) -> Path | None:
    if src.is_file():
        return src
    files = [path for path in children(src) if path.suffix.lower() == ".csv"]
    if len(files) > 1:
        findings.problem(src, f"holds {len(files)} CSV files: name one; {files[0].name} is read")
    return files[0] if files else None


def _clip(file: Path, number: int, row: dict[str, str], findings: Findings) -> Clip | None:
    where = f"{file}:{number}"
    name, label = row["path"], LABELS.get(row["label"].casefold())
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", name):
        findings.problem(where, f"{name} is a URL, and nothing is fetched: download it and name the file; left out")
        return None
    if label is None:
        findings.problem(where, f"label {row['label']!r} is not real or fake (or 0 or 1); left out")
        return None
    path = file.parent / name
    paths, numbers = media_at(path)
    if not name or not paths:
        findings.problem(where, f"{name or 'the path'}: {why_not(path) if name else 'is empty'}; left out")
        return None
    method = row.get("method") or label
    if (method == "real") != (label == "real"):
        findings.problem(
            where, f"label {label} with method {method!r}: a method is for fakes, `real` for reals; left out"
        )
        return None
    split = split_of(row.get("split", ""))
    if row.get("split") and not split:
        findings.problem(where, f"split {row['split']!r} is not train, val or test; the clip is taken without one")
    video = row.get("video") or str(Path(name).with_suffix("") if path.is_file() else Path(name))
    source = row.get("source") or own_source(method, video)
    return Clip(
        paths=paths,
        method=method,
        dataset=row.get("dataset") or file.stem,
        quality=row.get("quality") or AS_IT_IS,
        split=split,
        video=video,
        source=source,
        component=source,
        frames=numbers,
    )


def media_at(path: Path) -> tuple[tuple[Path, ...], tuple[int, ...]]:
    """The video or image at a path, or the frames in the folder there with their numbers; nothing if there is none."""
    try:
        if path.is_file():
            return ((path,) if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES else ()), ()
        if path.is_dir():
            images = [each for each in children(path) if each.suffix.lower() in IMAGE_SUFFIXES]
            sequence = frames_of(path.name, images)
            return sequence.paths, sequence.frames
    except (OSError, ValueError):
        pass
    return (), ()


def why_not(path: Path) -> str:
    try:
        if path.is_dir():
            return "the folder holds no image"
        return "is no image or video by its suffix" if path.is_file() else "no such file"
    except (OSError, ValueError):
        return "is no path"
