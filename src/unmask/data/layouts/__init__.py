"""Readers of the field's data sets, each in its official folder structure; parts of a data set are welcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unmask.data.layouts import celeb
from unmask.data.layouts.csv_file import read_csv
from unmask.data.layouts.deeperforensics import read_deeperforensics
from unmask.data.layouts.deepfakebench import read_deepfakebench
from unmask.data.layouts.df40 import read_df40
from unmask.data.layouts.dfdc import read_dfdc, read_preview
from unmask.data.layouts.ffiw import read_ffiw
from unmask.data.layouts.ffpp import read_dfd, read_ffpp
from unmask.data.layouts.findings import Findings
from unmask.data.layouts.folders import read_folders
from unmask.data.layouts.index import Clip, Index, Problem
from unmask.data.layouts.lists import read_lists
from unmask.data.layouts.scan import children
from unmask.data.layouts.uadfv import read_uadfv
from unmask.errors import UnmaskError

__all__ = ["LAYOUTS", "Clip", "Index", "Layout", "Problem", "read_layout"]


@dataclass(frozen=True)
class Layout:
    """A folder structure, and how it is read.

    Attributes:
        name: as on the command line.
        description: one line.
        sketch: what the folder looks like, several lines.
        read: fills findings from a path and says whether anything of this layout is there.
    """

    name: str
    description: str
    sketch: str
    read: Callable[[Path, Findings], bool]


_ALL = (
    Layout(
        "ffpp",
        "FaceForensics++ (FF++), with its DFD part where that is there",
        """
        original_sequences/{youtube,actors}/{raw,c23,c40}/{videos/ID.mp4,images/ID/0000.png}
        manipulated_sequences/{Deepfakes,Face2Face,FaceSwap,NeuralTextures,FaceShifter,DeepFakeDetection}/QUALITY/...
        manipulated_sequences/METHOD/masks/videos/ID_ID.mp4      (taken where there)
        splits/{train,val,test}.json                             (built in where not there)
        """,
        read_ffpp,
    ),
    Layout(
        "dfd",
        "DeepFakeDetection (DFD) of Google and Jigsaw, as FF++ ships it",
        """
        original_sequences/actors/{raw,c23,c40}/videos/01__SCENE.mp4
        manipulated_sequences/DeepFakeDetection/{raw,c23,c40}/videos/01_02__SCENE__0A1B2C3D.mp4
        """,
        read_dfd,
    ),
    Layout(
        "dfdc",
        "Deepfake Detection Challenge: any of its parts",
        """
        dfdc_train_part_N/metadata.json      (and the clips it names)
        test/labels.csv                      (filename,label)
        """,
        read_dfdc,
    ),
    Layout(
        "dfdc-preview",
        "Deepfake Detection Challenge, the preview of 5,250 clips",
        """
        dataset.json
        {original_videos,method_A,method_B}/...
        """,
        read_preview,
    ),
    Layout(
        "celeb-df-v1",
        "Celeb-DF v1",
        """
        {Celeb-real,YouTube-real,Celeb-synthesis}/{,videos/,frames/}...
        List_of_testing_videos.txt
        """,
        celeb.read_v1,
    ),
    Layout(
        "celeb-df-v2",
        "Celeb-DF v2",
        """
        {Celeb-real,YouTube-real,Celeb-synthesis}/{,videos/,frames/}...
        List_of_testing_videos.txt
        """,
        celeb.read_v2,
    ),
    Layout(
        "celeb-df-pp",
        "Celeb-DF++: 22 manipulations in three scenarios",
        """
        {Celeb-real,YouTube-real}/...
        Celeb-synthesis/{FaceSwap,FaceReenact,TalkingFace}/MANIPULATION/...
        List_of_testing_videos.txt
        """,
        celeb.read_plus_plus,
    ),
    Layout(
        "deeperforensics",
        "DeeperForensics-1.0: fakes of FF++'s originals",
        """
        manipulated_videos/{end_to_end,end_to_end_level_1,...}/000_M101.mp4
        lists/splits/{train,val,test}.txt
        """,
        read_deeperforensics,
    ),
    Layout(
        "uadfv",
        "UADFV: 49 real videos and their fakes",
        """
        real/{,videos/,frames/}0000.mp4
        fake/{,videos/,frames/}0000_fake.mp4
        """,
        read_uadfv,
    ),
    Layout(
        "df40",
        "DF40: forty manipulations, face crops of frames",
        """
        DF40_train/METHOD/frames/001_870/000.png
        DF40/METHOD/{ff,cdf}/frames/CLIP/000.png
        DF40/METHOD/{real,fake}/...              (methods with reals of their own)
        """,
        read_df40,
    ),
    Layout(
        "ffiw",
        "FFIW-10K: several people in a video",
        """
        {source,target}/{train,val}/{,videos/}NAME.mp4
        target_mask/{train,val}/...              (taken where there)
        """,
        read_ffiw,
    ),
    Layout(
        "deepfakebench",
        "What DeepfakeBench's preprocessing has written, for any of its data sets",
        """
        preprocessing/dataset_json/*.json        (or dataset_json/*.json, *.json, or one such file)
        datasets/{,rgb/}DATASET/.../frames/CLIP/000.png
        """,
        read_deepfakebench,
    ),
    Layout(
        "lists",
        "List files of the paper's scripts and of their kind",
        """
        {,benchmark/}*.{lst,txt}                 (or one such file) with lines PATH LABEL
        {original,Deepfakes,...}_{raw,c23,c40}/CLIP/CLIP_000012_0.png
        """,
        read_lists,
    ),
    Layout(
        "folders",
        "Plain folders",
        """
        {,train/,val/,test/}real/{CLIP.mp4,IMAGE.jpg,CLIP/0000.png}
        {,train/,val/,test/}fake/{,MANIPULATION/}...
        """,
        read_folders,
    ),
    Layout(
        "csv",
        "A CSV file",
        """
        FILE.csv with columns path, label        (real or fake)
        where known also method, split, source, video, quality, dataset
        """,
        read_csv,
    ),
)

#: Every layout by name.
LAYOUTS = {layout.name: layout for layout in _ALL}


def read_layout(name: str, src: str | Path) -> Index:
    """Read a data set, or the part of it that is there. Nothing is decoded, nothing fetched.

    Args:
        name: one of :data:`LAYOUTS`.
        src: the data set's folder, or one that holds it; of ``csv`` and ``lists`` a file as well.

    Raises:
        UnmaskError: the layout is unknown, there is no such path, or nothing of the layout is there.
    """
    if name not in LAYOUTS:
        raise UnmaskError(f"layout {name!r}", f"expected one of {', '.join(LAYOUTS)}")
    layout, path = LAYOUTS[name], Path(src)
    try:
        if not path.exists():
            raise UnmaskError(src, "no such file or folder")
        if path.is_dir() and not any(path.iterdir()):
            raise UnmaskError(src, "the folder is empty")
        inner = [path]
        if path.is_dir():
            inner += [each for each in children(path) if each.is_dir()]
    except (OSError, ValueError) as error:
        raise UnmaskError(src, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    found: dict[Path, Findings] = {}
    problems: tuple[Problem, ...] = ()
    for each in inner:
        # One level down as well: people give the folder that they unpacked an archive into.
        findings = Findings()
        if layout.read(each, findings):
            found[each] = findings
            if each is path:
                break
        problems += findings.index(name).problems
    if len(found) == 1:
        (where, findings), *_ = found.items()
        if where is not path:
            findings.note(f"read from {where}")
        return findings.index(name)
    if found:
        raise UnmaskError(src, f"holds the layout {name} more than once: {', '.join(each.name for each in found)}")
    lines = (line.strip().split("  ")[0] for line in layout.sketch.strip().splitlines())
    why = f" ({problems[0]})" if problems else ""
    raise UnmaskError(src, f"holds nothing of the layout {name}; expected {' and '.join(list(lines)[:2])}{why}")
