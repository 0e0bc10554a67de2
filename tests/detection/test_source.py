"""The same picture or clip gets the same answer whether it comes as a path, bytes, a Pillow image or an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips import portrait, write_image
from unmask import UnmaskError
from unmask.detection import Detection, Detector, load_detector


@pytest.fixture(scope="module")
def detector(untrained: Path) -> Detector:
    return load_detector(untrained)


def told(detection: Detection) -> dict[str, object]:
    return detection.to_json() | {"path": ""}


def test_a_picture_in_memory(detector: Detector, tmp_path: Path) -> None:
    image = portrait()
    expected = detector.detect(write_image(tmp_path / "face.png", image))
    sources = {
        "image": [image, image[:, ::-1][:, ::-1], Image.fromarray(image), Image.open(tmp_path / "face.png")],
        "bytes": [(tmp_path / "face.png").read_bytes(), bytearray((tmp_path / "face.png").read_bytes())],
    }
    for name, each in sources.items():
        for source in each:
            found = detector.detect(source)
            assert told(found) == told(expected)
            assert found.path == name
    assert detector.detect(image, name="the portrait").path == "the portrait"


def test_a_clip_as_bytes(detector: Detector, clip: Path) -> None:
    found = detector.detect(clip.read_bytes(), frames=4, name="upload.mp4")
    assert told(found) == told(detector.detect(clip, frames=4))
    assert found.path == "upload.mp4"


def test_a_pillow_image_is_turned_upright_and_put_on_white(detector: Detector) -> None:
    picture = Image.fromarray(np.rot90(portrait()))
    picture.getexif()[0x0112] = 6
    assert told(detector.detect(picture)) == told(detector.detect(portrait()))
    clear = Image.new("LA", (64, 64), (0, 0))
    assert detector.detect(clear, pictures=True).verdict == "no face"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "the file is empty"),
        (b"no film at all" * 9, ""),
        (np.zeros((8, 8), np.uint8), "an array must be uint8"),
        (np.zeros((8, 8, 4), np.uint8), "an array must be uint8"),
        (np.zeros((8, 8, 3), np.float32), "an array must be uint8"),
        (np.zeros((0, 8, 3), np.uint8), "empty"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), "megapixels"),
        (Image.new("1", (20_000, 20_000)), "megapixels"),
    ],
)
def test_what_cannot_be_judged_is_named(detector: Detector, source: object, reason: str) -> None:
    with pytest.raises(UnmaskError, match=f"^my upload: .*{reason}") as caught:
        detector.detect(source, name="my upload")
    assert "unmask-" not in str(caught.value)
    (failed,) = detector.detect_many([source])
    assert failed.error == caught.value.reason


def test_what_is_no_source_at_all(detector: Detector) -> None:
    with pytest.raises(TypeError, match="got int"):
        detector.detect(7)


def test_progress_rises_to_one(detector: Detector, clip: Path) -> None:
    shares: list[float] = []
    watched = detector.detect(clip, frames=12, progress=shares.append)
    assert watched == detector.detect(clip, frames=12)
    assert shares == sorted(shares)
    assert len(set(shares)) >= 5
    assert (shares[0] > 0, shares[-1]) == (True, 1.0)


def test_progress_may_end_the_work(detector: Detector, clip: Path) -> None:
    class Stop(Exception):
        pass

    def stop(share: float) -> None:
        if share > 0.5:
            raise Stop

    with pytest.raises(Stop):
        detector.detect(clip, frames=12, progress=stop)
