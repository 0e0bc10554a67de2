"""A folder read once: its sub-folders, its media, what readers took of them and what is left."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from unmask.data.layouts.findings import Findings
from unmask.faces.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

#: Folders that only say what kind of file lies in them. Downloads and preprocessing scripts put clips in them or not.
_KINDS = ("videos", "images", "frames")
#: Folders beside clips that hold no clips.
ASIDE = ("masks", "landmarks", "models")


@dataclass(eq=False)
class Folder:
    """One folder and all below it.

    Attributes:
        path: where it is.
        folders: sub-folders by name.
        videos, images, others: file names, sorted; a name is removed from the first two when a reader takes it.
    """

    path: Path
    folders: dict[str, Folder] = field(default_factory=dict)
    videos: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def at(self, *names: str) -> Folder | None:
        """The folder at this relative path, whatever its letters' case; None if it is not there."""
        folder: Folder | None = self
        for name in names:
            if folder is None:
                return None
            same = (each for key, each in folder.folders.items() if key.casefold() == name.casefold())
            folder = folder.folders.get(name) or next(same, None)
        return folder

    def file(self, name: str) -> Path | None:
        """A file in this folder by name, whatever its letters' case."""
        return next((self.path / each for each in self.others if each.casefold() == name.casefold()), None)

    def walk(self) -> Iterator[Folder]:
        yield self
        for folder in self.folders.values():
            yield from folder.walk()

    def drop(self) -> int:
        """Forget the media below, which a reader knows and leaves out on purpose. Returns how many there were."""
        dropped = 0
        for folder in self.walk():
            dropped += len(folder.videos) + len(folder.images)
            folder.videos, folder.images = [], []
        return dropped

    @property
    def has_media(self) -> bool:
        return any(folder.videos or folder.images for folder in self.walk())


@dataclass(frozen=True)
class Sequence:
    """A video file, or the extracted frames of a video in order of time."""

    name: str
    paths: tuple[Path, ...]
    frames: tuple[int, ...] = ()


def has_folder(path: Path, *names: str) -> bool:
    """Whether a folder has one of these directly in it, whatever the letters' case; looked up before all is read."""
    try:
        with os.scandir(path) as entries:
            wanted = {name.casefold() for name in names}
            return any(entry.name.casefold() in wanted and entry.is_dir() for entry in entries)
    except OSError:
        return False


def children(path: Path) -> list[Path]:
    """What lies directly in a folder, sorted, without hidden files; nothing where it is none or cannot be read."""
    try:
        return sorted((each for each in path.iterdir() if not each.name.startswith(".")), key=lambda p: natural(p.name))
    except OSError:
        return []


def scan(path: Path, findings: Findings, above: tuple[tuple[int, int], ...] = ()) -> Folder:
    """Read a folder and all below it. Hidden files are left out, links are followed, but never in a circle.

    ``above`` are the device and inode of each folder on the way here.
    """
    folder = Folder(path)
    try:
        status = path.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            findings.problem(path, "is a link back to a folder above it, not followed")
            return folder
        entries = sorted(os.scandir(path), key=lambda entry: natural(entry.name))
    except OSError as error:
        findings.problem(path, f"cannot be read ({error.strerror})")
        return folder
    for entry in entries:
        name = entry.name
        if name.startswith(".") or name == "__MACOSX":
            continue
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  (millions of frames: no Path for each)
        try:
            if entry.is_dir():
                folder.folders[name] = scan(path / name, findings, (*above, here))
            elif not entry.is_file():
                if entry.is_symlink():
                    findings.problem(path / name, "is a link to nothing")
            elif suffix in VIDEO_SUFFIXES:
                folder.videos.append(name)
            elif suffix in IMAGE_SUFFIXES:
                folder.images.append(name)
            else:
                folder.others.append(name)
        except OSError as error:
            findings.problem(path / name, f"cannot be read ({error.strerror})")
    return folder


