"""FaceForensics++ and DFD, which share one folder structure.

Source: https://github.com/ondyari/FaceForensics/tree/master/dataset (README and download script); the DFD part is
described in https://ai.googleblog.com/2019/09/contributing-data-to-deepfake-detection.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from unmask.data.layouts.findings import Findings
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import ASIDE, Folder, Sequence, has_folder, leftovers, scan, sequences

FFPP, DFD = "FF++", "DFD"
MANIPULATIONS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
DFD_METHOD = "DeepFakeDetection"
#: Folder of a quality, and how the quality is called: c0 is what the first release called raw.
QUALITIES = {"raw": "raw", "c0": "raw", "c23": "c23", "c40": "c40"}
#: From this share of a complete folder on, what it lacks is named; below it somebody has taken a sample on purpose.
NEARLY_WHOLE = 0.5

_PARTS = ("train", "val", "test")
#: What comes with the data set and is no clip of it; downloaded videos are not cut yet.
_ASIDE = (*ASIDE, "downloaded_videos")


@dataclass(frozen=True)
class Pairs:
    """The pairs of originals that swap faces with each other, and the split of each.

    Attributes:
        split: by id of an original, ``000`` to ``999``.
        partner: the other original of the pair, by id.
    """

    split: Mapping[str, str]
    partner: Mapping[str, str]

    def component(self, original: str) -> str:
        """Name of the pair, e.g. ``515+519``: its originals and all fakes made of them stay together."""
        partner = self.partner.get(original)
        return original if partner is None else "+".join(sorted((original, partner)))


@cache
def official_pairs() -> Pairs:
    """The official split: 360, 70 and 70 pairs, so 720, 140 and 140 originals, and as many fakes a manipulation."""
    split: dict[str, str] = {}
    partner: dict[str, str] = {}
    part = ""
    text = resources.files("unmask.data.layouts").joinpath("ffpp_splits.txt").read_text(encoding="ascii")
    for line in text.splitlines():
        if line in _PARTS:
            part = line
        elif not line.startswith("#"):
            for pair in line.split():
                one, other = pair.split("+")
                split |= {one: part, other: part}
                partner |= {one: other, other: one}
    return Pairs(split, partner)


def people(name: str) -> tuple[str, str]:
    """The original a clip shows and the one its face is from: ``519_515`` gives 519 and 515, ``519`` gives 519."""
    match = re.match(r"(\d{3})(?:_(\d{3}))?(?!\d)", name)
    return (match[1], match[2] or "") if match else (name, "")


def actors(name: str) -> tuple[str, str, str]:
    """The pristine video, the actor who is seen and the one whose face it is, of a DFD clip.

    ``01_02__walking_down_street_hugging__ID`` is ``01__walking_down_street_hugging``, actor 01, with the face of 02.
    """
    match = re.fullmatch(r"(\d\d)(?:_(\d\d))?__(.+?)(?:__[0-9A-Z]{8})?", name)
    return (f"{match[1]}__{match[3]}", match[1], match[2] or "") if match else (name, name, "")


def read_ffpp(src: Path, findings: Findings) -> bool:
    """FaceForensics++: videos or frames, any of its manipulations and qualities, its DFD part where it is there."""
    if not has_folder(src, "original_sequences", "manipulated_sequences"):
        return False
    root = scan(src, findings)
    pairs = _pairs(root, findings)
    for method in ("youtube", *MANIPULATIONS):
        folder = root.at("original_sequences" if method == "youtube" else "manipulated_sequences", method)
        for quality, place, clips in _qualities(folder, findings):
            masks = _masks_of(folder, place)
            for clip in clips:
                _add(clip, method, quality, pairs, masks(clip), findings)
            _name_missing(place, method, {clip.name for clip in clips}, pairs, findings)
    _read_dfd(root, findings)
    leftovers(root, findings, _ASIDE)
    return True


def read_dfd(src: Path, findings: Findings) -> bool:
    """DFD alone: 363 videos of 28 paid actors, 3,068 fakes. There is no official split."""
    if not has_folder(src, "original_sequences", "manipulated_sequences"):
        return False
    root = scan(src, findings)
    if not _read_dfd(root, findings):
        return False
    leftovers(root, findings, _ASIDE)
    return True


def _add(clip: Sequence, method: str, quality: str, pairs: Pairs, masks: tuple[Path, ...], findings: Findings) -> None:
    source, donor = people(clip.name)
    fake = method != "youtube"
    if source not in pairs.split or (fake and donor not in pairs.split):
        kind = "a fake: 519_515" if fake else "an original: 519"
        findings.problem(clip.paths[0], f"is not named like {kind}; left out")
        return
    findings.add(
        Clip(
            paths=clip.paths,
            method=method if fake else "real",
            dataset=FFPP,
            quality=quality,
            split=pairs.split[source],
            video=clip.name,
            source=source,
            component=pairs.component(source),
            frames=clip.frames,
            masks=masks,
            donor=donor,
        )
    )


def _read_dfd(root: Folder, findings: Findings) -> bool:
    real, fake = root.at("original_sequences", "actors"), root.at("manipulated_sequences", DFD_METHOD)
    for method, folder in (("real", real), (DFD_METHOD, fake)):
        for quality, place, clips in _qualities(folder, findings):
            masks = _masks_of(folder, place)
            for clip in clips:
                source, actor, donor = actors(clip.name)
                if actor == clip.name or bool(donor) != (method != "real"):
                    kind = (
                        "an original: 01__kitchen_pan" if method == "real" else "a fake: 01_02__kitchen_pan__0A1B2C3D"
                    )
                    findings.problem(clip.paths[0], f"is not named like {kind}; left out")
                    continue
                findings.add(
                    Clip(
                        paths=clip.paths,
                        method=method,
                        dataset=DFD,
                        quality=quality,
                        split="",
                        video=clip.name,
                        source=source,
                        component=actor,
                        frames=clip.frames,
                        masks=masks(clip),
                        donor=donor,
                    )
                )
    if real or fake:
        findings.note("DFD has no official split: its clips have none; `component` is the actor who is seen")
    return bool(real or fake)


def _qualities(folder: Folder | None, findings: Findings) -> Iterator[tuple[str, Folder, list[Sequence]]]:
    for name, inner in (folder.folders if folder else {}).items():
        if name.casefold() in QUALITIES:
            yield QUALITIES[name.casefold()], inner, sequences(inner, findings)


def _masks_of(folder: Folder | None, place: Folder) -> Callable[[Sequence], tuple[Path, ...]]:
    """Gives the masks of a clip that are like its paths: a video of a video, a picture of every frame, else none."""
    videos: dict[str, Path] = {}
    pictures: dict[str, Folder] = {}
    for masks in (folder and folder.at("masks"), place.at("masks")):
        for inner in (masks, masks and masks.at("videos"), masks and masks.at("images")):
            if inner:
                videos |= {Path(name).stem: inner.path / name for name in inner.videos}
                pictures |= inner.folders

    def masks_of(clip: Sequence) -> tuple[Path, ...]:
        if len(clip.paths) == 1 and clip.paths[0].stem == clip.name:
            return (videos[clip.name],) if clip.name in videos else ()
        drawn = pictures.get(clip.name)
        by_frame = {Path(name).stem: drawn.path / name for name in drawn.images} if drawn else {}
        masks = tuple(by_frame[path.stem] for path in clip.paths if path.stem in by_frame)
        return masks if len(masks) == len(clip.paths) else ()

    return masks_of


def _pairs(root: Folder, findings: Findings) -> Pairs:
    """The split files of the folder where they are there and whole, else the official split built in."""
    official = official_pairs()
    places = [place for place in (root, root.at("dataset", "splits"), root.at("splits")) if place]
    lists = {part: file for part in _PARTS for place in places if (file := place.file(f"{part}.json"))}
    if not lists:
        findings.note("splits: the official 720/140/140 by pairs of ids, built in")
        return official
    split: dict[str, str] = {}
    partner: dict[str, str] = {}
    for part in _PARTS:
        if part not in lists:
            beside = next(iter(lists.values()))
            findings.problem(beside.with_name(f"{part}.json"), f"missing beside {beside.name}")
            continue
        for pair in findings.read_json(lists[part], list, "a list of pairs of ids") or ():
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)):
                findings.problem(lists[part], f"{str(pair)[:60]} is no pair of ids")
                continue
            for each in pair:
                if split.setdefault(each, part) != part:
                    findings.problem(lists[part], f"{each} is in {split[each]} as well")
            partner |= {pair[0]: pair[1], pair[1]: pair[0]}
    rest = official.split.keys() - split.keys()
    if rest:
        findings.note(
            f"splits: {len(split)} ids by the lists in the folder, the other {len(rest)} by the official split"
        )
    else:
        same = all(split[each] == part for each, part in official.split.items())
        findings.note(f"splits: by the lists in the folder, which are {'' if same else 'NOT '}the official ones")
    return Pairs({**official.split, **split}, {**official.partner, **partner})


def _name_missing(place: Folder, method: str, names: set[str], pairs: Pairs, findings: Findings) -> None:
    """Name what a folder lacks if it is nearly whole; say how much is there if it is a sample."""
    whole = [one if method == "youtube" else f"{one}_{other}" for one, other in sorted(pairs.partner.items())]
    missing = [name for name in whole if name not in names]
    if missing and len(missing) <= (1 - NEARLY_WHOLE) * len(whole):
        for name in missing:
            findings.problem(place.path / "videos" / f"{name}.mp4", "missing")
    elif missing:
        findings.note(f"{place.path}: {len(whole) - len(missing)} of {len(whole)} clips, taken as a sample")
