"""The recipe of a training run: dataclasses beside what they configure, read from TOML, overridden by ``--set``."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from unmask.data.augment import Augmentation
from unmask.data.batches import Pairing
from unmask.data.table import BUFFER_MB
from unmask.errors import UnmaskError
from unmask.faces.crop import CropRecipe
from unmask.game.round import RoundConfig

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on."""

    #: Face tables (Parquet files or folders) to train on, and to choose by; relative to where the command runs.
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    #: Rows of these splits only; an empty name takes all rows.
    train_split: str = ""
    validation_split: str = ""
    classes: tuple[str, ...] = ("real", "fake")
    #: Side of the images, px.
    size: int = 224
    #: Rows a step over all processes.
    batch_size: int = 32
    #: ``paired`` puts beside each fake the real it was made from, ``aligned`` also augments the two alike.
    pairing: Pairing = "balanced"
    #: Share of the fakes that are made while training, of the reals beside them: self-blended images, arXiv 2204.08376;
    #: with 1 the tables need no fakes. Their reals need landmarks.
    self_blend: float = 0.0
    #: Loader threads; 0 decodes in the training loop itself.
    workers: int = 1
    #: Leave the images on disk and fetch them as they come up. Unset: if there are more than ``buffer_mb`` of them.
    streaming: bool | None = None
    #: Encoded images of a streamed table kept in memory, MiB; a quarter of it is what rows are shuffled within.
    buffer_mb: int = BUFFER_MB
    #: Decoded crops kept in memory, MiB, so that they are decoded once: for small tables, above all of PNG.
    cache_mb: int = 0
    #: How the crops of these tables lie round a face: it travels in the detector file.
    crop: CropRecipe = field(default_factory=CropRecipe)

    def __post_init__(self) -> None:
        if not isinstance(self.streaming, bool | None):
            raise ValueError(f"data.streaming is true, false or not given, got {self.streaming!r}")
        if self.size < 8 or self.batch_size < 2:
            raise ValueError(f"data: size >= 8 and batch_size >= 2 are needed, got {self.size} and {self.batch_size}")
        if not 0 <= self.self_blend <= 1:
            raise ValueError(f"data.self_blend is a share in [0, 1], got {self.self_blend}")
        if self.workers < 0 or self.cache_mb < 0 or self.buffer_mb < 1:
            raise ValueError("data: workers >= 0, cache_mb >= 0 and buffer_mb >= 1 are needed")


@dataclass(frozen=True)
class ModelConfig:
    """The classifier."""

    backbone: str = "tf_efficientnet_lite0"
    #: ``auto``, ``hub``, ``wheel``, ``none``, the path of a weight file, or the folder of a detector to go on from.
    pretrained: str = "auto"
    dropout: float = 0.2
    drop_path: float = 0.0
    #: A second set of BatchNorms for adversarial samples (AdvProp).
    auxiliary_norm: bool = False
    #: BatchNorm statistics over all processes of a distributed run.
    process_norm: bool = False
    #: Blocks are computed again on the way back instead of kept: far less memory for a third more time.
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1 or not 0 <= self.drop_path < 1:
            raise ValueError("model: 0 <= dropout < 1 and 0 <= drop_path < 1 are needed")


