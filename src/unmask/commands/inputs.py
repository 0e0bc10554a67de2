"""The files that a command line means: each once, folders opened up."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from unmask.errors import UnmaskError


def inputs(paths: Iterable[str], quiet: bool = False) -> Iterator[tuple[str, str | None]]:
    """Every input once, in order: (path, None), or (path, why it cannot be used). Listed as they are asked for.

    What is passed over for its suffix is counted on stderr, unless ``quiet``.
    """
    from unmask.commands.terminal import complain
    from unmask.faces import find_media

    named = list(paths)
    seen: set[str] = set()
    # In one folder only links lead to what is met before or after: millions of names need not be kept to know that.
    alone = len(named) == 1
    for path in named:
        if not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
            if _is_new(path, seen):
                yield path, "no such file" if _is_missing(path) else None
            continue
        problems: list[tuple[str, str]] = []
        others: collections.Counter[str] = collections.Counter()
        empty = True
        try:
            for each in find_media(path, functools.partial(_note, problems), functools.partial(_count, others)):
                empty = False
                certain = alone and not each.is_symlink()
                if certain or (not (alone and _listed_itself(each, path)) and _is_new(str(each), seen)):
                    yield str(each), None
        except (UnmaskError, OSError) as error:
            reason = error.reason if isinstance(error, UnmaskError) else f"cannot be read ({error.strerror})"
            problems.append((path, reason))
        if empty and not problems:
            problems.append((path, "no image or video in this folder"))
        yield from problems
        if others and not empty and not quiet:
            kinds = ", ".join(suffix or "none" for suffix, _ in others.most_common(3))
            complain(f"{path}: left out, for want of an image's or video's suffix: {others.total():,} ({kinds})")


def _is_new(path: str, seen: set[str]) -> bool:
    before = len(seen)
    seen.add(os.path.realpath(path))
    return len(seen) > before


def _is_missing(path: str) -> bool:
    """Whether a name leads to nothing. What cannot be looked at for another reason is for its reader to say."""
    try:
        os.stat(path)  # noqa: PTH116 (a Path makes "." of an empty name)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def _listed_itself(link: Path, folder: str) -> bool:
    """Whether what a link in a folder leads to is found in that folder under its own name, too."""
    from unmask.faces import is_media

    real, root = link.resolve(), Path(folder).resolve()
    if not real.is_relative_to(root) or not is_media(real):
        return False
    return not any(part.startswith(".") for part in real.relative_to(root).parts)


def _count(others: collections.Counter[str], path: str) -> None:
    others[os.path.splitext(path)[1].lower()] += 1  # noqa: PTH122 (a Path of each of a million is slow)


def _note(problems: list[tuple[str, str]], path: str, reason: str) -> None:
    problems.append((path, reason))
