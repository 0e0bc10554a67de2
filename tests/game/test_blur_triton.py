"""The Triton kernels where there is no GPU: run by Triton's interpreter, and compiled for GPUs that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from unmask.game.blur import pixelwise_gaussian_blur

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: it exists for Linux only")


def test_by_the_interpreter() -> None:
    """Everything in `triton_interpreter.py`, in a process that chose the interpreter before it imported Triton."""
    tests = Path(__file__).with_name("triton_interpreter.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["blur_kernel", "sigma_gradient_kernel", "image_gradient_kernel"])
@pytest.mark.parametrize(
    ("dtype", "computed_in", "offsets"),
    [("fp32", "float32", "int32"), ("bf16", "float32", "int32"), ("fp64", "float64", "int64")],
)
def test_compiles_for_gpus(
    name: str, dtype: str, computed_in: str, offsets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to machine code of an H100, with every shape of block that autotuning tries."""
    import triton
    from triton import language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from unmask.game import blur_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(blur_triton, name).fn
    constants = {"RADIUS": 1, "CHANNELS": 4, "COMPUTE": getattr(tl, computed_in), "INDEX": getattr(tl, offsets)}
    images = {"x", "grad", "sigma", "out"}
    for config in blur_triton.CONFIGS[:: 5 if dtype != "fp32" else 1]:
        signature = {
            argument: f"*{dtype}" if argument in images else "constexpr" if argument.isupper() else "i32"
            for argument in kernel.arg_names
        }
        source = ASTSource(kernel, signature, constexprs=constants | config.kwargs)
        compiled = triton.compile(source, GPUTarget("cuda", 90, 32), options={"num_warps": config.num_warps})
        assert ".target sm_90" in compiled.asm["ptx"]
        assert len(compiled.asm["cubin"]) > 0
        assert ".local" not in compiled.asm["ptx"]  # nothing is kept in memory for want of registers


def test_a_gpu_gets_the_fused_operator() -> None:
    """By tensors without memory, which are what torch.compile traces with."""
    with FakeTensorMode():
        x, sigma = torch.empty(2, 3, 8, 9, device="cuda"), torch.empty(2, 1, 8, 9, device="cuda")
        for kernel_size, implementation, fused in ((3, "auto", True), (3, "reference", False), (17, "auto", False)):
            with Calls() as calls:
                out = pixelwise_gaussian_blur(x, sigma, kernel_size, implementation=implementation)
            assert (out.shape, out.device.type) == (x.shape, "cuda")
            assert ("unmask::pixelwise_gaussian_blur" in calls.names) == fused


class Calls(TorchDispatchMode):
    """The names of the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.name())
        return func(*args, **kwargs or {})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kernel_size", [3, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_equals_the_reference(kernel_size: int, dtype: torch.dtype) -> None:
    x, sigma = torch.rand(2, 3, 65, 66, device="cuda"), 2 * torch.rand(2, 1, 65, 66, device="cuda")
    x, sigma = x.to(dtype).requires_grad_(), sigma.requires_grad_()
    results = []
    for implementation in ("auto", "reference"):
        out = pixelwise_gaussian_blur(x, sigma, kernel_size, implementation=implementation)
        results.append((out, *torch.autograd.grad(out.float().square().sum(), (x, sigma))))
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)
