"""Data as DeepfakeBench prepares it: JSON files that name the frames of each clip, and folders of aligned face crops.

Source: https://github.com/SCLBD/DeepfakeBench (README, preprocessing/rearrange.py); the forks of DF40 and Celeb-DF++
write the same. Its users keep what they have prepared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from unmask.data.layouts import celeb, deeperforensics, dfdc, ffpp, uadfv
from unmask.data.layouts.findings import AS_IT_IS, Findings, own_source, split_of
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import frames_of

#: Where the JSON files are.
_PLACES = ("preprocessing/dataset_json", "preprocessing/dataset_json_v3", "dataset_json", "")
#: Where the paths in them may start.
_ROOTS = ("", "datasets", "datasets/rgb", "rgb", "..", "../..", "../datasets", "../../datasets", "../../datasets/rgb")

_DATASETS = {
    **dict.fromkeys(("FaceForensics++", "FaceShifter", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "FF-FH"), ffpp.FFPP),
    "DeepFakeDetection": ffpp.DFD,
    "Celeb-DF-v1": celeb.V1,
    "Celeb-DF-v2": celeb.V2,
    "Celeb-DF-v3": celeb.PLUS_PLUS,
    "DFDC": dfdc.DFDC,
    "DFDCP": dfdc.PREVIEW,
    "DeeperForensics-1.0": deeperforensics.DEEPER_FORENSICS,
    "UADFV": uadfv.UADFV,
}
_METHODS = {
    "FF-DF": "Deepfakes",
    "FF-F2F": "Face2Face",
    "FF-FS": "FaceSwap",
    "FF-NT": "NeuralTextures",
    "FF-FH": "FaceShifter",
    "FF-SH": "FaceShifter",
    "DFD_fake": ffpp.DFD_METHOD,
    "CelebDFv1_fake": celeb.FAKES,
    "CelebDFv2_fake": celeb.FAKES,
    "CelebDFv3_fake": celeb.FAKES,
    "DFDC_Fake": dfdc.DFDC,
    "DFDCP_FakeA": "method_A",
    "DFDCP_FakeB": "method_B",
    "DF_fake": "end_to_end",
    "UADFV_Fake": uadfv.UADFV,
}
#: Which split counts for a clip that is in several. DeepfakeBench copies test to val, and some train lists have all.
_RANK = {"test": 3, "val": 2, "train": 1, "": 0}


def read_deepfakebench(src: Path, findings: Findings) -> bool:
    """Every ``dataset_json/*.json`` below SRC, or one such file: data set, label, split, [quality], clip, frames.

    Clips are told apart by data set, manipulation, quality and name, never by the name of their folder alone, so that
    the four manipulations of a clip stay four. Paths may be those of another machine: what follows a folder that is
    there is used. Frames are crops already and are taken as they are.
    """
    files = _files(src)
    clips: dict[str, Clip] = {}
    several: set[str] = set()
    read = 0
    for file in files:
        tree = findings.read_json(file, dict, "data set, label, split, [quality], clip")
        leaves = list(_leaves(tree or {}, ()))
        if tree is not None and not leaves:
            findings.problem(file, "names no clip with `frames`: is no JSON file of DeepfakeBench")
        read += bool(leaves)
        locate = _locator(file, src)
        for keys, facts in leaves:
            clip = _clip(keys, facts, file, locate, findings)
            if clip is None:
                continue
            first = clips.setdefault(clip.key, clip)
            if first is clip:
                continue
            if set(first.paths) != set(clip.paths):
                findings.problem(
                    file,
                    f"{'/'.join(keys)}: would be the same clip ({clip.key}) as {first.paths[0].parent}, left out",
                )
            elif first.split != clip.split:
                several.add(clip.key)
                if _RANK.get(clip.split, 0) > _RANK.get(first.split, 0):
                    clips[clip.key] = replace(first, split=clip.split)
    owners: dict[Path, Clip] = {}
    for clip in clips.values():
        # Paths of another machine may lead two clips to one folder: better none than frames of the wrong clip.
        if owners.setdefault(clip.paths[0], clip) is clip:
            findings.add(clip)
        else:
            findings.problem(
                clip.paths[0], f"is a frame of {owners[clip.paths[0]].key} and of {clip.key}, which is left out"
            )
    if several:
        findings.note(f"{len(several)} clips are listed in several splits: test counts before val, val before train")
    return bool(read) or (bool(files) and src.is_dir() and (src / "preprocessing").is_dir())


def _files(src: Path) -> list[Path]:
    if src.is_file():
        return [src] if src.suffix.lower() == ".json" else []
    return next((files for place in _PLACES if (files := sorted((src / place).glob("*.json")))), [])


def _leaves(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The entries of a JSON file: where each stands in it, and what it says."""
    if isinstance(tree, dict):
        if keys and "frames" in tree and not isinstance(tree["frames"], dict):
            yield keys, tree
        elif len(keys) < 8:
            for key, inner in tree.items():
                yield from _leaves(inner, (*keys, key))


def _clip(
    keys: tuple[str, ...], facts: dict[str, Any], file: Path, locate: Callable[[str], Path | None], findings: Findings
) -> Clip | None:
    where, frames = "/".join(keys), facts["frames"]
    if not isinstance(frames, list) or not all(isinstance(frame, str) for frame in frames):
        findings.problem(file, f"{where}: `frames` is no list of paths, left out")
        return None
    if not frames:
        findings.problem(file, f"{where}: has no frame, left out")
        return None
    located = {frame: locate(frame) for frame in frames}
    paths = [path for path in located.values() if path is not None]
    if not paths:
        findings.problem(frames[0], f"none of the {len(frames)} frames of {where} is there ({file.name}), left out")
        return None
    for frame, path in located.items():
        if path is None:
            findings.problem(frame, f"a frame that {file.name} names is missing")
    group = label if isinstance(label := facts.get("label"), str) else keys[1] if len(keys) > 1 else ""
    method, quality, split, video = _place(keys, group, Path(frames[0].replace("\\", "/")).parent.name)
    if not method:
        findings.problem(file, f"{where}: label {group!r} says neither real nor fake, left out")
        return None
    dataset = _DATASETS.get(keys[0], keys[0])
    source, component, donor = _people(dataset, method, video)
    sequence = frames_of(video, dict.fromkeys(paths))
    return Clip(
        paths=sequence.paths,
        method=method,
        dataset=dataset,
        quality=quality,
        split=split,
        video=video,
        source=source,
        component=component,
        frames=sequence.frames,
        masks=_masks(facts.get("masks"), sequence.paths, locate),
        cropped=True,
        donor=donor if method != "real" else "",
    )


def _place(keys: tuple[str, ...], group: str, folder: str) -> tuple[str, str, str, str]:
    """Method (empty if the label says neither), quality, split and clip of an entry.

    The clip is the last key, but where a split holds frames at once (upstream's val of DFDC), it is their folder.
    """
    method = _METHODS.get(group, "")
    if re.search(r"(^|[-_])real$", group, re.IGNORECASE):
        method = "real"
    elif not method and (fake := re.fullmatch(r"(.+?)[-_]fake\w?", group, re.IGNORECASE)):
        method = fake[1]
    split = next(filter(None, map(split_of, keys[1:])), "")
    video = folder if split_of(keys[-1]) else keys[-1]
    quality = AS_IT_IS
    for key in keys[3:-1]:
        if key.casefold() in ffpp.QUALITIES:
            quality = ffpp.QUALITIES[key.casefold()]
        elif method not in ("", "real"):
            method = key  # Celeb-DF++ has its manipulations there
    return method, quality, split, video


def _people(dataset: str, method: str, video: str) -> tuple[str, str, str]:
    """Source, component and donor of a clip, by the names of its data set."""
    if dataset == ffpp.FFPP or dataset.endswith("_ff"):  # DF40 calls its domains so
        source, donor = ffpp.people(video)
        return source, ffpp.official_pairs().component(source), donor
    if dataset == ffpp.DFD:
        return ffpp.actors(video)
    if dataset in (celeb.V1, celeb.V2, celeb.PLUS_PLUS) or dataset.endswith("_cdf"):
        return celeb.people(video)
    if dataset == deeperforensics.DEEPER_FORENSICS:
        source, actor = deeperforensics.people(video)
        return source, actor or source, actor
    if dataset == uadfv.UADFV:
        return uadfv.source_of(video), uadfv.source_of(video), ""
    own = own_source(method, video)
    return own, own, ""


def _locator(file: Path, src: Path) -> Callable[[str], Path | None]:
    """Finds files by paths of another machine: tries roots, and drops leading folders until something is there.

    What worked for one path is tried first for the next, so that nearly all take one look at the disk.
    """
    top = src if src.is_dir() else file.parent
    roots = list(dict.fromkeys((top / root) for root in _ROOTS if ".." not in root or not src.is_dir()))
    worked: list[tuple[Path, int]] = []

    def locate(name: str) -> Path | None:
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in (".", "/")]
        for root, drop in worked:
            if drop < len(parts) and (path := root.joinpath(*parts[drop:])).is_file():
                return path
        for drop in range(max(len(parts) - 2, 0)):
            for root in roots:
                path = root.joinpath(*parts[drop:])
                if path.is_file():
                    worked.append((root, drop))
                    return path
        given = Path(name)
        return given if given.is_absolute() and given.is_file() else None

    return locate


def _masks(names: Any, paths: tuple[Path, ...], locate: Callable[[str], Path | None]) -> tuple[Path, ...]:
    """A mask for every frame, by file name, or none at all."""
    if not isinstance(names, list):
        return ()
    by_name = {PurePosixPath(name.replace("\\", "/")).stem: name for name in names if isinstance(name, str)}
    found = [locate(by_name[path.stem]) for path in paths if path.stem in by_name]
    masks = tuple(mask for mask in found if mask is not None)
    return masks if len(masks) == len(paths) else ()