@dataclass(frozen=True)
class AdversaryConfig:
    """The other player: its name, and the keyword arguments of its class."""

    name: str = "blur-generator"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimiserConfig:
    """How both players learn."""

    name: Literal["adamw", "radam"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    #: Learning rate of an adversary that learns (Adam, no decay).
    adversary_lr: float = 2e-3
    #: ``cosine`` falls to ``final`` of the rate at the last step; ``step`` multiplies by .1 every ``step_every`` steps.
    schedule: Literal["cosine", "step"] = "cosine"
    warmup_steps: int = 100
    final: float = 0.01
    step_every: int = 15_000
    #: Decay of the averaged weights that are validated and shipped; 0 switches averaging off.
    ema: float = 0.998

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf or not 0 < self.adversary_lr < math.inf or not 0 <= self.weight_decay < math.inf:
            raise ValueError("optimiser: lr > 0, adversary_lr > 0 and weight_decay >= 0 are needed, all of them finite")
        if not 0 <= self.ema < 1 or not 0 <= self.final <= 1 or self.warmup_steps < 0:
            raise ValueError("optimiser: 0 <= ema < 1, 0 <= final <= 1 and warmup_steps >= 0 are needed")
        if self.step_every < 1:
            raise ValueError(f"optimiser.step_every is at least 1, got {self.step_every}")


@dataclass(frozen=True)
class RunConfig:
    """How long, from which seed, on what."""

    steps: int = 1000
    seed: int = 0
    #: ``auto`` takes a CUDA device if there is one.
    device: str = "auto"
    #: ``auto`` is bfloat16 where the device multiplies it itself (CUDA; a CPU with AVX512-BF16 or AMX), else float32.
    #: Weights, their sums of gradients and batch statistics are float32 either way.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    log_every: int = 20
    validate_every: int = 500
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        if min(self.steps, self.log_every, self.validate_every) < 1:
            raise ValueError("run: steps, log_every and validate_every are at least 1")
        if not 0 <= self.seed < 2**63 or not self.checkpoint_minutes >= 0:
            raise ValueError("run: a seed from 0 to 2^63 - 1 and checkpoint_minutes >= 0 are needed")


@dataclass(frozen=True)
class CardConfig:
    """What the detector file says of itself beyond what the run knows."""

    name: str = "unnamed"
    licence: str = "unstated"
    intended_use: str = "unstated"
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A whole training run. Every field has a default but the tables."""

    data: DataConfig = field(default_factory=DataConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    model: ModelConfig = field(default_factory=ModelConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    game: RoundConfig = field(default_factory=RoundConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    run: RunConfig = field(default_factory=RunConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def read_recipe(path: str | Path, overrides: typing.Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe.

    A recipe may name another one that it goes by, see :func:`read_based`; ``[adversary]`` is replaced as a whole.

    Args:
        path: the file; its sections and keys are the fields of :class:`Recipe`.
        overrides: ``section.key=value`` strings, the value in TOML syntax (a bare word is taken as text).

    Raises:
        UnmaskError: the file cannot be read, or a key or value does not fit; the message names it.
    """
    # Options of one player mean nothing to another.
    content = read_based(Path(path), "recipe", whole=("adversary",))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise UnmaskError(f"--set {override}", "expected section.key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise UnmaskError(f"--set {override}", f"{section} is a value, not a section")
        place[last] = value
    return build(Recipe, content, str(path))


def read_based(
    path: Path, kind: str, whole: typing.Container[str] = (), above: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """What a TOML file says together with the one that it goes by: ``base = "FILE"``, relative to its own folder.

    What it says itself takes the place of what that one says, in sections key by key.

    Args:
        path: the file; errors call it a ``kind``.
        kind: ``recipe`` or ``protocol``.
        whole: sections that it replaces as a whole.
        above: the files that led here.
    """
    content = _read_toml(path, kind)
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise UnmaskError(path, f"base: expected the name of a {kind}, got {base!r}")
    trail = (*above, path.resolve())
    if (path.parent / base).resolve() in trail:
        raise UnmaskError(path, f"base: {base} is based on this {kind} itself")
    merged = read_based(path.parent / base, kind, whole, trail)
    for name, section in content.items():
        both = isinstance(section, dict) and isinstance(merged.get(name), dict) and name not in whole
        merged[name] = {**merged[name], **section} if both else section
    return merged


def _read_toml(path: Path, kind: str) -> dict[str, Any]:
    """What a TOML file says; an error calls it a ``kind``."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError) as error:  # no TOML, or no UTF-8
        raise UnmaskError(path, f"cannot read this {kind} ({error})") from error


def build(kind: type[T], content: Any, where: str) -> T:
    """A dataclass from plain values, checked against its annotations; errors name ``where`` and the key."""
    if not isinstance(content, dict):
        raise UnmaskError(where, f"expected a section, got {content!r}")
    hints = typing.get_type_hints(kind)
    fields = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in content.items():
        if key not in fields:
            raise UnmaskError(where, f"unknown key {key!r}, expected one of {', '.join(sorted(fields))}")
        values[key] = _checked(hints[key], value, f"{where}: {key}")
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        if each.name not in values and each.default is each.default_factory is dataclasses.MISSING:
            raise UnmaskError(where, f"{each.name} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise UnmaskError(where, str(error)) from error


def _checked(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise UnmaskError(where, f"expected one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        if Ellipsis not in arguments and len(items) != len(arguments):
            raise UnmaskError(where, f"expected {len(arguments)} values, got {value!r}")
        return tuple(_checked(arguments[0], item, where) for item in items)
    if origin is types.UnionType:
        return value
    wanted = origin or hint
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        raise UnmaskError(where, f"expected {wanted.__name__}, got {value!r}")
    return value
