"""Celeb-DF v1 and v2, and Celeb-DF++.

Source: https://github.com/yuezunli/celeb-deepfakeforensics (v1, v2) and https://github.com/OUC-VAS/Celeb-DF-PP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from unmask.data.layouts.findings import AS_IT_IS, Findings
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import Folder, Sequence, has_folder, leftovers, scan, sequences

V1, V2, PLUS_PLUS = "Celeb-DF-v1", "Celeb-DF-v2", "Celeb-DF++"
REALS, FAKES = ("Celeb-real", "YouTube-real"), "Celeb-synthesis"
TEST_LIST = "List_of_testing_videos.txt"
#: Scenarios of Celeb-DF++, each a folder of manipulations.
SCENARIOS = ("FaceSwap", "FaceReenact", "TalkingFace")


def people(name: str) -> tuple[str, str, str]:
    """The pristine video, the person seen, and the person whose face it is.

    ``id0_id1_0000`` is ``id0_0000`` with the face of id1; ``id0_0000`` is pristine; ``00012`` is nobody with a number.
    Nearly all 59 people are linked by swaps, so components that share neither would be one. A component is the person
    whose footage it is.
    """
    match = re.match(r"(id\d+)(?:_(id\d+))?_(\d+)", name)
    return (f"{match[1]}_{match[3]}", match[1], match[2] or "") if match else (name, name, "")


def _read(src: Path, findings: Findings, dataset: str) -> bool:
    if not has_folder(src, *REALS, FAKES):
        return False
    root = scan(src, findings)
    listed = _test_list(root, findings)
    for place, method, clips in _places(root, dataset, findings):
        for clip in clips:
            source, person, donor = people(clip.name)
            key = f"{place}/{clip.name}".casefold()
            split = "" if listed is None else "test" if listed.pop(key, None) else "train"
            findings.add(
                Clip(
                    paths=clip.paths,
                    method=method,
                    dataset=dataset,
                    quality=AS_IT_IS,
                    split=split,
                    video=clip.name,
                    source=source,
                    component=person,
                    frames=clip.frames,
                    donor=donor,
                )
            )
    _name_missing(root, listed or {}, findings)
    leftovers(root, findings)
    return True


#: Celeb-DF v1: 408 real videos, 795 fakes.
read_v1 = partial(_read, dataset=V1)
#: Celeb-DF v2: 590 real videos of 59 people, 300 more from YouTube, 5,639 fakes; 518 of all are for testing.
read_v2 = partial(_read, dataset=V2)
#: Celeb-DF++: the reals of v2, and fakes of 22 methods in three scenarios.
read_plus_plus = partial(_read, dataset=PLUS_PLUS)


def _places(root: Folder, dataset: str, findings: Findings) -> Iterator[tuple[str, str, list[Sequence]]]:
    """Place in the data set as its list writes it, method, and clips of every folder with clips."""
    for name in REALS:
        yield name, "real", sequences(root.at(name), findings)
    if dataset != PLUS_PLUS:
        yield FAKES, FAKES, sequences(root.at(FAKES), findings)
        return
    for scenario in SCENARIOS:
        for method, folder in (inner.folders if (inner := root.at(FAKES, scenario)) else {}).items():
            yield f"{FAKES}/{scenario}/{method}", method, sequences(folder, findings)


def _test_list(root: Folder, findings: Findings) -> dict[str, str] | None:
    """Names of the testing videos as the list writes them, by path without suffix; None where there is no list.

    Its lines are ``1 Celeb-real/id0_0001.mp4``: 1 is real there. Labels are taken from the folders.
    """
    path = root.file(TEST_LIST)
    if path is None:
        findings.problem(root.path / TEST_LIST, "missing: without it no clip has a split")
        findings.note(f"{TEST_LIST} is not there: all clips are taken, none is for training or for testing")
        return None
    names = {}
    for number, line in findings.read_lines(path):
        label, *rest = line.split(maxsplit=1)
        name = rest[0] if rest else ""
        place = PurePosixPath(name.strip().replace("\\", "/"))
        if label not in ("0", "1") or len(place.parts) < 2:
            findings.problem(f"{path}:{number}", "is no line `0 Celeb-synthesis/NAME.mp4` or `1 Celeb-real/NAME.mp4`")
            continue
        if (label == "1") != (place.parts[0].casefold() in {each.casefold() for each in REALS}):
            findings.problem(
                f"{path}:{number}", f"labels {place} {label}, against its folder (1 is real); the folder counts"
            )
        names[str(place.with_suffix("")).casefold()] = str(place)
    if not names:
        findings.problem(path, "names no video: no clip has a split")
        return None
    findings.note(f"splits: the videos of {TEST_LIST} are for testing, all others for training; there is no val")
    return names


def _name_missing(root: Folder, listed: dict[str, str], findings: Findings) -> None:
    """Name each testing video that is not there; of a folder that is missing as a whole, the folder."""
    by_folder: dict[str, list[str]] = {}
    for name in listed.values():
        by_folder.setdefault(name.rpartition("/")[0], []).append(name)
    for place, names in by_folder.items():
        if root.at(*place.split("/")) is None:
            findings.problem(root.path / place, f"missing, with {len(names)} videos of {TEST_LIST}")
            continue
        for name in names:
            findings.problem(root.path / name, f"is named in {TEST_LIST}, but missing")
