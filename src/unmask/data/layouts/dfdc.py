"""The Deepfake Detection Challenge: the full data set by its metadata.json files, and the preview by its dataset.json.

Source: https://ai.meta.com/datasets/dfdc/ and https://www.kaggle.com/c/deepfake-detection-challenge/data (numbered
parts, ``label``, ``split``, ``original``); Dolhansky et al., arXiv 2006.07397 and, for the preview, 1910.08854.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from unmask.data.layouts.findings import AS_IT_IS, LABELS, Findings, split_of
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import Folder, Sequence, has_folder, leftovers, scan, sequences

DFDC, PREVIEW = "DFDC", "DFDC-preview"


def read_dfdc(src: Path, findings: Findings) -> bool:
    """Every folder with a metadata.json, or with the labels.csv of the test set, whatever it is called.

    Eight methods made the fakes and nothing says which made which, so the method of each is ``DFDC``. A fake's
    component is its original; the people in them are not told, so splits by component may share people.
    """
    root = scan(src, findings)
    parts = [folder for folder in root.walk() if folder.file("metadata.json") or folder.file("labels.csv")]
    numbered = [folder for folder in root.walk() if re.fullmatch(r"dfdc_train_part_\d+", folder.path.name)]
    for folder in numbered:
        if folder not in parts:
            findings.problem(folder.path / "metadata.json", "missing: without it no clip of this part has a label")
            folder.drop()
    for folder in parts:
        _read_part(folder, root.path, findings)
    if not (parts or numbered):
        return False
    leftovers(root, findings)
    return True


def _read_part(folder: Folder, src: Path, findings: Findings) -> None:
    clips = _by_name(sequences(folder, findings), findings)
    named: set[str] = set()
    # The test set has both, and the labels are in the second.
    labels, metadata = folder.file("labels.csv"), folder.file("metadata.json")
    rows = _csv_rows(labels, findings) if labels else _json_rows(metadata or folder.path / "metadata.json", findings)
    within = (src.name, *folder.path.relative_to(src).parts)
    split_of_folder = next(filter(None, map(split_of, reversed(within))), "")
    for name, label, original, split in rows:
        stem = Path(name).stem
        named.add(stem)
        clip = clips.get(stem)
        if clip is None:
            findings.problem(folder.path / name, "is named in the metadata, but missing")
            continue
        source = Path(original).stem if original and label == "fake" else stem
        findings.add(
            Clip(
                paths=clip.paths,
                method=DFDC if label == "fake" else "real",
                dataset=DFDC,
                quality=AS_IT_IS,
                split=split_of(split) or split_of_folder,
                video=stem,
                source=source,
                component=source,
                frames=clip.frames,
            )
        )
    if clips and not named:
        findings.problem(folder.path, f"{len(clips)} clips without a label, left out")
    for stem, clip in clips.items() if named else ():
        if stem not in named:
            findings.problem(clip.paths[0], "is not named in the metadata, its label is unknown; left out")


def _json_rows(path: Path, findings: Findings) -> Iterator[tuple[str, str, str, str]]:
    for name, facts in (findings.read_json(path, dict, "clips by file name") or {}).items():
        label = _label(facts)
        if label is None:
            findings.problem(path, f"{name}: no label REAL or FAKE, left out")
        else:
            yield name, label, _text(facts, "original"), _text(facts, "split")


def _csv_rows(path: Path, findings: Findings) -> Iterator[tuple[str, str, str, str]]:
    """Rows ``filename,label`` of the test set: 1 is fake, as in the challenge."""
    for number, row in findings.read_rows(path):
        label, name = _label(row), row.get("filename", "")
        if label is None or not name:
            findings.problem(f"{path}:{number}", "is no row of a file name and a label 0 or 1")
        else:
            yield name, label, row.get("original", ""), ""


def read_preview(src: Path, findings: Findings) -> bool:
    """The preview: 5,250 clips of 66 people, two methods, train and test by its dataset.json.

    Clips are found by their path in the JSON, and where preprocessing moved them, by their name below the folder of
    their method. A component is the person who is seen: the number that a file name starts with.
    """
    listed = src / "dataset.json"
    facts = None
    if listed.is_file():
        facts = findings.read_json(listed, dict, "clips by path")
    elif has_folder(src, "original_videos") and has_folder(src, "method_A", "method_B"):
        findings.problem(listed, "missing: it says which clips are for training and which for testing")
    else:
        return False
    root = scan(src, findings)
    tops = {path.split("/")[0] for path in facts or ()} | {"original_videos", "method_A", "method_B"}
    there = {
        (top, name): clip
        for top, folder in root.folders.items()
        if top in tops
        for name, clip in _by_name(_below(folder, findings), findings).items()
    }
    entries = facts if facts is not None else {f"{top}/{name}": None for top, name in there}
    originals = {PurePosixPath(path).stem for path in entries if path.startswith("original")}
    for path, known in entries.items():
        top, stem = path.split("/")[0], PurePosixPath(path).stem
        label = _label(known) if facts is not None else ("real" if top == "original_videos" else "fake")
        if label is None:
            findings.problem(listed, f"{path}: no label real or fake, left out")
            continue
        clip = there.pop((top, stem), None)
        if clip is None:
            findings.problem(src / path, "is named in dataset.json, but missing")
            continue
        person, donor = _preview_people(stem, known)
        source = stem if label == "real" else _preview_original(stem, person, donor, originals)
        findings.add(
            Clip(
                paths=clip.paths,
                method=top if label == "fake" else "real",
                dataset=PREVIEW,
                quality=AS_IT_IS,
                split=split_of(_text(known, "set")),
                video=stem,
                source=source,
                component=person,
                frames=clip.frames,
                donor=donor if label == "fake" else "",
            )
        )
    for clip in there.values():
        findings.problem(clip.paths[0], "is not named in dataset.json, its label is unknown; left out")
    leftovers(root, findings)
    return True


def _below(folder: Folder, findings: Findings) -> Iterator[Sequence]:
    for inner in folder.walk():
        yield from sequences(inner, findings)


def _preview_people(stem: str, known: Any) -> tuple[str, str]:
    """Who is seen and whose face it is: ``643049_1224068_A_001`` shows 643049 with the face of 1224068."""
    numbers = re.match(r"(\d+)(?:_(\d+))?_", stem + "_")
    person, donor = (numbers[1], numbers[2] or "") if numbers else (stem, "")
    return _text(known, "target_id") or person, _text(known, "swapped_id") or donor


def _preview_original(stem: str, person: str, donor: str, originals: set[str]) -> str:
    """The original that a fake's name points to, if it is one, else the person."""
    original = stem.replace(f"_{donor}_", "_", 1) if donor else stem
    return original if original in originals else person


def _by_name(clips: Iterable[Sequence], findings: Findings) -> dict[str, Sequence]:
    found: dict[str, Sequence] = {}
    for clip in clips:
        if found.setdefault(clip.name, clip) is not clip:
            findings.problem(clip.paths[0], f"has the name of {found[clip.name].paths[0]}, left out")
    return found


def _label(facts: Any) -> str | None:
    return LABELS.get(_text(facts, "label").casefold())


def _text(facts: Any, key: str) -> str:
    value = facts.get(key) if isinstance(facts, dict) else None
    return str(value) if isinstance(value, str | int) else ""
