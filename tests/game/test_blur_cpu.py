"""How the fused kernels live: in torch's operator system, among threads and processes, in little memory."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from unmask.game.blur import (
    contract,
    fused,
    fused_with_slope,
    image_gradient,
    pixelwise_gaussian_blur,
    sigma_gradient,
)


@pytest.fixture
def threads() -> Iterator[int]:
    """Two threads of torch, whatever the machine gives."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def run(script: str, **environment: str) -> str:
    """Output of a Python script in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# opcheck itself looks at the .grad of tensors that are no leaves.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("channels_last", [False, True])
def test_opcheck(channels_last: bool) -> None:
    x, sigma, grad = torch.rand(2, 3, 6, 5), torch.rand(2, 1, 6, 5) + 0.2, torch.rand(2, 3, 6, 5)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    sigma.requires_grad_()
    torch.library.opcheck(fused, (x, sigma, 3))
    torch.library.opcheck(fused_with_slope, (x.detach(), sigma, 3))
    torch.library.opcheck(contract, (grad, x.detach()))
    torch.library.opcheck(image_gradient, (grad, x.detach(), sigma.detach(), 3))
    torch.library.opcheck(sigma_gradient, (grad, x.detach(), sigma.detach(), 3))


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "crop", "one column", "one row", "6 channels"])
def test_the_derivative_kept_is_the_derivative_computed_anew(layout: str, kernel_size: int) -> None:
    height, width = {"one column": (9, 1), "one row": (1, 9)}.get(layout, (13, 10))
    x, grad = torch.randn(2, 2, 6 if layout == "6 channels" else 3, height, width)
    if layout == "channels last":
        x, grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
    if layout == "crop":
        x, grad = x[:, :, 1:9, 2:8], grad[:, :, 1:9, 2:8]
    sigma = 0.1 + 2 * torch.rand(2, 1, *x.shape[2:])
    out, slope = fused_with_slope(x, sigma, kernel_size)
    torch.testing.assert_close(out, fused(x, sigma, kernel_size), rtol=0, atol=1e-6)
    expected = sigma_gradient(grad, x, sigma, kernel_size)
    torch.testing.assert_close(contract(grad, slope), expected, rtol=1e-5, atol=1e-5)
    sigma.requires_grad_()  # what the operator itself does where x wants no gradient
    blurred = pixelwise_gaussian_blur(x, sigma, kernel_size)
    assert torch.equal(blurred, out)
    (to_sigma,) = torch.autograd.grad(blurred, sigma, grad)
    torch.testing.assert_close(to_sigma, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_second_derivatives_where_only_sigma_wants_them(kernel_size: int) -> None:
    x, sigma = torch.rand(1, 3, 4, 5, dtype=torch.float64), 0.3 + torch.rand(1, 1, 4, 5, dtype=torch.float64)
    sigma.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: pixelwise_gaussian_blur(x, s, kernel_size), sigma)
    assert torch.autograd.gradgradcheck(lambda s: pixelwise_gaussian_blur(x, s, kernel_size), sigma)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="inductor needs a C++ compiler: there is no gcc")
def test_compiles_with_inductor() -> None:
    x, sigma = torch.rand(1, 3, 9, 7), torch.rand(1, 1, 9, 7, requires_grad=True)

    def loss(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return pixelwise_gaussian_blur(2 * x, sigma.exp(), 3).square().sum()

    expected = torch.autograd.grad(loss(x, sigma), sigma)
    compiled = torch.compile(loss, fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(x, sigma), sigma), expected)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(dynamic: bool) -> None:
    def loss(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return pixelwise_gaussian_blur(2 * x, sigma.exp(), 5).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for size in (9, 12):
        x = torch.rand(1, 3, size, 7, requires_grad=True)
        sigma = torch.rand(1, 1, size, 7, requires_grad=True)
        for image, wanted in ((x, (x, sigma)), (x.detach(), (sigma,))):
            expected = torch.autograd.grad(loss(image, sigma), wanted)
            torch.testing.assert_close(torch.autograd.grad(compiled(image, sigma), wanted), expected)


def test_only_the_gradient_that_is_asked_for() -> None:
    x, sigma = torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8)
    for wanted in (x, sigma):
        wanted.requires_grad_()
        pixelwise_gaussian_blur(x, sigma, 3).sum().backward()
        assert wanted.grad is not None
        wanted.requires_grad_(False)
    assert not pixelwise_gaussian_blur(x, sigma, 3).requires_grad


def test_number_of_threads_does_not_change_a_bit(threads: int) -> None:
    x, sigma = torch.rand(3, 3, 200, 150), 2 * torch.rand(3, 1, 200, 150)
    grad = torch.randn_like(x)

    def compute() -> list[torch.Tensor]:
        gradients = [operator(grad, x, sigma, 7) for operator in (image_gradient, sigma_gradient)]
        return [fused(x, sigma, 7), *gradients]

    parallel = compute()
    torch.set_num_threads(1)
    for ours, theirs in zip(parallel, compute(), strict=True):
        assert torch.equal(ours, theirs)


def test_called_from_many_threads_at_once(threads: int) -> None:
    inputs = [(torch.rand(2, 3, 90, 80), 2 * torch.rand(2, 1, 90, 80)) for _ in range(8)]
    expected = [pixelwise_gaussian_blur(x, sigma, 5) for x, sigma in inputs]
    with ThreadPoolExecutor(8) as callers:
        for _ in range(5):
            results = callers.map(lambda pair: pixelwise_gaussian_blur(*pair, 5), inputs)
            assert all(torch.equal(out, same) for out, same in zip(results, expected, strict=True))


def test_no_more_threads_than_torch_has_whatever_the_batches() -> None:
    found = run("""
