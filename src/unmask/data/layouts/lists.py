"""List files as the scripts of Wang, Guo and Zuo (arXiv 2103.13567) read them, and others of their kind.

Published are ``ff_train_all.lst`` with lines like ``Deepfakes_c23/001_870 FAKE``, the folder of a clip's crops, and
``ff_test_Deepfakes_c23.lst`` with ``original_c23/078/078_000012_0.png REAL``: video, frame, face; face 0 is read
(https://github.com/ah651/deepfake_adv, benchmark/). Lists like ``Origin/c0/images/004/0011.png 0`` are of the same kind
(https://github.com/HongguLiu/Deepfake-Detection/issues/10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from unmask.data.layouts import ffpp
from unmask.data.layouts.csv_file import media_at, why_not
from unmask.data.layouts.findings import AS_IT_IS, LABELS, Findings, own_source, split_of
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import children, frames_of
from unmask.faces.media import IMAGE_SUFFIXES

#: Folders of a path, in lower case, that are FF++'s, and the manipulation they name.
_FFPP = {
    **dict.fromkeys(("original", "origin", "original_sequences", "youtube"), "real"),
    **{method.casefold(): method for method in ffpp.MANIPULATIONS},
}
#: The same with words that anybody's folders may have.
_METHODS = {**_FFPP, "real": "real", "pristine": "real"}


@dataclass
class _Entry:
    """What the lines say of one clip."""

    method: str
    quality: str
    video: str
    split: str
    published: bool
    ffpp: bool
    frames: bool
    paths: dict[Path, None] = field(default_factory=dict)


def read_lists(src: Path, findings: Findings) -> bool:
    """Lines ``PATH LABEL``: the label is REAL or FAKE, or 0 or 1 with 1 for fake. A list is a .lst or .txt file.

    Paths start at the list's folder or one above it, up to SRC. Of a list's name, ``train``, ``val`` and ``test`` are
    its split; of a path, manipulation, quality and clip are read where they are FF++'s. Crops named as the published
    ones (video, frame, face) are taken as the crops they are, and face 0 alone.
    """
    entries: dict[tuple[str, str, str], _Entry] = {}
    lists = 0
    for file in _files(src):
        lines = [(number, *_name_and_label(line)) for number, line in findings.read_lines(file)]
        if not any(label for _, _, label, _ in lines):
            findings.problem(file, "holds no line of a path and a label: is no list")
            continue
        lists += 1
        for number, name, label, _ in lines:
            if label:
                _read_line(f"{file}:{number}", name, label, file, src, entries, findings)
            else:
                findings.problem(
                    f"{file}:{number}", "is no line of a path and a label (REAL or FAKE, 0 or 1); left out"
                )
        if any(word in ("0", "1") for *_, word in lines):
            findings.note(f"{file.name}: labels are numbers; 0 is taken as real and 1 as fake")
    for entry in entries.values():
        findings.add(_clip(entry, src))
    return bool(lists)


def _name_and_label(line: str) -> tuple[str, str, str]:
    """Path, label (empty if it is none) and the label's word of a line; a path may hold spaces."""
    name, *rest = line.rsplit(maxsplit=1)
    word = rest[0] if rest else ""
    return name, LABELS.get(word.casefold(), ""), word


def _read_line(
    where: str,
    name: str,
    label: str,
    file: Path,
    src: Path,
    entries: dict[tuple[str, str, str], _Entry],
    findings: Findings,
) -> None:
    relative = PurePosixPath(name.replace("\\", "/").lstrip("/"))
    path = _resolve(name, relative, file, src)
    paths, _ = media_at(path) if path else ((), ())
    if path is None or not paths:
        findings.problem(where, f"{name}: {why_not(path) if path else 'no such file'}; left out")
        return
    method, quality = _method_and_quality(relative, label)
    if (method == "real") != (label == "real"):
        findings.problem(where, f"{name}: labelled {label}, but its path says {method}; left out")
        return
    frame = path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
    published = all(_published(each) for each in paths)
    if published and not frame:
        paths = tuple(each for each in paths if each.stem.endswith("_0"))
    if not paths:
        findings.problem(where, f"{name}: has crops of further faces only, none of face 0; left out")
        return
    folder = relative.parent
    original, _ = ffpp.people(folder.name if frame else relative.stem)
    known = original in ffpp.official_pairs().split and any(_word(part)[0] in _FFPP for part in relative.parts)
    numbered = re.fullmatch(r"(frame_?)?\d+", relative.stem) and folder.name.casefold() not in (*_METHODS, *LABELS)
    if frame and (known or published or numbered):
        clip = folder
    else:
        clip = relative.with_suffix("") if path.is_file() else relative
    # Two clips of a name in two folders are two clips, unless the folders say what they are.
    video = clip.name if known else str(clip)
    split = next(filter(None, map(split_of, re.split(r"[^a-z]+", file.stem.casefold()))), "")
    fresh = _Entry(method, quality, video, split, published, known, path.is_dir() or clip is folder)
    entry = entries.setdefault((method, quality, video), fresh)
    if entry.split != split:
        findings.problem(where, f"{name}: its clip is in the list for {entry.split or 'no split'} as well; left out")
    elif entry is not fresh and not frame and paths[0] not in entry.paths:
        findings.problem(where, f"{name}: would be the same clip as {next(iter(entry.paths))}; left out")
    else:
        entry.paths |= dict.fromkeys(paths)


def _clip(entry: _Entry, src: Path) -> Clip:
    sequence = frames_of(entry.video, entry.paths)
    pairs = ffpp.official_pairs()
    source, donor = ffpp.people(entry.video)
    own = own_source(entry.method, entry.video)
    return Clip(
        paths=sequence.paths,
        method=entry.method,
        dataset=ffpp.FFPP if entry.ffpp else src.stem,
        quality=entry.quality,
        split=entry.split,
        video=entry.video,
        source=source if entry.ffpp else own,
        component=pairs.component(source) if entry.ffpp else own,
        frames=sequence.frames if entry.frames else (),
        cropped=entry.published,
        donor=donor if entry.ffpp else "",
    )


def _files(src: Path) -> list[Path]:
    if src.is_file():
        return [src]
    folders = [src, *(src / name for name in ("benchmark", "lists", "data_list", "data_lists"))]
    found = [path for folder in folders for path in children(folder)]
    return [path for path in found if path.suffix.lower() in (".lst", ".txt") and path.is_file()]


def _resolve(name: str, relative: PurePosixPath, file: Path, src: Path) -> Path | None:
    top = src if src.is_dir() else src.parent
    above = [folder for folder in (file.parent, *file.parent.parents) if folder.is_relative_to(top)]
    try:
        return next((path for path in (*(folder / relative for folder in above), Path(name)) if path.exists()), None)
    except (OSError, ValueError):
        return None


def _method_and_quality(path: PurePosixPath, label: str) -> tuple[str, str]:
    method, quality = "", AS_IT_IS
    for part in path.parts:
        word, named = _word(part)
        method, quality = method or _METHODS.get(word, ""), named or quality
    return method or label, quality


def _word(part: str) -> tuple[str, str]:
    """Word and quality of a folder: ``Deepfakes_c23`` and ``c0`` have one, ``original_sequences`` has none."""
    word, _, suffix = part.casefold().rpartition("_")
    quality = ffpp.QUALITIES.get(suffix, "")
    return (word if quality else part.casefold()), quality


def _published(path: Path) -> bool:
    return re.fullmatch(r"\d+(?:_\d+)?_\d{6}_\d+", path.stem) is not None
