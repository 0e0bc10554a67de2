"""Plain folders: ``real/`` and ``fake/``, for whoever has clips and no data set of the field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

from unmask.data.layouts.findings import AS_IT_IS, Findings, own_source, split_of
from unmask.data.layouts.index import Clip
from unmask.data.layouts.scan import Folder, Sequence, children, has_folder, leftovers, scan, take_frames, take_videos


def read_folders(src: Path, findings: Findings) -> bool:
    """``[SPLIT/]real/...`` and ``[SPLIT/]fake/[MANIPULATION/]...``: videos, images, and folders of frames.

    An image that lies in ``real``, ``fake`` or a manipulation is a clip of its own; images in a folder below are the
    frames of one. Whether a folder of images below ``fake`` is a manipulation or a clip is told by ``real``: if that
    has folders of images, so has ``fake``. Nothing says which clips belong together: each is its own source.
    """
    tops = [src, *(each for each in children(src) if split_of(each.name))]
    if not any(has_folder(top, "real", "fake") for top in tops):
        return False
    root = scan(src, findings)
    dataset = src.resolve().name
    tree = [("", root)] + [(split, each) for name, each in root.folders.items() if (split := split_of(name))]
    for split, folder in tree:
        real, fake = folder.at("real"), folder.at("fake")
        if real is None and fake is None:
            continue
        for label, missing in (("real", real is None), ("fake", fake is None)):
            if missing:
                findings.problem(folder.path / label, "missing: there are clips of one kind only")
        frames = real is not None and any(inner.images for inner in real.folders.values())
        found = [("real", name, clip) for name, clip in _below(real, ())]
        found += list(_fakes(fake, frames, findings))
        for method, name, clip in found:
            video = "/".join((split, *name) if split else name)
            findings.add(
                Clip(
                    paths=clip.paths,
                    method=method,
                    dataset=dataset,
                    quality=AS_IT_IS,
                    split=split,
                    video=video,
                    source=own_source(method, video),
                    component=own_source(method, video),
                    frames=clip.frames,
                )
            )
    leftovers(root, findings)
    return True


def _fakes(fake: Folder | None, frames: bool, findings: Findings) -> Iterator[tuple[str, tuple[str, ...], Sequence]]:
    for method, inner in (fake.folders if fake else {}).items():
        only_images = inner.images and not inner.videos and not any(each.has_media for each in inner.folders.values())
        if only_images and frames:
            findings.note(f"{inner.path.parent}: folders of images are clips there, as in `real`, and no manipulations")
            yield "fake", (method,), take_frames(inner, method)
        else:
            # A manipulation that somebody calls "real" must not become one.
            for name, clip in _below(inner, ()):
                yield f"fake-{method}" if method.casefold() == "real" else method, name, clip
    for name, clip in _own(fake, ()):
        yield "fake", name, clip


def _below(folder: Folder | None, within: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Sequence]]:
    yield from _own(folder, within)
    for name, inner in (folder.folders if folder else {}).items():
        for video in take_videos(inner):
            yield (*within, name, video.name), video
        if inner.images:
            yield (*within, name), take_frames(inner, name)
        yield from _below(inner, (*within, name))


def _own(folder: Folder | None, within: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Sequence]]:
    """The videos and images that lie in a folder itself, each a clip."""
    if folder is None:
        return
    for video in take_videos(folder):
        yield (*within, video.name), video
    images, folder.images = folder.images, []
    for name in images:
        yield (*within, PurePath(name).stem), Sequence(PurePath(name).stem, (folder.path / name,))
