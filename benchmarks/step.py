"""What a round of the game costs: images a second for plain training and every adversary, side by side in one run.

    python -m benchmarks.step [--threads 2] [--json results/step.json]

The contenders take turns, round by round. An image is one row through the classifier: a round of B rows attacks the
second half of them (``adversarial = "split"``), so that every contender sees as many rows as plain training does.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.measure import Report, arguments
from unmask.game.adversaries import build_adversary
from unmask.game.classifier import build_classifier
from unmask.game.round import Game, RoundConfig
from unmask.training.memory import keep_freed_memory

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

#: The contenders that the recipes name, as the ratios call them.
ALIASES = {
    "shared generator, simultaneous": "generator game",
    "blur by gradient, 1 step": "gradient-blur game",
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
    parser = arguments(__doc__)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128, help="side of the images, px")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if device.type == "cpu":
        keep_freed_memory()  # as training does

    images = torch.rand(options.batch, 3, options.size, options.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.tensor([0, 1] * (options.batch // 2), device=device)
    setting = {"backbone": options.backbone, "size": options.size, "batch": options.batch}
    report = Report("step", f"one round: {options.backbone}, {options.size} px", setting, options.device)
    games = {name: contender(name, options.backbone, device) for name in options.only}
    report.time({name: partial(game.play, images, labels) for name, game in games.items()}, turns=options.rounds)
    report.figures["images_per_second"] = {
        name: round(options.batch / figures["median"] * 1e3, 2) for name, figures in report.times.items()
    }
    for name in games if "plain" in games else ():
        if name != "plain":
            report.ratio(f"{ALIASES.get(name, name)}/plain", name, "plain", better="lower")
    report.finish(options.json)


if __name__ == "__main__":
    main()