def sequences(folder: Folder | None, findings: Findings) -> list[Sequence]:
    """The clips of a folder, taken from it: videos, and sub-folders of frames, in it or in its ``videos``, ``images``
    and ``frames``. A clip that is there as a video and as frames is taken as the video."""
    if folder is None:
        return []
    videos: list[Sequence] = []
    frames: list[Sequence] = []
    for place in (folder, *map(folder.at, _KINDS)):
        if place is None:
            continue
        videos += take_videos(place)
        for name, inner in place.folders.items():
            if name.casefold() not in (*_KINDS, *ASIDE) and inner.images:
                frames.append(take_frames(inner, name))
    there = {video.name for video in videos}
    twice = [sequence for sequence in frames if sequence.name in there]
    if twice:
        findings.note(f"{folder.path}: {len(twice)} clips are there as video and as frames, the videos are taken")
    return videos + [sequence for sequence in frames if sequence.name not in there]


def take_videos(folder: Folder) -> list[Sequence]:
    """The videos that lie in a folder itself."""
    taken = [Sequence(os.path.splitext(name)[0], (folder.path / name,)) for name in folder.videos]  # noqa: PTH122
    folder.videos = []
    return taken


def take_frames(folder: Folder, name: str) -> Sequence:
    """The images that lie in a folder itself as the frames of one video."""
    images, folder.images = folder.images, []
    return frames_of(name, [folder.path / image for image in images])


def frames_of(name: str, paths: Iterable[Path]) -> Sequence:
    """Images as one video, in order of time, with the frame numbers of their names where all have one of their own."""
    ordered = sorted(paths, key=lambda path: natural(path.name))
    numbers = [frame_number(path.stem) for path in ordered]
    known = [number for number in numbers if number is not None]
    if len(set(known)) < len(ordered):
        return Sequence(name, tuple(ordered))
    pairs = sorted(zip(known, ordered, strict=True))
    return Sequence(name, tuple(path for _, path in pairs), tuple(number for number, _ in pairs))


def frame_number(stem: str) -> int | None:
    """``0012``, ``frame_0012`` and ``004_000012_0`` (video, frame, face: the paper's lists) are frame 12."""
    numbers = re.findall(r"\d+", stem)
    if not numbers:
        return None
    published = re.fullmatch(r"\d+(?:_\d+)?_(\d{6})_\d+", stem)
    number = published[1] if published else numbers[-1]
    return int(number) if len(number) < 10 else None  # longer ones are dates and hashes


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key by which frame 2 comes before frame 10."""
    parts = re.split(r"(\d+)", name.casefold())
    return (*((int(part), part) if part.isdecimal() else (-1, part) for part in parts), (-2, name))


def leftovers(folder: Folder, findings: Findings, aside: tuple[str, ...] = ()) -> None:
    """Name the media that no reader took, by folder; folders that hold nothing else are named as one.

    Folders called one of ``aside`` (in lower case), which come with the data set and hold no clips, are not named.
    """
    for each in folder.walk():
        for name, inner in each.folders.items():
            if name.casefold() in aside:
                inner.drop()
    for top in _left(folder):
        images = sum(len(each.images) for each in top.walk())
        videos = sum(len(each.videos) for each in top.walk())
        if len(top.videos + top.images) == videos + images == 1:
            findings.problem(top.path / (top.videos + top.images)[0], "has no place in this layout, left out")
        else:
            counts = [f"{n} {kind}{'s' * (n > 1)}" for n, kind in ((videos, "video"), (images, "image")) if n]
            findings.problem(top.path, f"{' and '.join(counts)} with no place in this layout, left out")


def _left(folder: Folder) -> list[Folder]:
    if folder.videos or folder.images:
        return [folder]
    below = {name: _left(inner) for name, inner in folder.folders.items()}
    if len(below) > 1 and all(left == [folder.folders[name]] for name, left in below.items()):
        return [folder]
    return [each for left in below.values() for each in left]
