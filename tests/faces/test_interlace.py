"""Two moments in one frame, line by line: where things move one of them is taken, elsewhere nothing is changed."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from unmask.faces import read_media

SIZE = WIDTH, HEIGHT = 320, 240


def _moment(x: int) -> np.ndarray:
    """A grey square at (x, 80) before fine stripes, which any loss of lines would change."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :] = 90 + 60 * (np.arange(HEIGHT) // 2 % 2)[:, None, None]
    image[80:160, x : x + 80] = 230
    return image


def _woven(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    frame = even.copy()
    frame[1::2] = odd[1::2]
    return frame


def _write(path: Path, frames: list[np.ndarray], interlaced: bool) -> Path:
    options = {"crf": "1"} | ({"flags": "+ilme+ildct"} if interlaced else {})
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options=options)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for image in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("flagged", [True, False])
def test_of_two_moments_one_is_taken(tmp_path: Path, flagged: bool) -> None:
    frames = [_woven(_moment(20 + 12 * i), _moment(26 + 12 * i)) for i in range(6)]
    media = read_media(_write(tmp_path / "clip.mp4", frames, flagged))
    assert media.noticed.combed == 6
    for i, frame in enumerate(media.frames):
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        left, right = 20 + 12 * i, 100 + 12 * i
        square = frame.image[84:156, left + 2 : right - 2]
        assert np.abs(square.astype(int) - 230).max() < 12
        beyond = frame.image[84:156, right + 2 : right + 5]  # what the odd lines show there is a moment later
        assert beyond.max() < 190


@pytest.mark.parametrize("flagged", [True, False])
def test_what_stands_still_keeps_all_its_lines(tmp_path: Path, flagged: bool) -> None:
    media = read_media(_write(tmp_path / "clip.mp4", [_moment(20 + 12 * i) for i in range(6)], flagged))
    assert media.noticed.combed == 0
    for i, frame in enumerate(media.frames):
        assert np.abs(frame.image.astype(int) - _moment(20 + 12 * i)).mean() < 3
