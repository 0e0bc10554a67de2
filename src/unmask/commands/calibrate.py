"""``unmask calibrate``: what a score means, and from where on it is called fake, without touching the weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from unmask.commands.terminal import count, failures, progress
from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from unmask.detector import Card


def add(commands: Any) -> None:
    calibrate = commands.add_parser(
        "calibrate",
        help="fit calibration and threshold of a detector anew",
        description="Fit calibration, threshold, uncertain band and limits of picture quality to validation tables."
        " The weights stay as they are. Prints the calibration error on a held-out half, before and after."
        " Never calibrate on what you test on.",
        epilog="Exit code: 0 done, 1 some rows left out (each is named), 2 wrong usage, unusable detector or table.",
    )
    calibrate.add_argument("detector", metavar="DETECTOR", help="folder of a detector, or `default`")
    calibrate.add_argument("tables", nargs="+", metavar="VALIDATION", help="Parquet file, or a folder of them")
    calibrate.add_argument("--split", metavar="S", help="only rows of this split")
    calibrate.add_argument("--out", metavar="DIR", help="write the detector here; without it, nothing is written")
    calibrate.add_argument(
        "--fpr",
        type=_share,
        default=0.05,
        metavar="P",
        help="share of validation reals that may be called fake (default: 0.05)",
    )
    calibrate.add_argument(
        "--fnr",
        type=_share,
        default=0.1,
        metavar="P",
        help="share of validation fakes that may be called real (default: 0.1)",
    )
    calibrate.add_argument(
        "--adversary",
        type=count,
        default=0,
        metavar="STEPS",
        help="also train a blur generator against the detector for so many steps: reports then show what it blurs",
    )
    calibrate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    if options.adversary and options.out is None:
        raise UnmaskError("--adversary", "needs --out, where the generator is written")

    from unmask.data.cut import other_cuts
    from unmask.data.table import FaceTable
    from unmask.detector import Scorer
    from unmask.detector.file import CARD, find_detector
    from unmask.evaluation.recalibrate import recalibrate, write_card
    from unmask.writing import check_writable, make_folder

    if options.out is not None:  # said now, not after the scoring
        make_folder(options.out)
        check_writable(Path(options.out) / CARD)
    table = FaceTable.read(options.tables, options.split)
    scorer = Scorer.load(options.detector, device="cpu")
    if others := other_cuts(options.tables, scorer.card.crop):
        raise UnmaskError("calibrate", f"{others[0]}: a calibration on them would not hold for clips")
    with progress() as show:
        found = recalibrate(
            scorer,
            table,
            false_positive_rate=options.fpr,
            false_negative_rate=options.fnr,
            progress=None if show is None else lambda done, total: show("scores", done, total),
        )
    _print(found.card, found.held_out)
    code = failures([f"{row['row']}: {row['reason']}" for row in found.left_out])
    if options.out is None:
        return code
    out = Path(options.out)
    write_card(find_detector(options.detector), out, found.card)
    if options.adversary:
        from unmask.detector.adversary import fit_adversary, save_adversary

        with progress() as show:
            adversary, losses = fit_adversary(
                scorer,
                table,
                steps=options.adversary,
                progress=None if show is None else lambda done, total: show("adversary", done, total),
            )
        origin = {
            "fitted": "against the finished detector, on its validation rows",
            "steps": options.adversary,
            **losses,
        }
        save_adversary(out, found.card, adversary, "blur-generator", {}, origin)
        print(
            f"adversary    cross entropy {losses['loss_before']:.3f}, blurred {losses['loss_after']:.3f},"
            f" by the map of another face {losses['loss_control']:.3f}"
        )
    print(f"written      {out}")
    return code


def _print(card: Card, held_out: dict[str, float]) -> None:
    print(f"calibration  {card.calibration['method']}")
    if held_out:
        print(
            f"held out     ECE {held_out['ece_before']:.4f} -> {held_out['ece_after']:.4f}, log loss"
            f" {held_out['log_loss_before']:.4f} -> {held_out['log_loss_after']:.4f} ({held_out['rows']:.0f} rows)"
        )
    print(f"threshold    {card.threshold:.4f}: {card.threshold_rule}")
    band = "none" if card.uncertain is None else f"{card.uncertain[0]:.4f} to {card.uncertain[1]:.4f}"
    print(f"uncertain    {band}: {card.uncertain_rule}")
    tested = card.tested
    if tested is None:
        print("tested       not measured: fewer than a hundred crops")
        return
    limits = [
        f"{name} {word} {value:g}"
        for name, word, value in (
            ("face side", "from", tested.face_side),
            ("sharpness", "from", tested.sharpness),
            ("blockiness", "up to", tested.blockiness),
        )
        if value is not None
    ]
    print(f"tested       {', '.join(limits)} ({tested.crops} crops)")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share in [0, 1)")
    return value