import threading, torch
from unmask.game.threads import in_parallel
torch.set_num_threads(6)
for count in range(1, 9):
    all_at_once = threading.Barrier(min(count, 6))
    in_parallel(lambda item: all_at_once.wait() if item < min(count, 6) else None, list(range(count)))
print(threading.active_count())
""")
    assert int(found) <= 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    run("""
import os, warnings, torch
from unmask.game.blur import pixelwise_gaussian_blur as blur
torch.set_num_threads(2)
x, sigma = torch.rand(8, 3, 64, 64), torch.rand(8, 1, 64, 64)
before = blur(x, sigma, 3).numpy().tobytes()
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    os._exit(0 if blur(x, sigma, 3).numpy().tobytes() == before else 3)
assert os.waitpid(child, 0)[1] == 0
""")


def test_works_where_nothing_can_be_written(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    script = """
import torch
from unmask.game.blur import pixelwise_gaussian_blur as blur
print(blur(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4), 3).sum().item())
"""
    assert run(script, NUMBA_CACHE_DIR=str(in_the_way / "cache")).strip() == "16.0"


def test_importing_the_operator_does_not_import_numba() -> None:
    assert run("import sys, unmask.game.blur; print('numba' in sys.modules)").strip() == "False"


@pytest.fixture(scope="module")
def peaks() -> dict[tuple[bool, str], list[float]]:
    """The most memory held for a kernel of 3 and one of 15, in sizes of the images: by layout and what is wanted."""
    script = """
from pathlib import Path
import torch
from unmask.game.blur import pixelwise_gaussian_blur as blur
def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
def both(size, k, layout, towards):
    x = torch.rand(4, 3, size, size).contiguous(memory_format=layout).requires_grad_(towards != "sigma")
    sigma = torch.rand(4, 1, size, size).requires_grad_()
    grad = torch.rand_like(x)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    blur(x, sigma, k).backward(grad)
    return (resident("VmHWM") - before) / (x.numel() * 4)
for layout in (torch.contiguous_format, torch.channels_last):
    for towards in ("x and sigma", "sigma"):
        both(32, 3, layout, towards), both(32, 15, layout, towards)  # compiles
        print(both(1024, 3, layout, towards), both(1024, 15, layout, towards))
"""
    # What is freed goes back to the system at once: what one measurement left would hide what the next one takes.
    said = run(script, MALLOC_MMAP_THRESHOLD_=str(2**16))
    found = [[float(peak) for peak in line.split()] for line in said.splitlines()]
    return dict(zip(itertools.product((False, True), ("x and sigma", "sigma")), found, strict=True))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux' /proc")
@pytest.mark.parametrize("towards", ["x and sigma", "sigma"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_does_not_grow_with_the_kernel(
    peaks: dict[tuple[bool, str], list[float]], channels_last: bool, towards: str
) -> None:
    smallest, greatest = peaks[channels_last, towards]
    assert smallest <= 3
    assert greatest <= 3
    assert greatest - smallest < 0.2
