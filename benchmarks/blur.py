"""Time and memory of the pixel-wise Gaussian blur: as published, in plain torch, and fused, side by side in one run.

    python benchmarks/blur.py [--json results/blur.json] [--threads 2] [--device cuda]

The ratios are of the fastest repeats, which other work on the machine disturbs least; medians and quartiles stand
beside them, and the processor time of all threads, which waiting for a busy core does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from unmask.game.blur import pixelwise_gaussian_blur

Blur = Callable[[Tensor, Tensor, int], Tensor]


def published(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """The published formulation, expressed anew: for each offset of the window the density of the Gaussian with an
    exponential and a division of its own, all of them normalised by their sum, and autograd for the rest."""
    radius = kernel_size // 2
    offsets = [(v, u) for v in range(-radius, radius + 1) for u in range(-radius, radius + 1)]
    densities = [torch.exp(-(v * v + u * u) / (2 * sigma**2)) / (2 * math.pi * sigma**2) for v, u in offsets]
    total = torch.stack(densities).sum(0)
    padded = F.pad(x, (radius, radius, radius, radius), mode="reflect")
    height, width = x.shape[2:]
    out = torch.zeros_like(x)
    for density, (v, u) in zip(densities, offsets, strict=True):
        shifted = padded[:, :, radius + v : radius + v + height, radius + u : radius + u + width]
        out = out + density / total * shifted
    return out


def implementations(device: torch.device) -> dict[str, Blur]:
    blurs: dict[str, Blur] = {
        "published": published,
        "reference": partial(pixelwise_gaussian_blur, implementation="reference"),
    }
    if device.type == "cpu":
        blurs["fused"] = pixelwise_gaussian_blur
    return blurs


def inputs(shape: list[int], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Images, sigma between 0.1 and 1.1 px, and the gradient towards the output."""
    batch, _, height, width = shape
    x = torch.rand(shape, device=device).to(dtype)
    sigma = 0.1 + torch.rand(batch, 1, height, width, device=device)
    return x, sigma.to(dtype).requires_grad_(), torch.rand(shape, device=device).to(dtype)


def forward_backward(blur: Blur, x: Tensor, sigma: Tensor, grad: Tensor, kernel_size: int) -> None:
    """Forward, and backward to sigma: what one step of an adversary costs."""
    torch.autograd.grad(blur(x, sigma, kernel_size), sigma, grad)


