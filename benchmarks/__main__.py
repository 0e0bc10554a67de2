"""Run the benchmarks one after the other, each in a process of its own: some minutes in all.

    python -m benchmarks [NAME...] [--out results] [--device cpu] [--threads 2] [--quick]

Each writes OUT/NAME.json. Nothing else should run meanwhile: a file says whether something did.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from unmask.cores import cores

#: name -> the shortest run that still measures everything, and whether it knows devices and threads.
BENCHMARKS: dict[str, tuple[list[str], bool]] = {
    "blur": (["--kernel-sizes", "3", "7", "--turns", "3", "--seconds", "0.2"], True),
    "step": (["--rounds", "2", "--size", "64", "--batch", "8"], True),
    "loader": (["--turns", "2", "--steps", "2"], True),
    "prepare": (["--rounds", "1", "--seconds", "2", "--frames", "8"], False),
    "detect": (["--rounds", "1", "--seconds", "2"], False),
    "fuzz": (["--count", "7"], False),
    "cost": ([], False),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--quick", action="store_true", help="a try in seconds each: figures are not for quoting")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.names or BENCHMARKS:
        quick, on_device = BENCHMARKS[name]
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(options.out / f"{name}.json")]
        command += ["--device", options.device, "--threads", str(options.threads)] if on_device else []
        command += quick if options.quick else []
        print("$ python", *command[1:], flush=True)
        start = time.perf_counter()
        # Threads that wait actively take the cores from those that work.
        done = subprocess.run(command, env={"OMP_WAIT_POLICY": "PASSIVE"} | os.environ, check=False)
        print(f"{name}: {time.perf_counter() - start:.0f} s\n", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
