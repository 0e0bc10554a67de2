"""GAT: generators predict the pixel-wise blur that hides the artefacts best (the paper's min-max over D and G)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.game.adversaries.base import Adversary, Attack
from unmask.game.adversaries.sigma import checked_kernel_size, quantiles
from unmask.game.blur import pixelwise_gaussian_blur

#: Levels at which the played sigma is described: evenly spaced, as :class:`RandomBlur` takes its distribution.
SIGMA_LEVELS = tuple(round(0.05 * level, 2) for level in range(21))


class LightGenerator(nn.Module):
    """Predicts a map of logits at a quarter of the resolution: about 24,000 parameters at width 32.

    Blur strength varies slowly over a face, and artefacts are judged over several pixels: what is lost at a
    quarter of the resolution is small beside a sixteenth of the cost. A noise channel lets the same image be
    blurred in many ways, so that the classifier cannot learn one answer by heart.

    Args:
        width: channels inside.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        # Differences of neighbouring pixels carry the artefacts: 4 x 4 patches keep them all, pooling would not.
        self.patches = nn.PixelUnshuffle(4)
        self.entry = nn.Conv2d(3 * 16 + 1, width, 1)
        self.body = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate") for _ in range(2)])
        self.exit = nn.Conv2d(width, 1, 3, padding=1, padding_mode="replicate")

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, 1, H, W)."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % 4, 0, -height % 4), mode="replicate")
        # Brightness and skin tone say nothing about artefacts, and would set the strength of an untrained generator.
        patches = self.patches(padded - padded.mean(dim=(2, 3), keepdim=True)) * 4
        noise = torch.randn_like(patches[:, :1])
        hidden = F.leaky_relu(self.entry(torch.cat([patches, noise], dim=1)), 0.1)
        for layer in self.body:
            hidden = hidden + F.leaky_relu(layer(hidden), 0.1)
        coarse = self.exit(hidden)
        return F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)[..., :height, :width]


