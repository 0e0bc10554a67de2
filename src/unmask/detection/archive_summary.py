"""What an archive run found: counts, histogram, what to look at first; as numbers and as one page."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.parts import find_parts, read_recipe, read_tables
from unmask.printing import counted

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem; overflow-wrap: anywhere }
tr { border-bottom: 1px solid #8884 } td.n, th.n { text-align: right; white-space: nowrap }
.bars { display: flex; align-items: flex-end; height: 8rem; gap: 2px } .bars i { flex: 1; background: #4a7ab5 }
.axis { display: flex; justify-content: space-between; font-size: .85rem }
"""


def summarise_archive(folder: str | Path, top: int = 50) -> dict[str, Any]:
    """Who judged, counts by verdict, a histogram of the scores, the ``top`` highest-scoring files, errors by reason.

    Of a file that was judged more than once the latest row counts.
    """
    parts = find_parts(folder)  # once: other shards may be writing theirs
    latest = _latest(parts)
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    histogram = [0] * 20
    highest: list[tuple[float, str]] = []
    start = 0
    for table in read_tables(parts, ["path", "verdict", "score", "error"]):
        table, start = table.filter(latest[start : start + len(table)]), start + len(table)
        columns = (table.column(name).to_pylist() for name in ("path", "verdict", "score", "error"))
        for path, verdict, score, error in zip(*columns, strict=True):
            verdicts[verdict or "not judged"] += 1
            if error is not None:
                reasons[error] += 1
            if score is not None:
                histogram[min(19, int(20 * score))] += 1
                highest.append((score, path))
        highest = heapq.nsmallest(top, highest, key=lambda each: (-each[0], each[1]))
    return {
        "made_with": read_recipe(Path(folder)),
        "files": sum(verdicts.values()),
        "verdicts": dict(sorted(verdicts.items())),
        "histogram": histogram,
        "highest": [{"path": path, "score": score} for score, path in highest],
        "errors": dict(reasons.most_common()),
    }


def _latest(parts: Sequence[Path]) -> npt.NDArray[np.bool_]:
    """Of every row whether it is the last one of its path; eight bytes of each path and of its time are held."""
    keys, times = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for table in read_tables(parts, ["path", "judged"]):
        digests = [hashlib.blake2b(path.encode(), digest_size=8).digest() for path in table.column("path").to_pylist()]
        keys.append(np.frombuffer(b"".join(digests), np.uint64))
        times.append(table.column("judged").cast("int64").to_numpy())
    key, time = np.concatenate(keys), np.concatenate(times)
    order = np.lexsort((np.arange(len(key)), time, key))
    last = np.ones(len(key), bool)
    last[order[:-1]] = key[order[1:]] != key[order[:-1]]
    return last


def render_summary(summary: Mapping[str, Any], name: str) -> str:
    """One self-contained HTML page of what :func:`summarise_archive` gives."""
    most = max([1, *summary["histogram"]])
    bars = "".join(
        f'<i style="height:{100 * count / most:.1f}%" title="from {low / 20:.2f} on: {count} files"></i>'
        for low, count in enumerate(summary["histogram"])
    )
    made = summary["made_with"]
    who = f", judged by {made['detector']}, {made['frames']} frames of a video." if made else "."
    parts = [
        _table("Verdicts", ("verdict", "files"), summary["verdicts"].items()),
        f'<h2>Scores</h2><div class="bars" role="img" aria-label="Histogram of the scores">{bars}</div>'
        '<div class="axis"><span>0 real</span><span>1 fake</span></div>',
        _table("Highest scores", ("file", "score"), [(e["path"], f"{e['score']:.3f}") for e in summary["highest"]]),
        _table("Not judged", ("reason", "files"), _most(summary["errors"])),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>unmask: {escape(name)}</title><style>{_STYLE}</style>"
        f"<h1>{counted(summary['files'], 'file')} checked for forged faces</h1><p>{escape(name + who)} A score is the"
        " detector's own estimate of how likely a face is forged: a reason to look closer, not a proof.</p>"
        + "".join(parts)
        + "</html>\n"
    )


def _most(errors: Mapping[str, int], top: int = 50) -> list[tuple[str, int]]:
    """The first ``top`` reasons and a line for the others: some hold sizes, and each damaged file may have its own."""
    listed, others = list(errors.items())[:top], list(errors.values())[top:]
    return [*listed, (counted(len(others), "other reason"), sum(others))] if others else listed


def _table(title: str, head: tuple[str, str], rows: Any) -> str:
    body = "".join(
        f'<tr><td>{escape(str(left))}</td><td class="n">{escape(str(right))}</td></tr>' for left, right in rows
    )
    if not body:
        return ""
    return f'<h2>{title}</h2><table><tr><th>{head[0]}</th><th class="n">{head[1]}</th></tr>{body}</table>'
