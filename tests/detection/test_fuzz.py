"""Broken files get an answer or a reason; the many of them are in benchmarks/fuzz.py."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.clips import portrait, write_image
from tests.fuzz import FORMATS, damaged, whole
from unmask.cli import main
from unmask.commands.inputs import inputs
from unmask.errors import UnmaskError
from unmask.faces import Media, read_media


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_broken_file_is_read_or_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    data = whole(suffix, tmp_path)
    refused = 0
    for name, content in damaged(data, 14, seed=FORMATS.index(suffix)):
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(content)
        media, reason = _read(path)
        if media is None:
            refused += 1
            assert reason.startswith(f"{path}: ")
            assert "\n" not in reason
        else:
            assert media.frames
            assert all(frame.image.dtype == np.uint8 and frame.image.ndim == 3 for frame in media.frames)
    # Damage leaves most videos frames and most images a picture; PNG's checksums find all of it.
    assert refused == 14 if suffix == "png" else refused < 14


def _read(path: Path) -> tuple[Media | None, str]:
    try:
        return read_media(path, frames=4), ""
    except UnmaskError as error:
        return None, str(error)


def test_damage_is_the_same_for_the_same_seed() -> None:
    data = bytes(range(256)) * 8
    assert list(damaged(data, 20, seed=3)) == list(damaged(data, 20, seed=3))
    assert all(content != data for _, content in damaged(data, 20, seed=3))


def test_hostile_and_sound_files_in_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that is not a picture is named with its reason, the sound file is judged, the exit code is 1."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_image(folder / "sound.png", portrait(256))
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.jpg").touch()
    (folder / "noise.webm").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    clip = bytearray(whole("mp4", tmp_path))
    start = clip.index(b"mdat") + 4
    clip[start:-800] = np.random.default_rng(1).bytes(len(clip) - 800 - start)  # as encryption leaves it
    (folder / "encrypted.mp4").write_bytes(clip)
    assert main(["detect", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out.count("sound.png") == 1
    assert out.count("\n") <= 2  # noise in the place of pictures may decode to a picture without a face
    assert f"{folder / 'loop.jpg'}: is a link that leads nowhere" in err
    for name in ("text.mp4", "empty.jpg", "noise.webm"):
        assert f"{folder / name}: " in err


def test_a_folder_that_may_not_be_read_is_named_and_the_rest_is_listed() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_image(folder / "a.png", portrait(64))
        (folder / "closed").mkdir(mode=0)
        folder.chmod(0o755)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # permissions mean nothing to root
        try:
            found = list(inputs([name]))
        finally:
            if root:
                os.seteuid(0)
            (folder / "closed").chmod(0o700)
    assert found == [(f"{name}/a.png", None), (f"{name}/closed", "cannot be read (Permission denied)")]
