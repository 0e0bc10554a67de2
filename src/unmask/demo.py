"""``python -m unmask.demo OUT``: a genuine and a forged clip made from two portraits, and their verdicts.

The portraits are in the public domain: Eileen Collins (NASA) and Grace Hopper (US Navy). The forgery is the classic
face swap: the other face is moved onto the landmarks of the first by a similarity transform, its colours are matched in
Lab, and a soft mask hides the seam. Both clips get the same camera motion and the same codec: nothing but the face
tells them apart. The demo promises no verdict: it prints what the bundled detector says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError
from unmask.printing import forgiving_streams
from unmask.writing import make_folder

#: Frames a second, number of frames, and width and height of the clips in pixels.
RATE, FRAMES, WIDTH, HEIGHT = 25, 75, 640, 480


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the clips in a folder and judge them; returns the exit code of ``unmask detect``."""
    forgiving_streams()
    parser = argparse.ArgumentParser(prog="python -m unmask.demo", description="unmask on two clips it makes itself.")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for clips, verdicts and report")
    parser.add_argument("--detector", default="default", metavar="D", help="folder of a detector")
    options = parser.parse_args(arguments)
    out: Path = options.out
    try:
        make_folder(out)
        target, source = portraits()
        print("making a genuine and a forged clip from two public-domain portraits", flush=True)
        clips = [str(out / "genuine.mp4"), str(out / "forged.mp4")]
        write_clip(clips[0], target)
        write_clip(clips[1], swap_face(target, source))
    except (UnmaskError, OSError) as error:
        print(f"unmask demo: {error}", file=sys.stderr)
        return 2

    from unmask.cli import main as unmask

    verdicts, report = str(out / "verdicts.json"), str(out / "report.html")
    print(f"unmask detect {' '.join(clips)} --json {verdicts} --report {report}", flush=True)
    code = unmask(["detect", *clips, "--detector", options.detector, "--json", verdicts, "--report", report])
    if code in (0, 1):
        print(f"report: {report}\nverdicts: {verdicts}", flush=True)
    return code


def portraits() -> tuple[np.ndarray, np.ndarray]:
    """The two portraits, uint8 (H, W, 3), RGB: Eileen Collins, then Grace Hopper."""
    from PIL import Image

    pictures = []
    for name in ("eileen_collins.webp", "grace_hopper.jpg"):
        with Image.open(Path(__file__).parent / "portraits" / name) as opened:
            pictures.append(np.array(opened.convert("RGB")))
    return pictures[0], pictures[1]


def swap_face(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Put the face of one portrait onto the other.

    Args:
        target: the portrait that stays, uint8 (H, W, 3), RGB.
        source: the portrait whose face is taken.

    Returns:
        The forged portrait, the size of ``target``.

    Raises:
        UnmaskError: no face with landmarks is found in one of them.
    """
    import cv2

    to, of = _landmarks(target), _landmarks(source)
    move, _ = cv2.estimateAffinePartial2D(of, to, method=cv2.LMEDS)
    size = (target.shape[1], target.shape[0])
    scale = float(np.hypot(move[0, 0], move[1, 0]))
    if scale < 1:  # shrinking needs a low-pass first, or the skin turns to grit
        source = cv2.GaussianBlur(source, (0, 0), 0.5 / scale)
    moved = cv2.warpAffine(source, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    mask = _face_mask(to, size)
    matched = _match_colours(moved, target, mask > 0.5)
    blended = mask[..., None] * matched + (1 - mask[..., None]) * target
    return np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def write_clip(path: str, portrait: np.ndarray) -> None:
    """A slow pan and zoom over a portrait as H.264 (CRF 23): 3 s, 25 frames/s, 640 x 480 pixels."""
    import av
    import cv2

    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, RATE)
        for number in range(FRAMES):
            view = cv2.warpAffine(
                portrait,
                _camera(number / (FRAMES - 1), portrait.shape[1], portrait.shape[0]),
                (WIDTH, HEIGHT),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
            frame = av.VideoFrame.from_ndarray(np.asarray(view, dtype=np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _camera(moment: float, width: int, height: int) -> np.ndarray:
    """The affine map (2, 3) from portrait to frame at a moment in [0, 1]."""
    # Half a cosine: the camera starts and stops softly.
    ease = (1 - np.cos(np.pi * moment)) / 2
    zoom = WIDTH / width * (1.0 + 0.25 * ease)
    # The centre of the view moves up towards the face; it never leaves the portrait.
    centre_x = width * (0.5 - 0.06 * ease)
    centre_y = max(HEIGHT / zoom / 2, height * (0.42 - 0.06 * ease))
    return np.array([[zoom, 0, WIDTH / 2 - zoom * centre_x], [0, zoom, HEIGHT / 2 - zoom * centre_y]])


def _landmarks(portrait: np.ndarray) -> np.ndarray:
    """The five landmarks of the largest face, float32 (5, 2), in pixels."""
    from unmask.faces import MTCNN

    faces = MTCNN()([portrait])[0]
    if not faces or faces[0].landmarks is None:
        raise UnmaskError("portrait", "no face found")
    return np.asarray(faces[0].landmarks, dtype=np.float32)


def _face_mask(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A soft ellipse from brows to chin, float64 (H, W) in [0, 1], turned with the eyes."""
    import cv2

    left, right, _, mouth_left, mouth_right = landmarks.astype(float)
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    down = mouth - eyes
    across = float(np.linalg.norm(right - left))
    centre = eyes + 0.55 * down
    axes = (round(0.88 * across), round(1.12 * float(np.linalg.norm(down))))
    turn = float(np.degrees(np.arctan2(down[1], down[0]))) - 90
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.ellipse(mask, (round(centre[0]), round(centre[1])), axes, turn, 0, 360, 255, -1)
    return cv2.GaussianBlur(mask, (0, 0), 0.12 * across).astype(float) / 255


def _match_colours(moved: np.ndarray, target: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Mean and spread of each Lab channel inside the mask as in the target; RGB (H, W, 3) in 0..255."""
    import cv2

    lab, wanted = (cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for image in (moved, target))
    # The spread may shrink but hardly grow: stretched contrast makes every wrinkle a crack.
    gain = np.minimum(wanted[inside].std(axis=0) / lab[inside].std(axis=0), 1.1)
    lab = (lab - lab[inside].mean(axis=0)) * gain + wanted[inside].mean(axis=0)
    return np.asarray(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)) * 255


if __name__ == "__main__":
    sys.exit(main())
