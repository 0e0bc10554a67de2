"""What got slower from one file of a benchmark to another, beyond noise.

    python -m benchmarks.compare OLD.json NEW.json

Ratios come first: both sides of one were timed in the same run. One got worse if all of its new spread lies on the
wrong side of all of its old spread, and by more than the tolerance. Times are compared only between undisturbed runs on
the same machine with the same versions, by their fastest calls against the spread of the old. Memory is compared as it
is. The exit code is 1 if something got worse, 2 if the files cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

#: A change below this is none, however little the figures scatter.
TOLERANCE = 0.05
MEMORY = "peak_extra_memory_in_image_buffers"


@dataclass(frozen=True)
class Change:
    """One figure in both files; `change` is how much worse the new one is: 0.1 is 10 % worse, below 0 is better."""

    kind: str
    name: str
    old: float
    new: float
    change: float
    worse: bool
    better: bool


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="as a fraction (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        old, new = read(options.old), read(options.new)
        changes, remarks = compare(old, new, options.tolerance)
    except ValueError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    console = Console()
    for remark in remarks:
        console.print(remark, style="yellow", highlight=False)
    table = Table("", "figure", "old", "new", "worse by", "")
    for one in changes:
        verdict = "[bold red]worse" if one.worse else "[green]better" if one.better else "as before"
        table.add_row(one.kind, one.name, f"{one.old:g}", f"{one.new:g}", f"{one.change:+.1%}", verdict)
    console.print(table)
    return int(any(one.worse for one in changes))


def read(path: Path) -> dict[str, Any]:
    """The content of a benchmark's file.

    Raises:
        ValueError: it cannot be read, or has no ratios.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: no JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("ratios"), dict):
        raise ValueError(f"{path}: no benchmark's file: it has no ratios")
    return content


def compare(old: dict[str, Any], new: dict[str, Any], tolerance: float = TOLERANCE) -> tuple[list[Change], list[str]]:
    """Changes of all figures that both have, ratios first, and remarks on what was not compared and why.

    Raises:
        ValueError: they are of different benchmarks, or of different settings.
    """
    for key in ("benchmark", "setting"):
        if old.get(key) != new.get(key):
            raise ValueError(
                f"not comparable: the {key} is {old.get(key)} in the old and {new.get(key)} in the new file"
            )
    remarks = [
        f"The {age} run was disturbed by other work."
        for age, run in zip(AGES, (old, new), strict=True)
        if run.get("disturbed")
    ]
    differences = [name for name in facts(old) | facts(new) if facts(old).get(name) != facts(new).get(name)]
    remarks += [f"Not the same {name}: {facts(old).get(name)} and {facts(new).get(name)}." for name in differences]
    changes = [*ratios(old, new, tolerance, remarks), *memory(old, new, tolerance)]
    if remarks:
        remarks.append("Times are not compared for that; ratios are.")
    else:
        changes += times(old, new, tolerance)
    for kind in ("ratios", "times"):
        missing = old.get(kind, {}).keys() - new.get(kind, {}).keys()
        if missing:
            remarks.append(f"No longer among the {kind}: {', '.join(sorted(missing))}.")
    return changes, remarks


AGES = ("old", "new")


def facts(content: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for times to be comparable."""
    machine = content.get("machine", {})
    names = ("processor", "cores", "threads", "device")
    return {name: machine.get(name) for name in names} | machine.get("versions", {})


def ratios(old: dict[str, Any], new: dict[str, Any], tolerance: float, remarks: list[str]) -> list[Change]:
    changes = []
    for name, before in old["ratios"].items():
        after = new["ratios"].get(name)
        spreads = [run.get("ratio_spread", {}).get(name) for run in (old, new)]
        if after is None:
            continue
        if None in spreads:
            remarks.append(f"The ratio {name} has no spread: not judged.")
            continue
        was, now = spreads
        if now["better"] == "lower":
            change = after / before - 1
            apart, closer = now["low"] > was["high"], now["high"] < was["low"]
        else:
            change = before / after - 1
            apart, closer = now["high"] < was["low"], now["low"] > was["high"]
        worse, better = apart and change > tolerance, closer and change < -tolerance
        changes.append(Change("ratio", name, before, after, change, worse, better))
    return changes


def memory(old: dict[str, Any], new: dict[str, Any], tolerance: float) -> list[Change]:
    changes = []
    for name, before in old.get(MEMORY, {}).items():
        after = new.get(MEMORY, {}).get(name)
        if before and after:
            change = after / before - 1
            changes.append(Change("memory", name, before, after, change, change > tolerance, change < -tolerance))
    return changes


def times(old: dict[str, Any], new: dict[str, Any], tolerance: float) -> list[Change]:
    """By the fastest calls, which other work disturbs least, against the quartiles of the other file."""
    changes = []
    for name, was in old.get("times", {}).items():
        now = new.get("times", {}).get(name)
        if now:
            change = now["min"] / was["min"] - 1
            worse = change > tolerance and now["min"] > was["quartile_high"]
            better = change < -tolerance and was["min"] > now["quartile_high"]
            changes.append(Change("time", name, was["min"], now["min"], change, worse, better))
    return changes


if __name__ == "__main__":
    sys.exit(main())
