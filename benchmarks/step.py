"""What a round of the game costs: images a second for plain training and every adversary, side by side in one run.

    python -m benchmarks.step [--threads 2] [--precision float32] [--json results/step.json]

The contenders take turns, round by round. An image is one row through the classifier: a round of B rows attacks the
second half of them (``adversarial = "split"``), so that every contender sees as many rows as plain training does.
All of them in the precision that training takes here. Beside them: plain training in float32, the same with torch's own
depthwise layers, and the two parts of the generator game that are not the classifier's, forward and backward on the
attacked half.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import Report, Works, arguments
from unmask.game import pixelwise_gaussian_blur
from unmask.game.adversaries import GeneratorBlur, build_adversary
from unmask.game.classifier import build_classifier
from unmask.game.depthwise_cpu import DepthwiseConv2d, DepthwiseConv2dSame
from unmask.game.round import Game, RoundConfig
from unmask.training.memory import keep_freed_memory
from unmask.training.players import precision_on

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


def contender(name: str, backbone: str, device: torch.device, precision: str) -> Game:
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
    config = RoundConfig(play=play, adversarial="split")  # type: ignore[arg-type]
    autocast = partial(torch.autocast, device.type, torch.bfloat16, precision == "bfloat16")
    return Game(classifier, adversary, optimiser, own, config, autocast=autocast)


def with_torchs_layers(game: Game) -> Game:
    """The same game on the layers as torch and timm have them."""
    for module in game.classifier.modules():
        if isinstance(module, DepthwiseConv2d | DepthwiseConv2dSame):
            module.__class__ = type(module).__mro__[1]
    return game


def parts(images: Tensor, precision: str) -> Works:
    """What the generator game does beside the classifier's work, on the half that is attacked."""
    attacked = images[: len(images) // 2]
    generator = GeneratorBlur("shared").to(images.device).generators["shared"]
    sigma = torch.full_like(attacked[:, :1], 0.5).requires_grad_()

    def blur() -> None:
        sigma.grad = None
        pixelwise_gaussian_blur(attacked, sigma, 3).sum().backward()

    def generate() -> None:
        generator.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, precision == "bfloat16"):
            drawn = generator(attacked)
        drawn.float().sum().backward()

    return {"its blur": blur, "its generator": generate}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128, help="side of the images, px")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if device.type == "cpu":
        keep_freed_memory()  # as training does

    images = torch.rand(options.batch, 3, options.size, options.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.tensor([0, 1] * (options.batch // 2), device=device)
    precision = precision_on(device, options.precision)
    setting = {"backbone": options.backbone, "size": options.size, "batch": options.batch, "precision": precision}
    report = Report("step", f"one round: {options.backbone}, {options.size} px", setting, options.device)
    games = {name: contender(name, options.backbone, device, precision) for name in options.only}
    works: Works = {name: partial(game.play, images, labels) for name, game in games.items()}
    if "plain" in games:
        wide = contender("plain", options.backbone, device, "float32")
        torchs = with_torchs_layers(contender("plain", options.backbone, device, "float32"))
        works["plain, float32"] = partial(wide.play, images, labels)
        works["plain, float32, torch's layers"] = partial(torchs.play, images, labels)
    game_of_parts = "shared generator, simultaneous"
    if game_of_parts in games:
        works |= parts(images, precision)
    report.time(works, turns=options.rounds)
    report.figures["images_per_second"] = {
        name: round(options.batch / report.times[name]["median"] * 1e3, 2) for name in games
    }
    if "plain" in games:
        for other in ("plain, float32", "plain, float32, torch's layers"):
            report.ratio(f"{other}/plain", other, "plain", better="higher")
    if game_of_parts in games:
        report.ratio("blur/generator game", "its blur", game_of_parts, better="lower")
        report.ratio("generator/generator game", "its generator", game_of_parts, better="lower")
    for name in games if "plain" in games else ():
        if name != "plain":
            report.ratio(f"{ALIASES.get(name, name)}/plain", name, "plain", better="lower")
    report.finish(options.json)


if __name__ == "__main__":
    main()
