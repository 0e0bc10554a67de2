"""What a round of the game costs: images a second for plain training and every adversary, side by side in one run.

    python benchmarks/step.py [--json results/step.json]

The contenders take turns, round by round, so that whatever else the machine does falls on all of them alike; the
ratios are of medians. An image is one row through the classifier: a round of B rows attacks the second half of them
(``adversarial = "split"``), so that every contender sees as many rows as plain training does.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from unmask.game.adversaries import build_adversary
from unmask.game.classifier import build_classifier
from unmask.game.round import Game, RoundConfig

#: name -> (adversary, options, play)
CONTENDERS: dict[str, tuple[str, dict[str, object], str]] = {
    "plain": ("plain", {}, "alternating"),
    "random blur": ("random-blur", {}, "alternating"),
    "random noise": ("random-noise", {}, "alternating"),
    "random frequency mask": ("random-frequency-mask", {}, "alternating"),
    "FGSM noise": ("noise", {}, "alternating"),
    "PGD noise, 3 steps": ("noise", {"steps": 3}, "alternating"),
    "flow, 1 step": ("flow", {}, "alternating"),
    "kernel by gradient, 1 step": ("kernel", {}, "alternating"),
    "blur by gradient, 1 step": ("blur-gradient", {}, "alternating"),
    "blur by gradient, published rule": ("blur-gradient-published", {}, "alternating"),
    "shared generator, alternating": ("blur-generator", {"generators": "shared"}, "alternating"),
    "shared generator, simultaneous": ("blur-generator", {"generators": "shared"}, "simultaneous"),
    "two generators, alternating": ("blur-generator", {"generators": "two"}, "alternating"),
    "two generators, simultaneous": ("blur-generator", {"generators": "two"}, "simultaneous"),
    "published generator, simultaneous": ("blur-generator-published", {"generators": "two"}, "simultaneous"),
}


def contender(name: str, backbone: str, device: torch.device) -> Game:
    """A game ready to be played, its classifier and adversary untrained."""
    adversary_name, options, play = CONTENDERS[name]
    torch.manual_seed(0)
    classifier = build_classifier(backbone).to(device, memory_format=torch.channels_last).train()
    adversary = build_adversary(adversary_name, options)
    own = None
    if adversary is not None:
        adversary.to(device)
        own = torch.optim.Adam(adversary.parameters(), 1e-4) if adversary.learns else None
    optimiser = torch.optim.AdamW(classifier.parameters(), 1e-4, fused=True)
    return Game(classifier, adversary, optimiser, own, RoundConfig(play=play, adversarial="split"))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128, help="side of the images, px")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)

    images = torch.rand(options.batch, 3, options.size, options.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.tensor([0, 1] * (options.batch // 2), device=device)
    games = {name: contender(name, options.backbone, device) for name in options.only}
    seconds: dict[str, list[float]] = {name: [] for name in games}
    for turn in range(options.rounds + 1):
        for name, game in games.items():
            start = time.perf_counter()
            game.play(images, labels)
            if device.type == "cuda":
                torch.cuda.synchronize()
            # The first turn compiles kernels and fills caches.
            if turn:
                seconds[name].append(time.perf_counter() - start)

    median = {name: statistics.median(times) for name, times in seconds.items()}
    table = Table("game", "images/s", "time, plain = 1", "spread", title=f"{options.backbone}, {options.size} px")
    for name, times in seconds.items():
        ratio = f"{median[name] / median['plain']:.2f}" if "plain" in median else "-"
        spread = f"{min(times) / median[name]:.2f} - {max(times) / median[name]:.2f}"
        table.add_row(name, f"{options.batch / median[name]:.1f}", ratio, spread)
    Console().print(table)
    if options.json:
        content = {
            "machine": {"processor": platform.processor() or platform.machine(), "threads": options.threads},
            "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
            "setting": {"backbone": options.backbone, "size": options.size, "batch": options.batch},
            "seconds": {name: {"median": median[name], "all": times} for name, times in seconds.items()},
            "images_per_second": {name: round(options.batch / median[name], 2) for name in seconds},
        }
        if "plain" in median:
            content["ratios"] = {f"{name}/plain": round(median[name] / median["plain"], 3) for name in seconds}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
