"""What the networks of the game cost in arithmetic and memory: the same everywhere, and what docs/scale.md builds on.

    python -m benchmarks.cost [--json results/cost.json]

Operations are of one image by torch's own counter (multiply and add are two). The way back costs twice the way there:
one product like the forward's for the gradient of the input, one for that of the weights. (The counter's own figures
for backward take grouped convolutions for full ones, forty times too many.) The pixel-wise blur is no matrix product
and is left out: it is bound by memory, see blur.py.

Memory is what autograd keeps of one image for the way back, in float32, every tensor once; with checkpointing what
lies between the blocks, and the largest block, which is there while it is computed again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unmask.game.adversaries import GeneratorBlur
from unmask.game.classifier import Classifier, build_classifier

#: Backbone and side of its images, px: the laptop's, and the published ones.
SETTINGS = (
    ("tf_efficientnet_lite0", 128),
    ("tf_efficientnet_lite0", 224),
    ("tf_efficientnet_b3.ap_in1k", 256),
    ("tf_efficientnet_b5.ap_in1k", 256),
    ("tf_efficientnet_b7.ap_in1k", 256),
    ("legacy_xception", 299),
)
#: Images that are counted at once: batch normalisation needs two.
BATCH = 2


def flops(network: nn.Module, images: Tensor) -> float:
    """Floating point operations of one image on its way there; on the meta device nothing is computed."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() / len(images)


def kept(network: nn.Module, images: Tensor) -> dict[str, float]:
    """Bytes an image that autograd keeps: in all, and with checkpointed blocks where the network has blocks."""
    seen: set[int] = set()
    alive: list[Tensor] = []  # an address names a tensor only while that tensor is there
    place = "outside"
    bytes_at: dict[str, float] = {"outside": 0.0}
    parameters = {id(parameter) for parameter in network.parameters()}
    inputs = 0.0

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(tensor) not in parameters and storage._cdata not in seen:
            seen.add(storage._cdata)
            alive.append(tensor)
            bytes_at[place] = bytes_at.get(place, 0.0) + storage.nbytes()
        return tensor

    def enter(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            nonlocal place, inputs
            place = name
            inputs += arguments[0].numel() * arguments[0].element_size()

        return hook

    def leave(*_: Any) -> None:
        nonlocal place
        place = "outside"

    blocks: list[nn.Module] = []
    if isinstance(network, Classifier) and hasattr(network.backbone, "blocks"):
        blocks = [block for stage in network.backbone.blocks for block in stage]  # type: ignore[union-attr]
    hooks = [block.register_forward_pre_hook(enter(str(number))) for number, block in enumerate(blocks)]
    hooks += [block.register_forward_hook(leave) for block in blocks]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = network(images)
    for hook in hooks:
        hook.remove()
    del out
    result = {"all": sum(bytes_at.values()) / len(images)}
    if blocks:
        inside = [amount for name, amount in bytes_at.items() if name != "outside"]
        result["checkpointed"] = (bytes_at["outside"] + inputs + max(inside)) / len(images)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    networks: list[tuple[str, int, nn.Module]] = [(name, size, build_classifier(name)) for name, size in SETTINGS]
    for name, generator in (("light", GeneratorBlur("shared")), ("published", GeneratorBlur.published("shared"))):
        networks += [(f"{name} generator", size, generator.generators["shared"]) for size in (128, 256)]
    table = Table("network", "px", "GFLOP there", "and back", "MB kept", "checkpointed", "parameters")
    found = []
    for name, size, network in networks:
        network.to("meta").train()
        images = torch.empty(BATCH, 3, size, size, device="meta")
        forward, memory = flops(network, images), kept(network, images)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        found.append({"network": name, "size": size, "flop": forward, "bytes_kept": memory, "parameters": parameters})
        less = f"{memory['checkpointed'] / 1e6:.0f}" if "checkpointed" in memory else "-"
        row = (
            f"{forward / 1e9:.2f}",
            f"{3 * forward / 1e9:.2f}",
            f"{memory['all'] / 1e6:.0f}",
            less,
            f"{parameters:,}",
        )
        table.add_row(name, str(size), *row)
    Console(width=110).print(table)
    if options.json:
        options.json.write_text(json.dumps({"torch": str(torch.__version__), "an image": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
