"""DF40: forty manipulations, as face crops of frames.

Source: https://github.com/YZY-stack/DF40 (README and DeepfakeBench_DF40/preprocessing).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unmask.data.layouts import celeb, ffpp
from unmask.data.layouts.findings import AS_IT_IS, Findings
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import (
    ASIDE,
    Folder,
    Sequence,
    children,
    frames_of,
    has_folder,
    leftovers,
    scan,
    take_videos,
)

DF40 = "DF40"
_NAMES = """
fsgan faceswap simswap inswap inswapper blendface uniface mobileswap e4s facedancer deepfacelab
fomm facevid2vid face_vid2vid wav2lip mraa one_shot_free oneshot pirender tpsm lia danet dagan sadtalker mcnet
hyperreenact heygen
vqgan stylegan2 stylegan3 styleganxl sd1.5 sd2.1 ddim ddpm rddm pixart dit sit midjourney dalle2_face whichisreal
collabdiff collaborative_diffusion e4e stargan starganv2 styleclip
"""
#: Folders of the manipulations, in lower case.
METHODS = frozenset(_NAMES.split())
#: Folders between a manipulation and its clips; images that lie in one are clips of their own, not frames of one.
_BETWEEN = {
    "ff",
    "cdf",
    "real",
    "fake",
    "frames",
    "images",
    "train",
    "test",
    "inversions",
    "celeb-real",
    "youtube-real",
}
_SPLITS = {"df40_train": "train", "train": "train", "df40": "test", "df40_test": "test", "test": "test"}


def read_df40(src: Path, findings: Findings) -> bool:
    """``DF40_train/METHOD/frames/001_870/000.png`` and ``DF40/METHOD/{ff,cdf}/...``, in any depth below the method.

    Data set ``DF40-ff`` are the fakes made of FF++, ``DF40-cdf`` those of Celeb-DF; their reals are those data sets.
    ``DF40`` are the methods with other sources, which have reals of their own (``real/``).
    """
    tops = [src, *(each for each in children(src) if each.name.casefold() in _SPLITS)]
    if not any(has_folder(top, *METHODS) for top in tops):
        return False
    root = scan(src, findings)
    places = [(_SPLITS.get(src.resolve().name.casefold(), ""), root)]
    places += [(_SPLITS[name.casefold()], each) for name, each in root.folders.items() if name.casefold() in _SPLITS]
    if not any(split for split, _ in places):
        findings.note("no folder says train or test: fakes of FF++ have the split of their FF++ ids, others have none")
    for split, place in places:
        for method, folder in place.folders.items():
            if method.casefold() not in METHODS:
                continue
            for within, clip, cropped in _clips(folder, ()):
                findings.add(_clip(clip, method, within, split, cropped))
    leftovers(root, findings, ASIDE)
    return True


def _clips(folder: Folder, within: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Sequence, bool]]:
    """Folders on the way in lower case, a clip, and whether it is of face crops already."""
    for video in take_videos(folder):
        yield within, video, False
    images = [folder.path / name for name in folder.images]
    folder.images = []
    if images and within and within[-1] not in _BETWEEN:
        yield within, frames_of(folder.path.name, images), True
    else:
        for image in images:
            yield within, Sequence(image.stem, (image,)), True
    for name, inner in folder.folders.items():
        if name.casefold() not in ASIDE:
            yield from _clips(inner, (*within, name.casefold()))


def _clip(clip: Sequence, method: str, within: tuple[str, ...], split: str, cropped: bool) -> Clip:
    real = "real" in within
    pairs = ffpp.official_pairs()
    source, donor = ffpp.people(clip.name)
    domain = next((name for name in ("ff", "cdf") if name in within), "")
    if not domain and re.fullmatch(r"\d{3}(_\d{3})?", clip.name) and source in pairs.split and not real:
        domain = "ff"
    if domain == "ff":
        component = pairs.component(source)
        split = split or pairs.split.get(source, "")
    elif domain == "cdf":
        source, component, donor = celeb.people(clip.name)
    else:
        # Real and fake images of other sources are numbered alike, and every manipulation numbers from 0.
        source = component = f"{method}/{'real' if real else 'fake'}/{clip.name}"
        donor = ""
    return Clip(
        paths=clip.paths,
        method="real" if real else method,
        dataset=f"{DF40}-{domain}" if domain else DF40,
        quality=AS_IT_IS,
        split=split,
        video=f"{method}/{clip.name}" if real else clip.name,
        source=f"{method}/{clip.name}" if real else source,
        component=component,
        frames=clip.frames,
        cropped=cropped,
        donor=donor,
    )
