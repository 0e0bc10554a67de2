"""What all figures share: one size, one palette, and an SVG that a page can recolour.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color), which stay apart for every kind of colour vision;
line and marker tell a control from a game without any colour. On the page each becomes a CSS variable, so that one
drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import UnmaskError
from unmask.protocols.protocol import Protocol
from unmask.writing import make_folder, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width of every figure in inches: 360 points, which a phone shows at their own size.
WIDTH = 5.0

INK, SOFT, LINE, PAPER, PLAIN = "#16181e", "#565c6a", "#dcdfe6", "#fffffe", "#7b7b7d"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
REAL, FAKE = PALETTE[:2]
#: By the colour in a figure: the page's variable for it.
VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", PAPER: "card", PLAIN: "plain"} | {
    colour: f"c{number}" for number, colour in enumerate(PALETTE)
}

_STYLE: Any = {
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "figure.facecolor": PAPER,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Look:
    """How a method is drawn everywhere: a control with a dashed line and an open marker."""

    colour: str
    line: str
    marker: str
    filled: bool

    def options(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot``."""
        face = self.colour if self.filled else PAPER
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker, "markerfacecolor": face}


@dataclass(frozen=True)
class Panel:
    """One drawing. ``name`` is that of its file, ``title`` what it shows."""

    name: str
    title: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """One question: its drawings, how to read them, and why something is not drawn."""

    name: str
    title: str
    caption: str
    panels: list[Panel] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def need_matplotlib() -> None:
    """Make sure that figures can be drawn.

    Raises:
        UnmaskError: matplotlib is not installed; the message names the extra that brings it.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UnmaskError("matplotlib", "is not installed; figures need it: pip install 'unmask[train]'") from error


def looks(protocol: Protocol) -> dict[str, Look]:
    """The look of every method, by name, the same whichever of them are finished.

    A control is dashed and open; where there are more methods than colours, it shares its game's.
    """
    controls: dict[str, str] = {}
    for method in protocol.methods:
        if method.control and method.control != protocol.plain.name:
            controls.setdefault(method.control, method.name)
    plain, others = protocol.plain.name, [method.name for method in protocol.methods if method.role != "plain"]
    share = len(others) > len(PALETTE)
    known = {plain: Look(PLAIN, "-", "D", True)}
    coloured = [name for name in others if not share or name not in controls]
    for number, name in enumerate(coloured):
        again, place = divmod(number, len(PALETTE))
        known[name] = Look(PALETTE[place], ("-", "-.", ":")[again % 3], "os^"[again % 3], True)
    for name, game in controls.items():
        # Each the control of the other: nobody to take the colour from.
        whose = known.get(name) or known.get(game) or Look(SOFT, "-", "v", True)
        known[name] = Look(whose.colour, "--", whose.marker, False)
    return known


@contextmanager
def styled() -> Iterator[None]:
    """The house style while figures are drawn and written; also a decorator."""
    need_matplotlib()
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def new_axes(height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of the common width, ``height`` inches, and its axes side by side; for use inside :func:`styled`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def legend_below(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """The legend under the axes, where it covers no curve and a narrow page needs no room beside them."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=2.4, borderaxespad=0.1)


def inline_svg(panel: Panel) -> str:
    """A drawing as an SVG element that names nothing outside itself and takes the page's colours."""
    text = _draw(panel, facecolor="none").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # numbered alike in every drawing of the page
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", text, count=1)
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    return text


def write_panel(panel: Panel, folder: Path) -> None:
    """Write ``NAME.svg`` and ``NAME.webp`` (1000 pixels wide), on white.

    Raises:
        UnmaskError: they cannot be written.
    """
    make_folder(folder)
    for suffix in ("svg", "webp"):
        with replacing(folder / f"{panel.name}.{suffix}") as file:
            file.write(_draw(panel, suffix, dpi=200, facecolor=PAPER))


def _draw(panel: Panel, suffix: str = "svg", **options: Any) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    # The salt makes the drawing the same each time, and its inner names others than those of the next drawing.
    known: dict[str, Any] = {"metadata": {"Date": None}} if suffix == "svg" else {}
    with styled(), matplotlib.rc_context({"svg.hashsalt": panel.name}):
        panel.figure.savefig(buffer, format=suffix, **known, **options)
    return buffer.getvalue()
