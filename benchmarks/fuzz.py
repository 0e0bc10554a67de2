"""What becomes of broken files: a few hundred of each format through all of detection, in processes that may die.

    python -m benchmarks.fuzz [--count 300] [--json results/fuzz.json]

*Judged* got a verdict, *refused* one line that says why there is none, *too long* ran into the time limit, *crashed*
ended its process or failed in a way nobody foresaw: those are named.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.fuzz import FORMATS, damaged, whole

from benchmarks.measure import machine
from unmask.cores import cores
from unmask.detection.archive import judge_worker
from unmask.workers import WorkerDied, work

#: Seconds and bytes a file may take.
SECONDS, MEMORY = 30, 1 << 30
OUTCOMES = ("judged", "refused", "too long", "crashed")


def outcome(answer: object) -> tuple[str, str]:
    """What became of a file, and the words that go with it."""
    if isinstance(answer, WorkerDied):
        return ("too long" if "took longer" in str(answer) else "crashed"), str(answer)
    assert isinstance(answer, dict)
    error = answer["error"]
    if error is None:
        return "judged", answer["verdict"]
    return ("crashed" if "cannot be analysed" in error else "refused"), error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--count", type=int, default=300, help="broken files of each format")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = {suffix: Counter() for suffix in FORMATS}
    reasons: Counter[str] = Counter()
    named: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for suffix in FORMATS:
            for name, content in damaged(whole(suffix, folder), options.count, options.seed):
                (folder / f"{suffix}-{name}.{suffix}").write_bytes(content)
        paths = sorted(str(path) for path in folder.glob("*-*-*"))
        make = functools.partial(judge_worker, "default", 4, "auto")
        for path, answer in work(make, paths, options.workers, SECONDS, MEMORY):
            what, words = outcome(answer)
            counts[Path(path).suffix[1:]][what] += 1
            if what in ("too long", "crashed"):
                named.append({"file": Path(path).name, "outcome": what, "reason": words})
            elif what == "refused":
                reasons[words] += 1
    table = Table("format", *OUTCOMES, title=f"{options.count} broken files of each format")
    for suffix, found in counts.items():
        table.add_row(suffix, *(str(found[what]) for what in OUTCOMES))
    Console().print(table)
    for each in named:
        print(f"{each['outcome']}: {each['file']}: {each['reason']}")
    if options.json:
        content = {
            "machine": machine(),
            "count": options.count,
            "seed": options.seed,
            "limits": {"seconds": SECONDS, "bytes": MEMORY},
            "formats": {suffix: {what: found[what] for what in OUTCOMES} for suffix, found in counts.items()},
            "reasons": dict(reasons.most_common(20)),
            "named": named,
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
