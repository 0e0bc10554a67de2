from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from rich.console import Console
from sklearn.metrics import average_precision_score, roc_auc_score

from unmask.detector import Card, Scorer
from unmask.detector.frames import pooled
from unmask.evaluation import METRICS, Evaluation, evaluate, render
from unmask.faces.crop import CropRecipe
from unmask.game.classifier import build_classifier


def make_card(size: int = 32) -> Card:
    return Card(
        backbone="test_efficientnet",
        classes=["real", "fake"],
        input_size=size,
        mean=[0.5, 0.5, 0.5],
        std=[0.5, 0.5, 0.5],
        crop=CropRecipe(margin=1.3, size=64),
        calibration={"method": "platt", "scale": 1.0, "offset": 0.0},
        threshold=0.6,
        threshold_rule="by hand",
        training={},
        results={},
        licence="Apache-2.0",
        intended_use="tests",
        limits=[],
        version="0.1",
        weights_sha256="ab" * 32,
    )


class Brightness:
    """A detector whose P(fake) is the mean brightness of the crop, so that every figure is known."""

    name = "brightness"
    card = make_card()

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def score(self, crops: list[np.ndarray]) -> np.ndarray:
        self.shapes += [crop.shape for crop in crops]
        return np.array([crop.mean() / 255 for crop in crops])


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def row(score: float, method: str, video: str, component: str | None = None, **more: Any) -> dict[str, Any]:
    """One row of a face table whose crop has this brightness."""
    return {
        "image": encoded(np.full((8, 8, 3), round(score * 255), np.uint8)),
        "label": "real" if method == "real" else "fake",
        "method": method,
        "dataset": "made",
        "quality": "c23",
        "split": "test",
        "video": video,
        "frame": 0,
        "source": video,
        "component": component or video,
    } | more


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def noisy_rows(count: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    methods = ["real", "swap", "mouth"]
    return [
        row(
            float(np.clip(rng.normal(0.4 + 0.15 * (number % 3), 0.2), 0, 1)),
            methods[number % 3],
            f"v{number // 3}",
            quality="c23" if number % 2 else "c40",
            frame=frame,
        )
        for number in range(count)
        for frame in range(2)
    ]


def strict(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Through JSON without NaN and back."""
    return json.loads(json.dumps(evaluation.to_json(), allow_nan=False))


def text_of(evaluation: Evaluation) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render(evaluation))
    return console.export_text()


def test_names_are_no_markup(tmp_path: Path) -> None:
    rows = [{**row, "method": row["method"] if row["label"] == "real" else "swap[v2]"} for row in noisy_rows()]
    rows[-1]["method"] = "\x1b[31m"
    broken = tmp_path / "broken[v1].parquet"
    broken.write_bytes(b"PAR1")
    shown = text_of(evaluate(Brightness(), [write(tmp_path / "faces[v1].parquet", rows), broken], bootstrap=0))
    for name in ("faces[v1].parquet", "swap[v2]", "\\x1b[31m", "broken[v1].parquet: "):
        assert name in shown


def test_figures_are_those_of_scikit_learn(tmp_path: Path) -> None:
    rows = noisy_rows()
    [found] = strict(evaluate(Brightness(), [write(tmp_path / "t.parquet", rows)], bootstrap=100))
    fake = np.array([item["label"] == "fake" for item in rows])
    scores = Brightness().score([np.asarray(Image.open(io.BytesIO(item["image"]))) for item in rows])
    videos: dict[tuple[str, ...], list[int]] = {}
    for number, item in enumerate(rows):
        videos.setdefault((item["method"], item["quality"], item["video"]), []).append(number)
    score = np.array([pooled(scores[members]) for members in videos.values()])
    of_fake = np.array([fake[members[0]] for members in videos.values()])

    assert found["frame"]["auc"]["value"] == pytest.approx(roc_auc_score(fake, scores))
    assert found["frame"]["ap"]["value"] == pytest.approx(average_precision_score(fake, scores))
    assert found["frame"]["accuracy"]["value"] == pytest.approx(np.mean((scores >= 0.6) == fake))
    assert found["video"]["auc"]["value"] == pytest.approx(roc_auc_score(of_fake, score))
    assert found["auc"] == found["video"]["auc"]
    assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
    assert set(METRICS) <= set(found)
    assert (found["rows"], found["videos"]) == (120, 60)
    assert found["counts"]["real_rows"] == 40
    assert found["counts"]["components"] == 20

    chosen = [number for number, item in enumerate(rows) if item["method"] in ("real", "swap")]
    expected = roc_auc_score(fake[chosen], scores[chosen])
    assert found["by_method"]["swap"]["frame"]["auc"]["value"] == pytest.approx(expected)
    assert set(found["by_method"]) == {"swap", "mouth"}
    chosen = [number for number, item in enumerate(rows) if item["quality"] == "c40"]
    expected = roc_auc_score(fake[chosen], scores[chosen])
    assert found["by_quality"]["c40"]["frame"]["auc"]["value"] == pytest.approx(expected)
    assert found["error"] is None


def test_manipulations_qualities_and_data_sets_of_a_clip_are_videos_of_their_own(tmp_path: Path) -> None:
    rows = [
        row(0.2, "real", "000"),
        row(0.9, "swap", "000"),
        row(0.1, "mouth", "000"),
        row(0.9, "mouth", "000", frame=1),
        row(0.3, "swap", "000", quality="c40"),
        row(0.4, "real", "000", dataset="other"),
    ]
    [found] = strict(evaluate(Brightness(), [write(tmp_path / "t.parquet", rows)], bootstrap=0))
    assert found["videos"] == 5
    # Videos: reals .2 .4, fakes .9 .5 .3: of six pairs only (.3, .4) is the wrong way round.
    assert found["video"]["auc"]["value"] == pytest.approx(5 / 6)
    assert found["video"]["auc"]["reason"] == "no resamples were asked for"


def test_intervals_draw_components(tmp_path: Path) -> None:
    together = [item | {"component": f"c{number // 24}"} for number, item in enumerate(noisy_rows())]
    paths = [write(tmp_path / "a.parquet", noisy_rows()), write(tmp_path / "b.parquet", together)]
    alone, grouped = strict(evaluate(Brightness(), paths, bootstrap=200))
    assert alone["auc"]["value"] == grouped["auc"]["value"]
    assert grouped["counts"]["components"] == 5
    assert (alone["auc"]["low"], alone["auc"]["high"]) != (grouped["auc"]["low"], grouped["auc"]["high"])


def test_a_protocol_comes_with_every_table(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", noisy_rows())
    [found] = strict(evaluate(Brightness(), [path], split="test", bootstrap=10, seed=3))
    protocol = found["protocol"]
    assert found["table"] == str(path)
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert protocol["detector"] == {"name": "brightness", "version": "0.1", "weights_sha256": "ab" * 32}
    assert protocol["split"] == "test"
    assert protocol["threshold"] == 0.6
    assert protocol["threshold_rule"] == "by hand"
    assert protocol["interval"]["resamples"] == 10
    assert protocol["interval"]["seed"] == 3
    assert protocol["crop"]["from"] == "table"


def test_only_the_split_is_scored(tmp_path: Path) -> None:
    rows = noisy_rows(30) + [item | {"split": "val"} for item in noisy_rows(12, seed=1)]
    path = write(tmp_path / "t.parquet", rows)
    test, val, none = (evaluate(Brightness(), [path], split=name, bootstrap=0) for name in ("test", "val", "no"))
    assert strict(test)[0]["rows"] == 60
    assert strict(val)[0]["rows"] == 24
    assert "no row" in none.errors[0]


def test_the_same_call_gives_the_same_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", noisy_rows())
    one, two = (evaluate(Brightness(), [path], bootstrap=50).to_json() for _ in range(2))
    assert one == two


def test_a_corrupt_row_is_skipped_and_named(tmp_path: Path) -> None:
    rows = noisy_rows()
    rows[17] |= {"image": b"\xff\xd8 not a JPEG"}
    rows[18] |= {"image": b""}
    rows[19] |= {"image": rows[19]["image"][:40]}
    path = write(tmp_path / "t.parquet", rows)
    evaluation = evaluate(Brightness(), [path], bootstrap=20)
    [found] = strict(evaluation)
    assert found["rows"] == 117
    assert found["error"] is None
    assert [item["row"] for item in found["skipped"]] == [f"{path}: row {number}" for number in (17, 18, 19)]
    assert all("cannot decode" in item["reason"] for item in found["skipped"])
    assert "3 rows skipped" in text_of(evaluation)


@pytest.mark.parametrize("method", ["real", "swap"])
def test_a_table_of_one_class_is_an_error_and_the_rest_is_done(tmp_path: Path, method: str) -> None:
    lone = write(tmp_path / "lone.parquet", [row(0.5, method, f"v{number}") for number in range(5)])
    good = write(tmp_path / "good.parquet", noisy_rows())
    evaluation = evaluate(Brightness(), [lone, good], bootstrap=20)
    bad, fine = strict(evaluation)
    only = "only reals, no fake" if method == "real" else "only fakes, no real"
    assert evaluation.errors == [f"{lone}: {only}"]
    assert bad["error"] == f"{lone}: {only}"
    assert bad["auc"] == {"value": None, "low": None, "high": None, "reason": only}
    assert bad["accuracy"]["value"] == (1.0 if method == "real" else 0.0)
    assert fine["auc"]["value"] is not None
    assert "lone.parquet" in text_of(evaluation)


def test_tables_that_cannot_be_read_are_named_and_the_rest_is_done(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no Parquet")
    (tmp_path / "empty.parquet").touch()
    broken = write(tmp_path / "broken.parquet", [row(0.5, "real", "v") | {"image": b"x"}])
    good = write(tmp_path / "good.parquet", noisy_rows())
    names = [tmp_path / "none.parquet", tmp_path / "text.parquet", tmp_path / "empty.parquet", broken, good]
    evaluation = evaluate(Brightness(), names, bootstrap=20)
    found = strict(evaluation)
    assert [item["table"] for item in found] == [str(name) for name in names]
    assert [item["error"] is None for item in found] == [False] * 4 + [True]
    assert all(str(name) in error for name, error in zip(names[:4], evaluation.errors, strict=True))
    assert all("\n" not in error for error in evaluation.errors)
    assert len(found[3]["skipped"]) == 1
    assert "none.parquet" in text_of(evaluation)


def test_a_real_detector_goes_through(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build_classifier("test_efficientnet", pretrained="none").state_dict()
    scorer = Scorer(make_card(), state, device="cpu", name="untrained")
    rng = np.random.default_rng(0)
    rows = [
        row(0, "swap" if number % 2 else "real", f"v{number}")
        | {"image": encoded(rng.integers(0, 256, (20 + number, 31, 3), dtype=np.uint8))}
        for number in range(70)
    ]
    seen: list[tuple[str, int, int]] = []
    path = write(tmp_path / "t.parquet", rows)
    evaluation = evaluate(scorer, [path], bootstrap=50, progress=lambda *step: seen.append(step))
    [found] = strict(evaluation)
    assert 0 < found["auc"]["low"] <= found["auc"]["value"] <= found["auc"]["high"] < 1
    assert found["protocol"]["detector"]["name"] == "untrained"
    assert seen == [(str(path), 64, 70), (str(path), 70, 70)]


def test_the_screen_shows_what_the_file_says(tmp_path: Path) -> None:
    evaluation = evaluate(Brightness(), [write(tmp_path / "t.parquet", noisy_rows())], bootstrap=20)
    [found] = strict(evaluation)
    text = text_of(evaluation)
    for level in ("video", "frame"):
        assert f"{found[level]['auc']['value']:.3f}" in text
    for name in ("t.parquet", "swap", "mouth", "c23", "c40", "AUC", "ECE"):
        assert name in text


def test_faces_are_found_and_cropped_again(tmp_path: Path) -> None:
    skimage_data = pytest.importorskip("skimage.data")
    portrait = skimage_data.astronaut()
    rows = [
        row(0, "real", "a") | {"image": encoded(portrait)},
        row(0, "swap", "b") | {"image": encoded(portrait[:300, 100:400])},
        row(0, "swap", "c") | {"image": encoded(np.full((200, 200, 3), 127, np.uint8))},
        row(0, "real", "d") | {"image": encoded(np.zeros((1, 1, 3), np.uint8))},
    ]
    scorer = Brightness()
    evaluation = evaluate(scorer, [write(tmp_path / "t.parquet", rows)], recrop=True, bootstrap=0)
    [found] = strict(evaluation)
    assert scorer.shapes == [(64, 64, 3)] * 2
    assert found["rows"] == 2
    assert found["no_face"] == 2
    assert [item["reason"] for item in found["skipped"]] == ["no face found"] * 2
    assert found["protocol"]["crop"]["from"] == "faces found by MTCNN, the largest"
    assert "2 without a face" in text_of(evaluation)
