"""``unmask mix``: a detector between the one that training began from and the one that it led to."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    mix = commands.add_parser(
        "mix",
        help="average the weights of two detectors",
        description="Write the weighted average of the weights of two detectors: SECOND trained further from FIRST, or"
        " both from the same weights. The average keeps much of what either knows. Calibrate it afterwards: unmask"
        " calibrate.",
        epilog="Exit code: 0 done, 2 wrong usage, or detectors that are not of one kind.",
    )
    mix.add_argument("first", metavar="FIRST", help="folder of a detector, or `default`")
    mix.add_argument("second", metavar="SECOND", help="folder of a detector, or `default`")
    mix.add_argument("out", metavar="OUT", help="folder of the new detector")
    mix.add_argument("--share", type=float, default=0.5, metavar="S", help="weight of SECOND, in [0, 1] (default: 0.5)")
    mix.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from unmask.detector.mixing import mix_detectors

    folder = mix_detectors(options.first, options.second, options.share, options.out)
    print(f"{folder}: now fit it anew: unmask calibrate {folder} VALIDATION --out {folder}")
    return 0
