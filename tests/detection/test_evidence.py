"""The pictures of a report: those of the frames that they are said to be from."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tests.clips import moving, portrait, write_video
from unmask.detection import FaceScore, ScoredTrack, load_detector
from unmask.detection.evidence import still
from unmask.faces import Box, read_media


def _grown(folder: Path) -> Path:
    """A video whose picture becomes larger half way, as broadcasts and calls do."""
    small = write_video(folder / "small.ts", moving(portrait(192), 6))
    large = write_video(folder / "large.ts", moving(portrait(384), 6))
    both = folder / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    return both


def test_a_still_has_the_size_of_its_own_frame(tmp_path: Path) -> None:
    media = read_media(_grown(tmp_path), frames=4)
    assert [frame.image.shape[0] for frame in media.frames] == [192, 192, 384, 384]
    for position in (0, 3):
        face = FaceScore(position, media.frames[position].index, 0.0, Box(10, 10, 50, 50), 1.0, 0.5)
        shown = still(media, [ScoredTrack((face,), 0.5)])
        assert (shown.width, shown.height) == media.frames[position].image.shape[1::-1]
        assert Image.open(io.BytesIO(shown.jpeg)).size == (shown.width, shown.height)


def test_boxes_are_said_to_be_in_pixels_of_their_own_frame(untrained: Path, tmp_path: Path) -> None:
    detector = load_detector(untrained)
    found = detector.detect(_grown(tmp_path), frames=4)
    assert any("each box is in pixels of its own frame" in warning for warning in found.warnings)
    widths = {face.position: face.box.width for track in found.tracks for face in track.faces}
    assert widths[3] > 1.5 * widths[0]
    assert detector.detect(tmp_path / "small.ts", frames=4).warnings == ()
