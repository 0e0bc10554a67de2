"""One page of figures for a whole comparison.

``unmask evaluate --protocol P.toml --data DATA --out OUT`` ends by writing ``OUT/page.html``; with ``--summary-only``
it draws what is finished and trains nothing, and ``--plots DIR`` also writes each figure as SVG and WebP. The page
needs matplotlib (``unmask[train]``).

The last two figures attack a detector again. From any detector and any face table::

    found = replay("runs/game/detector", "blur-gradient", {"sigma_max": 1.0}, "faces.parquet")
    write_panel(spectrum(found, "My own faces.").panels[0], Path("figures"))
"""

from unmask.protocols.plots.page import render_page, write_page
from unmask.protocols.plots.played import sigma_map, spectrum
from unmask.protocols.plots.replay import Replay, radial_power, replay
from unmask.protocols.plots.style import Panel, Section, need_matplotlib, write_panel

__all__ = [
    "Panel",
    "Replay",
    "Section",
    "need_matplotlib",
    "radial_power",
    "render_page",
    "replay",
    "sigma_map",
    "spectrum",
    "write_page",
    "write_panel",
]