class PublishedGenerator(nn.Module):
    """The published ResNet generator: 7x7 conv, two stride-2 convs, residual blocks, two up-convs, 7x7 conv.

    Width 64 and three blocks make 4.3 M parameters, about thirty times the cost of EfficientNet-Lite0.
    """

    def __init__(self, width: int = 64, blocks: int = 3) -> None:
        super().__init__()

        def block(inside: int, outside: int, kernel: int, stride: int = 1) -> list[nn.Module]:
            conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, padding_mode="reflect", bias=False)
            return [conv, nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]

        def up(inside: int, outside: int) -> list[nn.Module]:
            conv = nn.ConvTranspose2d(inside, outside, 3, 2, 1, output_padding=1, bias=False)
            return [conv, nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]

        self.down = nn.Sequential(
            *block(3, width, 7), *block(width, 2 * width, 3, 2), *block(2 * width, 4 * width, 3, 2)
        )
        self.blocks = nn.ModuleList(
            [nn.Sequential(*block(4 * width, 4 * width, 3), *block(4 * width, 4 * width, 3)[:2]) for _ in range(blocks)]
        )
        self.up = nn.Sequential(*up(4 * width, 2 * width), *up(2 * width, width))
        self.exit = nn.Conv2d(width, 1, 7, padding=3, padding_mode="reflect")

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to an unbounded map (B, 1, H, W)."""
        height, width = images.shape[-2:]
        hidden = self.down(F.pad(images * 2 - 1, (0, -width % 4, 0, -height % 4), mode="replicate"))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.exit(self.up(hidden))[..., :height, :width]


class GeneratorBlur(Adversary):
    """The blur adversary that learns: one generator for all images, or one for reals and one for fakes.

    Args:
        generators: ``shared``, one for both; ``two``, one for reals and one for fakes (the paper's best);
            ``real`` or ``fake``, one that plays on that class alone and leaves the other as it is.
        sigma_max: bound of sigma, px; the kernel size follows from it unless given.
        sigma_start: mean sigma of the untrained generator, px.
        spread_start: standard deviation of the untrained generator's logits around that mean.
        parametrisation: ``sigmoid``, sigma = sigma_max * sigmoid(logit), which keeps a gradient everywhere;
            ``precision``, the published reading: 1 / sigma^2 = max(output^2, 1), so sigma <= 1 px, and no
            gradient where the clamp holds.
        architecture: ``light`` or ``published``.
        width: channels of the generator; None takes the architecture's own.
        guard: weight of the barrier that keeps sigma off both bounds (sigmoid only), see :meth:`barrier`.
    """

    learns = True

    def __init__(
        self,
        generators: Literal["shared", "two", "real", "fake"] = "two",
        sigma_max: float = 1.0,
        kernel_size: int | None = None,
        *,
        sigma_start: float = 0.5,
        spread_start: float = 1.0,
        parametrisation: Literal["sigmoid", "precision"] = "sigmoid",
        architecture: Literal["light", "published"] = "light",
        width: int | None = None,
        guard: float = 0.05,
    ) -> None:
        super().__init__()
        for name, value, allowed in (
            ("generators", generators, ("shared", "two", "real", "fake")),
            ("parametrisation", parametrisation, ("sigmoid", "precision")),
            ("architecture", architecture, ("light", "published")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is one of {', '.join(map(repr, allowed))}, got {value!r}")
        if not 0 < sigma_start < sigma_max:
            raise ValueError(f"need 0 < sigma_start < sigma_max, got {sigma_start} and {sigma_max}")
        if parametrisation == "precision" and sigma_max != 1.0:
            raise ValueError("the published precision map bounds sigma by 1 px: sigma_max must be 1")
        self.sigma_max = sigma_max
        self.kernel_size = checked_kernel_size(kernel_size, sigma_max)
        self.parametrisation = parametrisation
        self.guard = guard
        names = {"two": ("real", "fake")}.get(generators, (generators,))
        build = LightGenerator if architecture == "light" else PublishedGenerator
        self.generators = nn.ModuleDict({name: build(width) if width else build() for name in names})
        if parametrisation == "sigmoid":
            first, *others = self.generators.values()
            _start_at(first, sigma_start / sigma_max, spread_start)
            for other in others:
                # Two players start alike: a strength that differs by class would give the label away.
                other.load_state_dict(first.state_dict())

    @classmethod
    def published(cls, generators: Literal["shared", "two"] = "two") -> GeneratorBlur:
        """The published run: the heavy generator, a precision map clamped at 1, a 3x3 kernel."""
        return cls(generators, 1.0, 3, parametrisation="precision", architecture="published", guard=0.0)

    def sigma(self, images: Tensor, labels: Tensor) -> Tensor:
        """The map each image gets: (B, 1, H, W) in pixels, differentiable in the generators' parameters."""
        if "shared" in self.generators:
            return self._bounded(self.generators["shared"](images))
        sigma = images.new_zeros(images.shape[0], 1, *images.shape[-2:])
        for name, generator in self.generators.items():
            rows = torch.nonzero((labels > 0) == (name == "fake")).flatten()
            if len(rows):
                sigma = sigma.index_copy(0, rows, self._bounded(generator(images[rows])).to(sigma.dtype))
        return sigma

    def perturb(self, images: Tensor, labels: Tensor, classifier: nn.Module) -> Attack:
        sigma = self.sigma(images, labels)
        return Attack(pixelwise_gaussian_blur(images, sigma, self.kernel_size), sigma)

    def barrier(self, played: Tensor) -> Tensor:
        """The guard against collapse, a scalar: 0 for sigma at half its bound, growing towards both bounds.

        -mean log(4 p (1 - p)) with p = sigma / sigma_max. The classifier's loss alone pulls the map to "no blur"
        (where the classifier fits the blurred fakes best, early on) or to the bound; both end the game. It grows, and
        leads back, up to logits of 15 either way: soon after, sigma is at its bound in single precision.
        """
        nearest = torch.finfo(torch.float32).eps / 2
        share = (played / self.sigma_max).clamp(nearest, 1 - nearest)
        return -self.guard * torch.log(4 * share * (1 - share)).mean()

    def _bounded(self, output: Tensor) -> Tensor:
        # In bfloat16 a sigmoid is 1 from 6.25 on, and a pixel at the bound would have no gradient that leads it back.
        output = output.float()
        if self.parametrisation == "sigmoid":
            return self.sigma_max * torch.sigmoid(output)
        return output.square().clamp(min=1.0).rsqrt()


def _start_at(generator: nn.Module, share: float, spread: float) -> None:
    """Set the output layer so that an untrained map has mean ``share`` of the bound and logits of the given spread."""
    exit_layer = generator.exit
    assert isinstance(exit_layer, nn.Conv2d)
    assert exit_layer.bias is not None

    def probe() -> Tensor:
        return generator(F.interpolate(torch.rand(8, 3, 16, 16), size=(64, 64), mode="bilinear", align_corners=False))

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # torch.manual_seed would seed the GPUs' as well, which are not forked
        exit_layer.bias.zero_()
        exit_layer.weight.mul_(spread / probe().std())
        exit_layer.bias.fill_(torch.logit(torch.tensor(share)).item() - probe().mean().item())


def describe_sigma(sigma: Tensor, labels: Tensor) -> dict[str, dict[str, float]]:
    """Mean, spread and quantiles of sigma, px, for reals and fakes: what shows a collapse or a label given away.

    The quantiles ``q00`` to ``q100`` are also what a random control of equal strength draws from.
    """
    report = {}
    for name, rows in (("real", labels == 0), ("fake", labels > 0)):
        values = sigma[rows].detach().float().flatten()
        if values.numel():
            found = quantiles(values, len(SIGMA_LEVELS)).tolist()
            report[name] = {"mean": values.mean().item(), "std": values.std(correction=0).item()}
            report[name] |= {f"q{round(100 * level):02d}": q for level, q in zip(SIGMA_LEVELS, found, strict=True)}
    return report
