"""Readers of the field's data sets, each in its official folder structure; parts of a data set are welcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unmask.data.layouts.ffpp import read_dfd, read_ffpp
from unmask.data.layouts.findings import Findings
from unmask.data.layouts.index import Clip, Index, Problem
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
        "FaceForensics++ (FF++), with its DFD part if it is there",
        """
        original_sequences/{youtube,actors}/{raw,c23,c40}/{videos/ID.mp4, images/ID/0000.png}
        manipulated_sequences/{Deepfakes,Face2Face,FaceSwap,NeuralTextures,FaceShifter,DeepFakeDetection}/...
        manipulated_sequences/METHOD/masks/videos/ID_ID.mp4          (taken where there)
        splits/{train,val,test}.json                                 (built in where not there)
        """,
        read_ffpp,
    ),
    Layout(
        "dfd",
        "DeepFakeDetection (DFD, Google and Jigsaw), as FF++ ships it",
        """
        original_sequences/actors/{raw,c23,c40}/videos/01__SCENE.mp4
        manipulated_sequences/DeepFakeDetection/{raw,c23,c40}/videos/01_02__SCENE__ID.mp4
        """,
        read_dfd,
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
            raise UnmaskError(src, "no such folder")
        if path.is_dir() and not any(path.iterdir()):
            raise UnmaskError(src, "the folder is empty")
        inner = [path]
        if path.is_dir():
            inner += sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    except (OSError, ValueError) as error:
        raise UnmaskError(src, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    found = {}
    for each in inner:
        # One level down as well: people give the folder that they unpacked an archive into.
        findings = Findings()
        if layout.read(each, findings):
            found[each] = findings
            if each is path:
                break
    if len(found) == 1:
        (where, findings), *_ = found.items()
        if where is not path:
            findings.note(f"read from {where}")
        return findings.index(name)
    if found:
        raise UnmaskError(src, f"holds the layout {name} more than once: {', '.join(each.name for each in found)}")
    lines = (line.strip().split("  ")[0] for line in layout.sketch.strip().splitlines())
    raise UnmaskError(src, f"holds nothing of the layout {name}; expected {' and '.join(list(lines)[:2])}")
