"""The page of an archive run: how many of what, how the scores lie, what to look at first, what could not be judged."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem; overflow-wrap: anywhere }
tr { border-bottom: 1px solid #8884 } td.n, th.n { text-align: right; white-space: nowrap }
.bars { display: flex; align-items: flex-end; height: 8rem; gap: 2px } .bars i { flex: 1; background: #4a7ab5 }
.axis { display: flex; justify-content: space-between; font-size: .85rem }
"""


def render_summary(summary: Mapping[str, Any], name: str) -> str:
    """One self-contained HTML page of what :func:`~unmask.detection.archive.summarise_archive` gives."""
    most = max([1, *summary["histogram"]])
    bars = "".join(
        f'<i style="height:{100 * count / most:.1f}%" title="from {low / 20:.2f} on: {count} files"></i>'
        for low, count in enumerate(summary["histogram"])
    )
    parts = [
        _table("Verdicts", ("verdict", "files"), sorted(summary["verdicts"].items())),
        f'<h2>Scores</h2><div class="bars" role="img" aria-label="Histogram of the scores">{bars}</div>'
        '<div class="axis"><span>0 real</span><span>1 fake</span></div>',
        _table("Highest scores", ("file", "score"), [(e["path"], f"{e['score']:.3f}") for e in summary["highest"]]),
        _table("Not judged", ("reason", "files"), summary["errors"].items()),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>unmask: {escape(name)}</title><style>{_STYLE}</style>"
        f"<h1>{summary['files']:,} files checked for forged faces</h1><p>{escape(name)}. A score is the detector's own"
        " estimate of how likely a face is forged: a reason to look closer, not a proof.</p>"
        + "".join(parts)
        + "</html>\n"
    )


def _table(title: str, head: tuple[str, str], rows: Any) -> str:
    body = "".join(
        f'<tr><td>{escape(str(left))}</td><td class="n">{escape(str(right))}</td></tr>' for left, right in rows
    )
    if not body:
        return ""
    return f'<h2>{title}</h2><table><tr><th>{head[0]}</th><th class="n">{head[1]}</th></tr>{body}</table>'
