"""What a protocol is: who trains on what, who is tested on what, with which seeds; one TOML file.

Scopes of a test cell, named after Celeb-DF++ (arXiv 2507.18015), for a run trained on one manipulation at one quality:

    in-domain   the manipulation it was trained on, at the training quality, of the training data set
    Q           the same manipulation at a quality never trained on
    GF          a manipulation never trained on, at the training quality
    GFQ         a manipulation and a quality never trained on
    GFD         another data set, whatever the manipulation and quality

Where a run is trained on several manipulations at once (``"face-swap+reenact"``), none of them is unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter
from typing import Literal, get_args

from unmask.errors import UnmaskError
from unmask.training.recipe import Recipe, build, read_based, read_recipe

#: What a quick version changes in every run: enough to go through everything, nothing to learn from.
QUICK = (
    "run.steps=3",
    "run.log_every=1",
    "run.validate_every=3",
    "optimiser.warmup_steps=1",
    "data.batch_size=8",
    "data.size=64",
)

Scope = Literal["in-domain", "Q", "GF", "GFQ", "GFD"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class Method:
    """One way to train. ``set`` holds ``section.key=value`` strings, as ``unmask train --set`` takes them.

    Attributes:
        name: what tables call it.
        role: ``plain``, the baseline of every gain; ``control``; ``game``; or ``other``.
        matched: the name of a blur game whose sigma this control draws from, run for run (same training, same seed).
        match: ``apart`` draws reals and fakes from their own distributions, ``pooled`` from one.
        control: the name of the control of equal strength that this game is held against.
    """

    name: str
    role: Literal["plain", "control", "game", "other"]
    set: tuple[str, ...] = ()
    matched: str = ""
    match: Literal["apart", "pooled"] = "apart"
    control: str = ""


@dataclass(frozen=True)
class Training:
    """What runs are trained on: one run for each manipulation, method and seed.

    Attributes:
        manipulations: each takes its turn; several joined by ``+`` are trained on together.
        tables, validation: face tables below the data folder; ``{manipulation}`` stands for the one whose turn it is,
            and a name that has it for as many tables as are trained on together.
        dataset, quality: what the tables hold, so that a test cell knows what is unseen.
    """

    manipulations: tuple[str, ...]
    tables: tuple[str, ...]
    validation: tuple[str, ...]
    dataset: str
    quality: str = "source"

    def __post_init__(self) -> None:
        if not self.manipulations or not self.tables or not self.validation:
            raise ValueError("training: manipulations, tables and validation must each name something")
        for pattern in (*self.tables, *self.validation):
            _check_pattern(pattern, {"manipulation"})


@dataclass(frozen=True)
class TestSet:
    """What runs are tested on: every manipulation at every quality, against the reals at the same quality.

    Attributes:
        dataset: its name; another one than that of the training makes every cell GFD.
        tables: a face table below the data folder, with ``{manipulation}`` and ``{quality}``; fakes where the
            manipulation is named, reals where it is ``real``. A name without ``{manipulation}`` is one table of all:
            its reals, and the fakes whose method is the manipulation.
        real: what stands for ``{manipulation}`` in the name of the table of reals.
        every: take one in so many components, by a hash, the same ones in every table; for large tables.
        recrop: the images are no crops yet: find the largest face of each and crop it by the detector's recipe.
            Images without a face are left out.
    """

    __test__ = False  # pytest takes a class of this name for a test

    dataset: str
    manipulations: tuple[str, ...]
    qualities: tuple[str, ...]
    tables: str
    real: str = "real"
    every: int = 1
    recrop: bool = False

    def __post_init__(self) -> None:
        if not self.manipulations or not self.qualities:
            raise ValueError(f"tests of {self.dataset!r}: manipulations and qualities must each name something")
        _check_pattern(self.tables, {"manipulation", "quality"})
        if self.every < 1:
            raise ValueError(f"tests of {self.dataset!r}: every is at least 1, got {self.every}")


@dataclass(frozen=True)
class Cell:
    """One test: fakes of one manipulation against the reals, at one quality."""

    dataset: str
    manipulation: str
    quality: str

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.manipulation}/{self.quality}"


@dataclass(frozen=True)
class Run:
    """One training: what it is called is also its folder. ``manipulation`` may be several, joined by ``+``."""

    manipulation: str
    method: str
    seed: int

    @property
    def trained_on(self) -> tuple[str, ...]:
        return tuple(self.manipulation.split("+"))

    @property
    def name(self) -> str:
        return f"{self.manipulation}/{self.method}/seed{self.seed}"


@dataclass(frozen=True)
class Protocol:
    """A whole comparison.

    Attributes:
        name: of the comparison.
        recipe: the recipe all methods share, a path relative to the protocol file.
        seeds: every method is trained once from each.
        claim: what the numbers may be used for: ``choose`` (validation data only) or ``report``.
        set: overrides for all methods, before their own.
        best: the game that the claim is made for, chosen before the first test score.
    """

    name: str
    recipe: str
    seeds: tuple[int, ...]
    training: Training
    tests: tuple[TestSet, ...]
    methods: tuple[Method, ...]
    claim: Literal["choose", "report"] = "report"
    set: tuple[str, ...] = ()
    best: str = ""
    folder: str = "."

    def __post_init__(self) -> None:
        if not self.seeds or not self.tests or not self.methods:
            raise ValueError("seeds, tests and methods must each name something")
        for what, given in (("seeds", self.seeds), ("manipulations", self.training.manipulations)):
            if len(set(given)) != len(given):
                # The same run twice is no further run, and would narrow every interval.
                raise ValueError(f"{what} names one twice: {', '.join(map(str, given))}")
        sets = [test.dataset for test in self.tests]
        if len(set(sets)) != len(sets) or any("/" in name for name in sets):
            raise ValueError(f"each of tests has a dataset of its own, without '/': {', '.join(sets)}")
        names = [method.name for method in self.methods]
        if len(set(names)) != len(names):
            raise ValueError("a method is named twice")
        if sum(method.role == "plain" for method in self.methods) != 1:
            raise ValueError("exactly one method has the role 'plain': every gain is measured against it")
        for method in self.methods:
            for other in filter(None, (method.matched, method.control)):
                if other not in names:
                    raise ValueError(f"method {method.name!r} refers to {other!r}, which is not there")
            if method.matched and self.method(method.matched).matched:
                # Its sigma would be known only after its own; the log that is matched to must be a game's.
                raise ValueError(f"method {method.name!r} is matched to {method.matched!r}, which is itself matched")
        if self.best and (self.best not in names or not self.method(self.best).control):
            raise ValueError(f"best = {self.best!r} must name a method that names its control")

    def runs(self) -> list[Run]:
        """Every run, seed by seed, so that a comparison stopped half-way is complete for the first seeds."""
        return [
            Run(manipulation, method.name, seed)
            for seed in self.seeds
            for manipulation in self.training.manipulations
            for method in self.methods
        ]

    def game_of(self, run: Run) -> Run | None:
        """The run of the game that a run's method is matched to: it goes first. None if it is matched to none."""
        matched = self.method(run.method).matched
        return Run(run.manipulation, matched, run.seed) if matched else None

    def quick(self) -> Protocol:
        """The same in minutes: one training set, two seeds, three rounds a run, two qualities, an eighth of the rows.

        It shows that everything is there and works; its numbers mean nothing, so it makes no claim to report.
        """
        return replace(
            self,
            claim="choose",
            seeds=self.seeds[:2],
            training=replace(self.training, manipulations=self.training.manipulations[:1]),
            tests=tuple(replace(test, qualities=test.qualities[:2], every=8 * test.every) for test in self.tests),
            methods=tuple(replace(method, set=(*method.set, *QUICK)) for method in self.methods),
        )

    def method(self, name: str) -> Method:
        return next(method for method in self.methods if method.name == name)

    @property
    def plain(self) -> Method:
        return next(method for method in self.methods if method.role == "plain")

    def cells(self) -> Iterator[Cell]:
        """Every test cell, in the order of the file."""
        for test in self.tests:
            for manipulation in test.manipulations:
                for quality in test.qualities:
                    yield Cell(test.dataset, manipulation, quality)

    def tables_of(self, cell: Cell) -> tuple[str, str]:
        """Names of the table of reals and of fakes of a cell: ``dataset/manipulation or real/quality``."""
        real = next(test.real for test in self.tests if test.dataset == cell.dataset)
        return f"{cell.dataset}/{real}/{cell.quality}", cell.name

    def scope(self, run: Run, cell: Cell) -> Scope:
        """What a cell says about a run, see the head of this file."""
        if cell.dataset != self.training.dataset:
            return "GFD"
        if cell.manipulation in run.trained_on:
            return "in-domain" if cell.quality == self.training.quality else "Q"
        return "GF" if cell.quality == self.training.quality else "GFQ"

    def recipe_of(self, run: Run, data: Path, extra: Sequence[str] = ()) -> Recipe:
        """The recipe of one run, with its tables below ``data``."""

        def tables(patterns: Sequence[str]) -> str:
            names = [pattern.format(manipulation=each) for pattern in patterns for each in run.trained_on]
            paths = [data / name for name in dict.fromkeys(names)]  # a table of reals is named once
            return "[" + ", ".join(f"'{path}'" for path in paths) + "]"

        training = self.training
        overrides = [
            f"data.train={tables(training.tables)}",
            f"data.validation={tables(training.validation)}",
            f"run.seed={run.seed}",
            *self.set,
            *self.method(run.method).set,
            *extra,
        ]
        return read_recipe(Path(self.folder) / self.recipe, overrides)


def _check_pattern(pattern: str, names: set[str]) -> None:
    """Refuse a name of tables with anything but these names in braces."""
    try:
        found = {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}
    except ValueError as error:
        raise ValueError(f"tables {pattern!r}: {error}") from error
    if found - names:
        known = " and ".join(f"{{{name}}}" for name in sorted(names))
        raise ValueError(f"tables {pattern!r}: only {known} stand for something")


def read_protocol(path: str | Path, *, quick: bool = False) -> Protocol:
    """Read a protocol file; ``quick`` gives its quick version (:meth:`Protocol.quick`).

    A protocol may name another one that it goes by, see :func:`unmask.training.recipe.read_based`.

    Raises:
        UnmaskError: it cannot be read, or a key or value does not fit; the message names it.
    """
    content = read_based(Path(path), "protocol")
    if "folder" in content:
        raise UnmaskError(path, "unknown key 'folder'")
    protocol = build(Protocol, {**content, "folder": str(Path(path).parent)}, str(path))
    for method in protocol.methods:  # a mistyped override is found now, not after hours
        protocol.recipe_of(Run(protocol.training.manipulations[0], method.name, protocol.seeds[0]), Path())
    return protocol.quick() if quick else protocol