def milliseconds(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Time on the wall, and processor time over all threads."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - processor) * 1e3


def measure(works: dict[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, dict]:
    """Times of each work: all in turn, 3 rounds, then each alone until its time is up."""
    for work in works.values():
        work()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(3):
        for name, work in works.items():
            times[name].append(milliseconds(work, device))
    for name, work in works.items():
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            times[name].append(milliseconds(work, device))
    return {name: summary(values) for name, values in times.items()}


def summary(times: list[tuple[float, float]]) -> dict[str, float]:
    wall, processor = zip(*times, strict=True)
    low, median, high = statistics.quantiles(wall, n=4)
    figures = {
        "min": min(wall),
        "median": median,
        "quartile_low": low,
        "quartile_high": high,
        "processor_min": min(processor),
    }
    return {name: round(value, 3) for name, value in figures.items()} | {"repeats": len(times)}


def peak_memory(name: str, kernel_size: int, shape: list[int], device: torch.device) -> float | None:
    """Most memory in use beyond the inputs during forward and backward to sigma and x, in image buffers."""
    if device.type == "cpu" and not Path("/proc/self/clear_refs").exists():
        return None
    arguments = [name, str(kernel_size), json.dumps(shape), str(device), str(torch.get_num_threads())]
    done = subprocess.run(
        [sys.executable, __file__, "--peak-memory", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return round(float(done.stdout), 2)


def print_peak_memory(name: str, kernel_size: str, shape: str, device: str, threads: str) -> None:
    """In a process of its own, so that nothing that was freed before hides what is taken now."""
    torch.set_num_threads(int(threads))
    place = torch.device(device)
    blur = implementations(place)[name]
    for size in ([1, 3, 32, 32], json.loads(shape)):
        x, sigma, grad = inputs(size, place, torch.float32)
        x.requires_grad_()
        if place.type == "cuda":
            torch.cuda.reset_peak_memory_stats(place)
            before = torch.cuda.memory_allocated(place)
        else:
            Path("/proc/self/clear_refs").write_text("5")
            before = resident("VmRSS")
        gradients = torch.autograd.grad(blur(x, sigma, int(kernel_size)), (x, sigma), grad)
        after = torch.cuda.max_memory_allocated(place) if place.type == "cuda" else resident("VmHWM")
        del gradients
    print((after - before) / (x.numel() * x.element_size()))


def resident(name: str) -> int:
    """Bytes of resident memory of this process: now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def start_up() -> dict[str, float]:
    """Seconds of the first forward and backward to sigma in a fresh process, compiled and read from the cache."""
    script = """
import time, torch
from unmask.game.blur import pixelwise_gaussian_blur as blur
x, sigma = torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8, requires_grad=True)
start = time.perf_counter()
blur(x, sigma, 3).sum().backward()
print(time.perf_counter() - start)
"""
    with tempfile.TemporaryDirectory() as cache:
        command, environment = [sys.executable, "-c", script], os.environ | {"NUMBA_CACHE_DIR": cache}
        run = partial(subprocess.run, stdout=subprocess.PIPE, text=True, check=True)
        return {name: round(float(run(command, env=environment).stdout), 2) for name in ("compiled", "cached")}


def machine(device: torch.device) -> dict[str, Any]:
    models = [line for line in read_lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": models[0].split(": ")[1] if models else platform.processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "system": platform.platform(),
        "load_before": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("unmask", "torch", "numba", "llvmlite", "numpy")},
    }


def disturbed() -> bool:
    """Whether other work keeps this machine busy, so that the figures are no measure of it."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.25 * (os.cpu_count() or 1)


def read_lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def benchmark(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    device, shape = torch.device(options.device), options.shape
    result: dict[str, Any] = {
        "benchmark": "pixelwise_gaussian_blur",
        "work": "forward and backward to sigma, float32, unless it says otherwise; milliseconds",
        "ratios_are_of": "the fastest repeats; in processor_ratios of the least processor time",
        "shape": shape,
        "machine": machine(device),
        "disturbed": disturbed(),
        "times": {},
        "ratios": {},
        "processor_ratios": {},
        "peak_extra_memory_in_image_buffers": {},
    }
    x, sigma, grad = inputs(shape, device, torch.float32)
    out = torch.empty_like(x)
    blurs = implementations(device)
    table = Table("work", "fastest ms", "median ms", "quartiles ms", "processor ms", "repeats")

    def timed(works: dict[str, Callable[[], object]]) -> None:
        for name, figures in measure(works, device, options.seconds).items():
            result["times"][name] = figures
            quartiles = f"{figures['quartile_low']:.2f} .. {figures['quartile_high']:.2f}"
            fastest, median, processor = (f"{figures[key]:.2f}" for key in ("min", "median", "processor_min"))
            table.add_row(name, fastest, median, quartiles, processor, str(figures["repeats"]))

    timed({"copy of x": lambda: out.copy_(x)})
    for k in options.kernel_sizes:
        names = [name for name in blurs if name == "fused" or k <= options.largest_unfused]
        timed({f"{name} k={k}": partial(forward_backward, blurs[name], x, sigma, grad, k) for name in names})
        best = "fused" if "fused" in names else "reference"
        for name in names:
            if name != best:
                slow, fast = (result["times"][f"{key} k={k}"] for key in (name, best))
                for ratios, key in (("ratios", "min"), ("processor_ratios", "processor_min")):
                    result[ratios][f"{name}/{best} k={k}"] = round(slow[key] / fast[key], 1)
    if "fused" in blurs:
        timed(fused_variants(shape, device))
    console.print(table)
    memory = Table("peak extra memory, image buffers", *(f"k = {k}" for k in options.memory_kernel_sizes))
    for name in blurs:
        sizes = [k for k in options.memory_kernel_sizes if name == "fused" or k <= options.largest_unfused]
        peaks = {f"k={k}": peak_memory(name, k, shape, device) for k in sizes}
        result["peak_extra_memory_in_image_buffers"][name] = peaks
        memory.add_row(name, *map(str, peaks.values()))
    console.print(memory)
    if "fused" in blurs:
        result["start_up_seconds"] = start_up()
        console.print("first call, seconds:", result["start_up_seconds"])
    console.print("ratios:", result["ratios"])
    if result["disturbed"]:
        console.print("Other work kept this machine busy: these figures are not for quoting.", style="bold red")
    return result


def fused_variants(shape: list[int], device: torch.device) -> dict[str, Callable[[], object]]:
    """The fused kernel at k = 3 in its other dresses, and each of its directions at k = 3 and 7."""
    works: dict[str, Callable[[], object]] = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        x, sigma, grad = inputs(shape, device, dtype)
        name = f"fused k=3 {str(dtype).removeprefix('torch.')}"
        works[name] = partial(forward_backward, pixelwise_gaussian_blur, x, sigma, grad, 3)
    x, sigma, grad = inputs(shape, device, torch.float32)
    last, last_grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
    works["fused k=3 channels last"] = partial(forward_backward, pixelwise_gaussian_blur, last, sigma, last_grad, 3)
    for k in (3, 7):
        works[f"fused k={k} forward"] = partial(pixelwise_gaussian_blur, x, sigma.detach(), k)
        out = pixelwise_gaussian_blur(x, sigma, k)
        works[f"fused k={k} backward to sigma"] = partial(torch.autograd.grad, out, sigma, grad, retain_graph=True)
        image = x.clone().requires_grad_()
        out = pixelwise_gaussian_blur(image, sigma.detach(), k)
        works[f"fused k={k} backward to x"] = partial(torch.autograd.grad, out, image, grad, retain_graph=True)
    return works


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="threads of torch (default: as it stands)")
    parser.add_argument("--shape", type=int, nargs=4, default=[16, 3, 256, 256], metavar=("B", "C", "H", "W"))
    parser.add_argument("--kernel-sizes", type=int, nargs="+", default=[3, 5, 7, 15], metavar="K")
    parser.add_argument("--memory-kernel-sizes", type=int, nargs="+", default=[3, 7, 15], metavar="K")
    parser.add_argument("--largest-unfused", type=int, default=7, metavar="K", help="for the slow implementations")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for the repeats of each work")
    parser.add_argument("--peak-memory", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_memory:
        print_peak_memory(*options.peak_memory)
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    result = benchmark(options, Console())
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
