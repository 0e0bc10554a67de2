"""Time and memory of the pixel-wise Gaussian blur: as published, in plain torch, and fused, side by side in one run.

    python -m benchmarks.blur [--threads 2] [--json results/blur.json]
    python -m benchmarks.blur --device cuda --json results/blur-cuda.json

Freed memory is kept for the next call by all of them, as in training. Beside the times stands what it takes to move
the same memory: a copy of x. On a GPU the times are the GPU's own events.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measure import Report, Works, arguments
from unmask.game.blur import pixelwise_gaussian_blur
from unmask.training.memory import keep_freed_memory

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
    if device.type == "cpu" or has_triton():
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


def peak_memory(name: str, kernel_size: int, shape: list[int], device: torch.device) -> float | None:
    """Most memory in use beyond the inputs during forward and backward to sigma and x, in image buffers."""
    if device.type == "cpu" and not Path("/proc/self/clear_refs").exists():
        return None
    arguments = [name, str(kernel_size), json.dumps(shape), str(device), str(torch.get_num_threads())]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.blur", "--peak-memory", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return round(float(done.stdout), 2)


def print_peak_memory(name: str, kernel_size: str, shape: str, device: str, threads: str) -> None:
    """In a process of its own, so that nothing that was freed before hides what is taken now."""
    torch.set_num_threads(int(threads))
    place = torch.device(device)
    blur = implementations(place)[name]
    whole = json.loads(shape)
    # On a GPU the first call at a size also tunes, with a buffer of its own.
    for size in ([1, 3, 32, 32], whole, whole) if place.type == "cuda" else ([1, 3, 32, 32], whole):
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


def start_up(device: torch.device) -> dict[str, float]:
    """Seconds of the first forward and backward to sigma in a fresh process, compiled and read from the cache."""
    script = """
import time, torch
from unmask.game.blur import pixelwise_gaussian_blur as blur
x = torch.rand(1, 3, 8, 8, device="DEVICE")
sigma = torch.rand(1, 1, 8, 8, device="DEVICE", requires_grad=True)
start = time.perf_counter()
blur(x, sigma, 3).sum().backward()
sigma.grad.cpu()
print(time.perf_counter() - start)
"""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", script.replace("DEVICE", str(device))]
        environment = os.environ | {"NUMBA_CACHE_DIR": cache, "TRITON_CACHE_DIR": cache}
        run = partial(subprocess.run, stdout=subprocess.PIPE, text=True, check=True)
        return {name: round(float(run(command, env=environment).stdout), 2) for name in ("compiled", "cached")}


def fused_variants(shape: list[int], device: torch.device) -> Works:
    """The fused kernel at k = 3 in its other dresses, and each of its directions at k = 3 and 7."""
    works: Works = {}
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


def has_triton() -> bool:
    """Whether images on a GPU have a fused kernel too."""
    return importlib.util.find_spec("triton") is not None


def ratios(report: Report, names: list[str], k: int) -> None:
    best = "fused" if "fused" in names else "reference"
    for name in names:
        if name != best:
            report.ratio(f"{name}/{best} k={k}", f"{name} k={k}", f"{best} k={k}", better="higher")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--shape", type=int, nargs=4, default=[16, 3, 256, 256], metavar=("B", "C", "H", "W"))
    parser.add_argument("--kernel-sizes", type=int, nargs="+", default=[3, 5, 7, 15], metavar="K")
    parser.add_argument("--memory-kernel-sizes", type=int, nargs="*", default=[3, 7, 15], metavar="K")
    parser.add_argument("--largest-unfused", type=int, default=7, metavar="K", help="for the slow implementations")
    parser.add_argument("--turns", type=int, default=5, help="how often the works take turns")
    parser.add_argument("--seconds", type=float, default=0.5, help="time of each work in each turn")
    parser.add_argument(
        "--brief", action="store_true", help="leave out other precisions and layouts, and the first call"
    )
    parser.add_argument("--peak-memory", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_memory:
        print_peak_memory(*options.peak_memory)
        return
    torch.set_num_threads(options.threads)
    device, shape = torch.device(options.device), options.shape
    if device.type == "cpu":
        keep_freed_memory()  # as training does; else half of the time goes to pages that are cleared again
    work = "forward and backward to sigma, float32, unless it says otherwise"
    report = Report("blur", work, {"shape": shape}, options.device)
    x, sigma, grad = inputs(shape, device, torch.float32)
    out, blurs = torch.empty_like(x), implementations(device)
    timed = partial(report.time, turns=options.turns, seconds=options.seconds)
    timed({"copy of x": lambda: out.copy_(x)})
    for k in options.kernel_sizes:
        names = [name for name in blurs if name == "fused" or k <= options.largest_unfused]
        timed({f"{name} k={k}": partial(forward_backward, blurs[name], x, sigma, grad, k) for name in names})
        ratios(report, names, k)
    if "fused" in blurs and not options.brief:
        timed(fused_variants(shape, device))
        report.figures["start_up_seconds"] = start_up(device)
    report.figures["peak_extra_memory_in_image_buffers"] = {
        f"{name} k={k}": peak_memory(name, k, shape, device)
        for name in blurs
        for k in options.memory_kernel_sizes
        if name == "fused" or k <= options.largest_unfused
    }
    report.finish(options.json)


if __name__ == "__main__":
    main()
