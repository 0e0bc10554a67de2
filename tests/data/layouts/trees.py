"""A small part of every data set in its official folder structure, whole as far as it goes: no problem is to be found.

Every function takes an empty folder and ``write(path)``, which makes one video or image; its folder is there. Clips:

====================  ==========================================================================================
``ffpp``              4 real at c23, 2 at c40; 2 Deepfakes, 1 Face2Face (frames), with masks; 1 + 1 DFD
``dfd``               1 real, 2 fake
``dfdc``              2 real and 2 fake for training, 1 + 1 for testing
``dfdc-preview``      1 real, 2 fake
``celeb-df-v1, v2``   3 real, 2 fake; ``celeb-df-pp`` 2 real, 3 fake
``deeperforensics``   4 fake
``uadfv``             2 real, 2 fake
``df40``              5 fake, 1 real
``ffiw``              2 real, 2 fake
``deepfakebench``     2 real, 3 fake
``lists``             2 real, 2 fake
``folders``           3 real, 3 fake
``csv``               2 real, 2 fake
====================  ==========================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Write = Callable[[Path], object]


def byte(path: Path) -> None:
    """A file that is there: enough for readers, which decode nothing."""
    path.write_bytes(b"x")


def _media(root: Path, write: Write, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name)


def _text(root: Path, name: str, *lines: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _json(root: Path, name: str, value: Any) -> None:
    _text(root, name, json.dumps(value))


def ffpp(root: Path, write: Write) -> None:
    real, fake = "original_sequences", "manipulated_sequences"
    _media(root, write, *(f"{real}/youtube/c23/videos/{name}.mp4" for name in ("515", "519", "004", "634")))
    _media(root, write, *(f"{real}/youtube/c40/videos/{name}.mp4" for name in ("515", "519")))
    _media(root, write, *(f"{fake}/Deepfakes/c23/videos/{name}.mp4" for name in ("515_519", "519_515")))
    _media(root, write, *(f"{fake}/Deepfakes/masks/videos/{name}.mp4" for name in ("515_519", "519_515")))
    _media(root, write, *(f"{fake}/Face2Face/c40/images/004_982/{frame:04d}.png" for frame in (0, 2, 10)))
    _media(root, write, *(f"{fake}/Face2Face/masks/images/004_982/{frame:04d}.png" for frame in (0, 2, 10)))
    _media(root, write, f"{real}/actors/c23/videos/01__kitchen_pan.mp4")
    _media(root, write, f"{fake}/DeepFakeDetection/c23/videos/01_02__kitchen_pan__YVGY8LOK.mp4")


def dfd(root: Path, write: Write) -> None:
    _media(root, write, "original_sequences/actors/raw/videos/01__walking_down_street_hugging.mp4")
    for name in ("01_02__walking_down_street_hugging__0A1B2C3D", "03_01__kitchen_pan__ABCDEFGH"):
        _media(root, write, f"manipulated_sequences/DeepFakeDetection/raw/videos/{name}.mp4")


def dfdc(root: Path, write: Write) -> None:
    for part, (real, fake) in enumerate((("aaaaaaaaaa", "bbbbbbbbbb"), ("cccccccccc", "dddddddddd"))):
        folder = f"dfdc_train_part_{part}"
        _media(root, write, f"{folder}/{real}.mp4", f"{folder}/{fake}.mp4")
        metadata = {
            f"{real}.mp4": {"label": "REAL", "split": "train"},
            f"{fake}.mp4": {"label": "FAKE", "split": "train", "original": f"{real}.mp4"},
        }
        _json(root, f"{folder}/metadata.json", metadata)
    _media(root, write, "test/eeeeeeeeee.mp4", "test/ffffffffff.mp4")
    _text(root, "test/labels.csv", "filename,label", "eeeeeeeeee.mp4,0", "ffffffffff.mp4,1")


def dfdc_preview(root: Path, write: Write) -> None:
    real = "original_videos/643049/643049_A_001.mp4"
    fakes = [f"method_{each}/643049/643049_{each}/643049_1224068_A_001.mp4" for each in "AB"]
    _media(root, write, real, *fakes)
    facts = {real: {"label": "real", "set": "train"}} | {fake: {"label": "fake", "set": "train"} for fake in fakes}
    _json(root, "dataset.json", facts)


def celeb_df(root: Path, write: Write) -> None:
    names = ("Celeb-real/id0_0000", "Celeb-real/id1_0003", "YouTube-real/00012")
    fakes = ("Celeb-synthesis/id0_id1_0000", "Celeb-synthesis/id1_id0_0003")
    _media(root, write, *(f"{name}.mp4" for name in names + fakes))
    _text(root, "List_of_testing_videos.txt", f"1 {names[1]}.mp4", f"0 {fakes[1]}.mp4")


def celeb_df_pp(root: Path, write: Write) -> None:
    fakes = (
        "Celeb-synthesis/FaceSwap/SimSwap/id0_id1_0000.mp4",
        "Celeb-synthesis/FaceReenact/LIA/id0_id1_0000.mp4",
        "Celeb-synthesis/TalkingFace/FLOAT/id1_0003.mp4",
    )
    _media(root, write, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0003.mp4", *fakes)
    _text(root, "List_of_testing_videos.txt", "1 Celeb-real/id0_0000.mp4", *(f"0 {fake}" for fake in fakes[:2]))


def deeperforensics(root: Path, write: Write) -> None:
    for kind in ("end_to_end", "end_to_end_level_3"):
        _media(root, write, *(f"manipulated_videos/{kind}/{name}.mp4" for name in ("000_M101", "003_W102")))
        _text(
            root, f"lists/manipulated_videos_lists/manipulated_videos_{kind}_list.txt", "000_M101.mp4", "003_W102.mp4"
        )
    _text(root, "lists/splits/train.txt", "000_M101.mp4")
    _text(root, "lists/splits/val.txt")
    _text(root, "lists/splits/test.txt", "003_W102.mp4")
    _media(root, write, "source_videos/M101/light_up/neutral/camera_front/M101_light_up_neutral_camera_front.mp4")


def uadfv(root: Path, write: Write) -> None:
    _media(root, write, "real/0000.mp4", "real/0001.mp4", "fake/0000_fake.mp4", "fake/0001_fake.mp4")


def df40(root: Path, write: Write) -> None:
    _media(root, write, *(f"DF40_train/simswap/frames/001_870/{frame:03d}.png" for frame in (3, 20, 100)))
    _media(root, write, "DF40/simswap/ff/frames/000_003/000.png", "DF40/simswap/cdf/frames/id0_id1_0000/000.png")
    _media(root, write, "DF40/MidJourney/fake/0001.png", "DF40/MidJourney/fake/0002.png")
    _media(root, write, "DF40/MidJourney/real/0001.png")


def ffiw(root: Path, write: Write) -> None:
    for split in ("train", "val"):
        _media(root, write, *(f"{kind}/{split}/000001.mp4" for kind in ("source", "target", "target_mask")))


def deepfakebench(root: Path, write: Write) -> None:
    tree: dict[str, Any] = {}
    entries = (
        ("FF-DF", "FF-real", "train", "c23", "000", "original_sequences/youtube"),
        ("FF-DF", "FF-DF", "train", "c23", "000_003", "manipulated_sequences/Deepfakes"),
        ("FF-F2F", "FF-F2F", "train", "c23", "000_003", "manipulated_sequences/Face2Face"),
    )
    for dataset, label, split, quality, video, place in entries:
        frames = [f"FaceForensics++/{place}/{quality}/frames/{video}/{frame:03d}.png" for frame in (0, 9, 18)]
        _media(root / "datasets" / "rgb", write, *frames)
        clip = {"label": label, "frames": [f"/home/somebody/datasets/{frame}" for frame in reversed(frames)]}
        place_in = tree.setdefault(dataset, {}).setdefault(label, {}).setdefault(split, {}).setdefault(quality, {})
        place_in[video] = clip
    for dataset, content in tree.items():
        _json(root, f"preprocessing/dataset_json/{dataset}.json", {dataset: content})
    celeb: dict[str, Any] = {"CelebDFv2_real": {}, "CelebDFv2_fake": {}}
    for label, folder, video in (
        ("CelebDFv2_real", "Celeb-real", "id0_0000"),
        ("CelebDFv2_fake", "Celeb-synthesis", "id0_id1_0000"),
    ):
        frame = f"Celeb-DF-v2\\{folder}\\frames\\{video}\\000.png"
        _media(root / "datasets" / "rgb", write, frame.replace("\\", "/"))
        facts = {video: {"label": label, "frames": [f".\\datasets\\{frame}"]}}
        celeb[label] = {"train": facts, "val": facts, "test": facts}
    _json(root, "preprocessing/dataset_json/Celeb-DF-v2.json", {"Celeb-DF-v2": celeb})


def lists(root: Path, write: Write) -> None:
    for place in (
        "original_c23/071/071",
        "Deepfakes_c23/071_054/071_054",
        "original_c23/078/078",
        "FaceSwap_c23/078_955/078_955",
    ):
        _media(root, write, *(f"{place}_{frame:06d}_{face}.png" for frame in (12, 17, 102) for face in (0, 1)))
    _text(root, "benchmark/ff_train_all.lst", "Deepfakes_c23/071_054 FAKE", "original_c23/071 REAL")
    frames = [f"original_c23/078/078_{frame:06d}_0.png REAL" for frame in (12, 17)]
    fakes = [f"FaceSwap_c23/078_955/078_955_{frame:06d}_0.png FAKE" for frame in (12, 17)]
    _text(root, "benchmark/ff_test_FaceSwap_c23.lst", *frames, *fakes)


def folders(root: Path, write: Write) -> None:
    _media(root, write, "train/real/a.mp4", "train/real/b c/0001.png", "train/real/b c/0002.png", "test/real/a.mp4")
    _media(root, write, "train/fake/Swap/a.mp4", "train/fake/Swap/ü/0001.png", "test/fake/Reenact/a.MOV")


def csv(root: Path, write: Write) -> None:
    _media(root, write, "clips/a b.mp4", "clips/ü.mp4", "stills/real.jpg", "crops/0001.png", "crops/0002.png")
    _text(
        root,
        "clips.csv",
        "path,label,method,split,source,video",
        '"clips/a b.mp4",real,,train,,a',
        "clips/ü.mp4,fake,Swap,train,a,",
        "stills/real.jpg,real,,test,,",
        "crops,fake,Swap,test,,crops",
    )


#: Builder of every layout's tree, and how many real and fake clips it holds.
TREES: dict[str, tuple[Callable[[Path, Write], None], int, int]] = {
    "ffpp": (ffpp, 7, 4),
    "dfd": (dfd, 1, 2),
    "dfdc": (dfdc, 3, 3),
    "dfdc-preview": (dfdc_preview, 1, 2),
    "celeb-df-v1": (celeb_df, 3, 2),
    "celeb-df-v2": (celeb_df, 3, 2),
    "celeb-df-pp": (celeb_df_pp, 2, 3),
    "deeperforensics": (deeperforensics, 0, 4),
    "uadfv": (uadfv, 2, 2),
    "df40": (df40, 1, 5),
    "ffiw": (ffiw, 2, 2),
    "deepfakebench": (deepfakebench, 2, 3),
    "lists": (lists, 2, 2),
    "folders": (folders, 3, 3),
    "csv": (csv, 2, 2),
}


def build(layout: str, root: Path, write: Write = byte) -> Path:
    """Make the tree of a layout in a folder, which is made too. Returns the folder."""
    root.mkdir(parents=True, exist_ok=True)
    TREES[layout][0](root, write)
    return root
