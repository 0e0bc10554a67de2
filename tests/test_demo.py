"""The demo makes what it says: two clips that differ in the face alone, and verdicts on both."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from unmask.demo import FRAMES, HEIGHT, RATE, WIDTH, main, portraits, swap_face
from unmask.faces import MTCNN


def _frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", RATE)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def test_the_demo_from_clips_to_report(untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main([str(out), "--detector", str(untrained)]) == 0
    genuine, forged = _frames(out / "genuine.mp4"), _frames(out / "forged.mp4")
    assert genuine.shape == forged.shape == (FRAMES, HEIGHT, WIDTH, 3)
    apart = np.abs(genuine[0].astype(int) - forged[0]).mean(axis=2)
    face = MTCNN()([genuine[0]])[0][0].box
    left, top = int(face.x), int(face.y)
    right, bottom = int(face.x + face.width), int(face.y + face.height)
    assert apart[top:bottom, left:right].mean() > 8
    apart[top - 30 : bottom + 30, left - 30 : right + 30] = 0
    assert apart.mean() < 1
    # The camera moves.
    assert np.abs(genuine[0].astype(int) - genuine[-1]).mean() > 10
    found = json.loads((out / "verdicts.json").read_text())
    assert [Path(each["path"]).name for each in found] == ["genuine.mp4", "forged.mp4"]
    assert all(each["frames_with_face"] == each["frames"] == 32 for each in found)
    printed = capsys.readouterr().out
    for each in found:
        assert f"{each['score']:.3f}  {each['path']}" in printed
    assert f"report: {out / 'report.html'}" in printed
    assert "forged.mp4" in (out / "report.html").read_text()


def test_the_swap_keeps_the_colours_of_the_face() -> None:
    target, source = portraits()
    forged = swap_face(target, source)
    face = MTCNN()([target])[0][0].box
    where = (slice(int(face.y), int(face.y + face.height)), slice(int(face.x), int(face.x + face.width)))
    assert forged.shape == target.shape
    assert np.abs(forged[where].mean(axis=(0, 1)) - target[where].mean(axis=(0, 1))).max() < 8
    assert np.array_equal(forged[-100:], target[-100:])


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file" / "demo")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
