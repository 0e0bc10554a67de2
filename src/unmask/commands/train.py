"""``unmask train``: train a detector from face tables."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any


def add(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a detector from face tables",
        description="Train a detector by a recipe (TOML), alone or in a game against an adversary. Writes the detector"
        " into OUT/detector.",
        epilog="Exit code: 0 done, 2 wrong usage, or a recipe, table or checkpoint that cannot be used.",
    )
    train.add_argument("recipe", metavar="RECIPE", help="TOML file, such as recipes/laptop.toml")
    train.add_argument("--data", action="extend", nargs="+", default=[], metavar="T", help="face tables to train on")
    train.add_argument(
        "--validation",
        action="extend",
        nargs="+",
        default=[],
        metavar="T",
        help="face tables on which the best weights are chosen and calibrated",
    )
    train.add_argument(
        "--adversary",
        metavar="A",
        help="plain, blur-gradient, worst-of, ...; with its own default options, not those of the recipe",
    )
    train.add_argument("--out", default="runs/run", metavar="DIR", help="the run's folder (default: runs/run)")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUT")
    train.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change any field of the recipe, e.g. run.steps=500",
    )
    train.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    import logging

    from unmask.training import read_recipe, train

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    overrides = list(options.set)
    for key, tables in (("data.train", options.data), ("data.validation", options.validation)):
        overrides += [f"{key}={json.dumps(tables)}"] if tables else []
    if options.adversary is not None:
        # The recipe's options are those of its own adversary: another one starts from its defaults.
        overrides = [f"adversary={{name={json.dumps(options.adversary)}}}", "game.play=auto", *overrides]
    folder = train(read_recipe(options.recipe, overrides), options.out, resume=options.resume)
    # Under torchrun every process comes by here; one of them speaks.
    if os.environ.get("RANK", "0") == "0":
        print(folder)
    return 0
