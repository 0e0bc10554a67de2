"""High dynamic range, as phones record it, is looked at as an ordinary screen shows it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from unmask.faces import read_media
from unmask.faces.hdr import HLG, PQ, to_sdr


def _write(path: Path, signals: tuple[float, float], transfer: int) -> Path:
    """Ten bits; the left half grey at the first signal level, the right half at the second."""
    luma = np.full((48, 64), round(64 + 876 * signals[1]), np.uint16)
    luma[:, :32] = round(64 + 876 * signals[0])
    picture = np.concatenate([luma.ravel(), np.full(48 * 64 // 2, 512, np.uint16)]).reshape(72, 64)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.time_base = Fraction(1, 25)
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, transfer, 9, 1
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p10le")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


# A grey card and white paper lie at these signal levels (ITU-R BT.2408, table 1): 26 and 203 nits.
@pytest.mark.parametrize(("transfer", "signals"), [(PQ, (0.38, 0.58)), (HLG, (0.38, 0.75))])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_grey_and_white_are_those_of_an_ordinary_screen(
    tmp_path: Path, suffix: str, transfer: int, signals: tuple[float, float]
) -> None:
    for frame in read_media(_write(tmp_path / f"clip.{suffix}", signals, transfer)).frames:
        assert frame.image.dtype == np.uint8
        np.testing.assert_allclose(frame.image[10:40, 4:28], 255 * (26 / 203) ** (1 / 2.4), atol=4)
        np.testing.assert_allclose(frame.image[10:40, 36:60], 245, atol=4)


def test_what_is_not_marked_as_such_stays_as_it_is(tmp_path: Path) -> None:
    image = read_media(_write(tmp_path / "clip.mp4", (0.38, 0.75), transfer=1)).frames[0].image
    np.testing.assert_allclose(image[10:40, 4:28], 255 * 0.38, atol=3)


@pytest.mark.parametrize("colour", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.2, 0.1)])
def test_colours_come_back(colour: tuple[float, float, float]) -> None:
    wide = np.array([(0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956)]) @ colour
    root = (wide * 100 / 10_000) ** 0.1593017578125  # white at 100 nits; SMPTE ST 2084, inverse
    signal = ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375
    shown = to_sdr(np.rint(65535 * signal).astype(np.uint16).reshape(1, 1, 3), PQ)
    np.testing.assert_allclose(shown[0, 0], 255 * (np.array(colour) * 100 / 203) ** (1 / 2.4), atol=8)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_stays_brighter_up_to_the_brightest(transfer: int) -> None:
    ramp = np.repeat(np.arange(0, 65536, 257, dtype=np.uint16)[:, None, None], 3, axis=2)
    shown = to_sdr(ramp, transfer)[:, 0]
    assert (np.diff(shown.astype(int), axis=0) >= 0).all()
    assert shown[0].max() == 0
    assert shown[-1].min() >= 254
