"""``unmask export``: a detector for ONNX Runtime, which needs no torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from unmask.commands.terminal import positive
from unmask.errors import UnmaskError


def add(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="write a detector for ONNX Runtime",
        description="Write a detector's model.onnx, which `unmask detect` runs without torch, and compare its scores"
        " with torch's.",
        epilog="Exit code: 0 done, 2 wrong usage, or scores that differ from torch's by more than 1e-4 (with --int8 the"
        " difference is only measured).",
    )
    export.add_argument("detector", metavar="DETECTOR", help="folder of a detector, or `default`")
    export.add_argument("--format", choices=["onnx"], default="onnx", help="onnx (the default, and all there is)")
    export.add_argument("--out", metavar="DIR", help="folder for model and card (default: the detector's own)")
    export.add_argument("--check", metavar="TABLE", help="compare on the crops of this face table instead of noise")
    export.add_argument(
        "--int8", action="store_true", help="compute convolutions in 8 bits; needs --calibrate, --check and --out"
    )
    export.add_argument(
        "--calibrate", metavar="TABLE", help="face table whose crops set the ranges of the 8-bit numbers"
    )
    export.add_argument(
        "--rows", type=positive, default=512, metavar="N", help="most rows taken of each table (default: 512)"
    )
    export.add_argument("--json", metavar="FILE", help="write the comparison as JSON")
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.int8 and None in (options.calibrate, options.check, options.out):
        raise UnmaskError(
            "--int8", "needs --calibrate, --check to measure what it costs, and a folder --out of its own"
        )
    if options.calibrate is not None and not options.int8:
        raise UnmaskError("--calibrate", "is for --int8")
    from unmask.detector.file import find_detector
    from unmask.writing import check_writable, write_json

    if options.out is not None and Path(options.out).resolve() == find_detector(options.detector).resolve():
        raise UnmaskError("--out", "is the detector's own folder: leave it out, or with --int8 name another")

    if options.json is not None:
        check_writable(options.json)

    from unmask.detector.onnx_export import export_onnx
    from unmask.detector.onnx_int8 import read_rows

    check = None if options.check is None else read_rows(options.check, options.rows)
    calibrate = None if options.calibrate is None else read_rows(options.calibrate, options.rows)
    done = export_onnx(options.detector, options.out, check, calibrate)
    kind = "crops" if check is not None else "noise crops"
    print(f"{done.path}: {done.size / 1e6:.1f} MB, scores within {done.difference:.1e} of torch on {done.crops} {kind}")
    if done.heat_difference is None:
        print("no heat maps: this backbone has none that can be exported")
    if done.auc is not None:
        print(f"AUC {done.auc['onnx']:.4f}, torch {done.auc['torch']:.4f}")
    if options.json is not None:
        write_json(options.json, done.to_json())
    return 0
