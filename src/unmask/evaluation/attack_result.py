"""What attacks did to a detector: dataclasses, their JSON, and a table for the screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unmask.evaluation.bootstrap import Estimate
from unmask.evaluation.result import with_interval

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Outcome:
    """The detector on the same rows, clean or attacked in one way.

    Attributes:
        rows: how many were measured.
        metrics: ``auc``, ``accuracy``, ``fakes_called_real`` and ``reals_called_fake`` (at the card's threshold), each
            with its interval.
        loss: mean cross entropy of real against fake, nats, before calibration.
        loss_change: the same less that of the clean rows.
        psnr: mean over rows against the clean images, dB, as the classifier sees them; None for the clean rows.
        sigma: mean sigma of a blur, px; None where nothing is blurred.
    """

    rows: int
    metrics: dict[str, Estimate]
    loss: float
    loss_change: float
    psnr: float | None = None
    sigma: float | None = None

    def to_json(self) -> dict[str, Any]:
        """One flat object."""
        figures = {name: value.to_json() for name, value in self.metrics.items()}
        known = {"loss": self.loss, "loss_change": self.loss_change, "psnr": self.psnr, "sigma": self.sigma}
        return {"rows": self.rows, **figures, **known}


@dataclass(frozen=True)
class Played:
    """One attack at one strength; ``control`` is its random control, None where nobody chose the change."""

    attack: str
    method: str
    strength: str
    outcome: Outcome
    control: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        """``attack``, ``method``, ``strength``, the figures, and the same of the ``control``."""
        names = {"attack": self.attack, "method": self.method, "strength": self.strength}
        control = None if self.control is None else self.control.to_json()
        return {**names, **self.outcome.to_json(), "control": control}


@dataclass(frozen=True)
class Robustness:
    """A detector on the rows of a table, clean and under every attack.

    Attributes:
        tables: paths as they were named.
        protocol: detector, rows, threshold, attacks, interval: what it takes to get the same figures again.
        counts: ``rows``, ``real_rows``, ``fake_rows``, ``components``.
        clean: the rows as they are.
        played: the attacks, in order.
        left_out: rows that are not in the figures: ``row`` (name of the file and number), ``reason``.
    """

    tables: list[str]
    protocol: dict[str, Any]
    counts: dict[str, int]
    clean: Outcome
    played: list[Played]
    left_out: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """One JSON object, free of NaN."""
        return {
            "tables": self.tables,
            **self.counts,
            "clean": self.clean.to_json(),
            "attacks": [played.to_json() for played in self.played],
            "left_out": self.left_out,
            "protocol": self.protocol,
        }


def render_attacks(found: Robustness) -> Table:
    """A rich table, a line each attack and strength, its random control on the right; below each AUC its interval."""
    from rich.table import Table

    table = Table("attack", "method", "strength")
    columns = ("AUC", "accuracy", "fakes called real", "reals called fake", "loss +", "PSNR dB", "sigma px")
    for name in (*columns, "control: AUC", "loss +", "PSNR dB"):
        table.add_column(name, justify="right")
    table.add_row("none", "", "", *_cells(found.clean))
    family = None
    for played in found.played:
        if played.attack != family:
            table.add_section()
        name = "" if played.attack == family else played.attack
        family = played.attack
        control = ["-"] * 3
        if played.control is not None:
            control = [with_interval(played.control.metrics["auc"]), *_strength(played.control)[:2]]
        table.add_row(name, played.method, played.strength, *_cells(played.outcome), *control)
    return table


def _cells(outcome: Outcome) -> list[str]:
    metrics = outcome.metrics
    shares = (metrics[name].value for name in ("accuracy", "fakes_called_real", "reals_called_fake"))
    return [
        with_interval(metrics["auc"]),
        *("-" if share is None else f"{share:.3f}" for share in shares),
        *_strength(outcome),
    ]


def _strength(outcome: Outcome) -> list[str]:
    return [
        "-" if outcome.psnr is None else f"{outcome.loss_change:+.3f}",
        "-" if outcome.psnr is None else f"{outcome.psnr:.1f}",
        "-" if outcome.sigma is None else f"{outcome.sigma:.2f}",
    ]
