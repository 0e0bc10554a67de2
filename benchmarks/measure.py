"""What the benchmarks share: works timed in turn, ratios with their spread, facts of the machine, a table, a JSON file.

Works take turns, so that whatever else the machine does falls on all of them alike. In a turn a work is repeated for
a slice of time, and its fastest call counts: other work on the machine only ever adds. A ratio is the median, over the
turns, of the ratio within the turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from unmask.cores import cores

Works = dict[str, Callable[[], object]]

#: Others may use this share of all cores before the figures count as disturbed.
QUIET = 0.1


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    return parser


@dataclass
class Report:
    """The figures of one benchmark, as they come in.

    Args:
        benchmark: its name, that of its file.
        work: one sentence that says what is timed.
        setting: sizes and counts: what a second run must repeat to be comparable.
        device: "cpu", or a device of torch that is waited for.
    """

    benchmark: str
    work: str
    setting: dict[str, Any]
    device: str = "cpu"
    console: Console = field(default_factory=Console)
    times: dict[str, dict[str, float]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    spread: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)  # whatever else was found; plain JSON

    def __post_init__(self) -> None:
        self.machine = machine(self.device)
        self._turns: dict[str, list[float]] = {}
        self._others = Others()

    def time(self, works: Works, *, turns: int = 5, seconds: float = 0.0, warm_up: int = 1) -> None:
        """Time the works in turn: in each of the turns each of them for `seconds`, at least once."""
        for work in works.values():
            for _ in range(warm_up):
                work()
        calls: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        fastest: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(turns):
            for name, work in works.items():
                first, end = len(calls[name]), time.perf_counter() + seconds
                while len(calls[name]) == first or time.perf_counter() < end:
                    calls[name].append(milliseconds(work, self.device))
                fastest[name].append(min(calls[name][first:])[0])
        self._turns |= fastest
        self.times |= {name: summary(values) for name, values in calls.items()}

    def ratio(self, name: str, above: str, below: str, better: Literal["lower", "higher"]) -> float:
        """Add the ratio of two works that were timed together; `better` says which way is progress."""
        ratios = [a / b for a, b in zip(self._turns[above], self._turns[below], strict=True)]
        low, middle, high = quartiles(ratios)
        self.ratios[name] = round(middle, 3)
        self.spread[name] = {"low": round(low, 3), "high": round(high, 3), "better": better}
        return self.ratios[name]

    def print(self) -> None:
        """The tables of times and ratios."""
        times = Table("work", "fastest, ms", "median, ms", "quartiles, ms", "processor, ms", "calls", title=self.work)
        for name, figures in self.times.items():
            span = f"{figures['quartile_low']:.2f} .. {figures['quartile_high']:.2f}"
            fastest, median, processor = (f"{figures[key]:.2f}" for key in ("min", "median", "processor_min"))
            times.add_row(name, fastest, median, span, processor, str(figures["calls"]))
        self.console.print(times)
        if self.ratios:
            ratios = Table("ratio", "median", "quartiles", "better")
            for name, value in self.ratios.items():
                spread = self.spread[name]
                ratios.add_row(name, f"{value:.2f}", f"{spread['low']:.2f} .. {spread['high']:.2f}", spread["better"])
            self.console.print(ratios)
        for name, figures in self.figures.items():
            self.console.print(f"{name.replace('_', ' ')}: {figures}")
        if self.disturbed():
            self.console.print("Other work kept this machine busy: not for quoting.", style="bold red")

    def disturbed(self) -> bool:
        """Whether other processes used this machine since the report began."""
        share = self._others.share()
        return share is not None and share > QUIET

    def content(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "work": self.work,
            "setting": self.setting,
            "machine": self.machine,
            "processor_share_of_others": self._others.share(),
            "disturbed": self.disturbed(),
            "unit": "milliseconds",
            "times": self.times,
            "ratios": self.ratios,
            "ratio_spread": self.spread,
        } | self.figures

    def finish(self, path: Path | None) -> None:
        """Print the tables and write the JSON file where one is wanted."""
        self.print()
        if path:
            path.write_text(json.dumps(self.content(), indent=1) + "\n")


def milliseconds(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Time on the wall (of the GPU, by its own events), and processor time of this process over all threads."""
    if not device.startswith("cuda"):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        return (time.perf_counter() - wall) * 1e3, (time.process_time() - processor) * 1e3
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(device)
    processor = time.process_time()
    before.record()
    work()
    after.record()
    torch.cuda.synchronize(device)
    return before.elapsed_time(after), (time.process_time() - processor) * 1e3


def summary(calls: list[tuple[float, float]]) -> dict[str, float]:
    wall, processor = zip(*calls, strict=True)
    low, median, high = quartiles(list(wall))
    figures = {
        "min": min(wall),
        "median": median,
        "quartile_low": low,
        "quartile_high": high,
        "processor_min": min(processor),
    }
    return {name: round(value, 3) for name, value in figures.items()} | {"calls": len(calls)}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the figures depend on: processor, cores, threads, versions."""
    models = [line for line in read_lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": models[0].split(": ")[1] if models else platform.processor() or platform.machine(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "system": platform.platform(),
        "versions": versions("unmask", "torch", "torchvision", "timm", "numba", "numpy", "triton", "av", "pyarrow"),
    }


def versions(*packages: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an optional one
            continue
    return found


class Others:
    """The share of all cores that other processes, and the host of a virtual machine, take from now on."""

    def __init__(self) -> None:
        self.start = self.now()

    @staticmethod
    def now() -> tuple[float, float, float] | None:
        """Seconds of all cores together, busy or not; busy or taken; busy for this process and its children."""
        lines = read_lines("/proc/stat")
        if not lines:
            return None
        user, nice, system, idle, waiting, *interrupts = (int(number) for number in lines[0].split()[1:9])
        busy = user + nice + system + sum(interrupts)
        tick = os.sysconf("SC_CLK_TCK")
        return (busy + idle + waiting) / tick, busy / tick, sum(os.times()[:4])

    def share(self) -> float | None:
        """Between 0 and 1; None where the system does not tell."""
        now = self.now()
        if self.start is None or now is None:
            return None
        total, busy, own = (end - begin for end, begin in zip(now, self.start, strict=True))
        return round(max(0.0, busy - own) / total, 3) if total > 0 else 0.0


def read_lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
