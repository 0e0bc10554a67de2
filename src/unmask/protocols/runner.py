"""Runs a protocol: every training that is not done yet, in as many processes as asked for, from wherever it stopped.

Nothing is scheduled centrally. Each process walks over the list of runs and takes the first that is neither done nor
taken; a run is taken by locking a file in its folder, and the lock dies with the process that holds it. So a killed
comparison goes on where it was, one more process may be started at any time, and a shared folder serves several
machines (whose file system must have locks).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UnmaskError
from unmask.locking import locked
from unmask.protocols.finished import RESULT, check_finished, is_finished, rows_of_tests
from unmask.protocols.matching import matched_to_game
from unmask.protocols.protocol import Protocol, Run, read_protocol
from unmask.protocols.scores import SCORES, write_scores
from unmask.protocols.scoring import Tests
from unmask.writing import make_folder, write_json

log = logging.getLogger("unmask")

_WAIT = 5.0


class Runner:
    """One process's hands on a comparison.

    Args:
        protocol: the path of the protocol file.
        data: folder of the face tables.
        out: folder of the comparison: a folder a run, and the cache of decoded test tables.
        quick: the quick version of the protocol (:meth:`Protocol.quick`).
    """

    def __init__(self, protocol: str | Path, data: str | Path, out: str | Path, quick: bool = False) -> None:
        self.protocol = read_protocol(protocol, quick=quick)
        self.data, self.out = Path(data), Path(out)
        self.tests = Tests(self.protocol, self.data, self.out / "cache")
        self.tests.check()
        self._check_training()
        check_finished(self.protocol, self.out)
        make_folder(self.out)

    def _check_training(self) -> None:
        """Every table that a run trains on is there: said now, not when its turn comes."""
        for run in self.protocol.runs():
            data = self.protocol.recipe_of(run, self.data).data
            for path in (*data.train, *data.validation):
                if not Path(path).exists():
                    raise UnmaskError(path, f"no such file; {run.name} trains on it")

    def go(self, said: Callable[[str], None] = log.info) -> None:
        """Do runs until every one is done, here or elsewhere."""
        while True:
            open_runs = [run for run in self.protocol.runs() if not self.done(run)]
            if not open_runs:
                return
            if not any(self._try(run, said) for run in open_runs):
                time.sleep(_WAIT)  # all that are left are taken, or wait for one that is

    def done(self, run: Run) -> bool:
        """Whether the run's result is there."""
        return is_finished(run, self.out)

    def _try(self, run: Run, said: Callable[[str], None]) -> bool:
        waits = self.protocol.game_of(run)
        if self.done(run) or (waits is not None and not self.done(waits)):
            return False
        folder = self.out / run.name
        make_folder(folder)
        with locked(folder / "lock") as mine:
            if not mine or self.done(run):
                return False
            started = time.monotonic()
            self._do(run, folder)
            count = sum(self.done(other) for other in self.protocol.runs())
            minutes = (time.monotonic() - started) / 60
            said(f"{count}/{len(self.protocol.runs())} {run.name} ({minutes:.1f} min)")
        return True

    def _do(self, run: Run, folder: Path) -> None:
        from unmask.detector import Scorer
        from unmask.training import train

        recipe = self.protocol.recipe_of(run, self.data, matched_to_game(self.protocol, run, self.out))
        started = time.monotonic()
        detector = train(recipe, folder, resume=(folder / "checkpoint.pt").exists())
        trained = time.monotonic()
        scorer = Scorer.load(detector)
        write_scores(folder / SCORES, self.tests.score(scorer))
        result: dict[str, Any] = {
            "run": run.name,
            "manipulation": run.manipulation,
            "method": run.method,
            "seed": run.seed,
            "detector": json.loads((detector / "card.json").read_text("utf-8")),
            "tests": rows_of_tests(self.protocol),
            # Of the last process that trained it: a resumed run has spent more.
            "seconds": {"training": round(trained - started, 1), "scoring": round(time.monotonic() - trained, 1)},
            "images_per_second": _speed(folder / "log.jsonl"),
        }
        write_json(folder / RESULT, result)
        for name in ("checkpoint.pt", "best.pt"):  # together four times the size of the detector
            (folder / name).unlink(missing_ok=True)


def run_protocol(
    protocol: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    jobs: int = 1,
    quick: bool = False,
) -> Protocol:
    """Do every run of a protocol that is not done yet.

    Args:
        protocol, data, out, quick: as for :class:`Runner`.
        jobs: processes side by side, one thread each; with 1 the runs are done in this process with its threads.

    Raises:
        UnmaskError: the protocol or a table cannot be used, or a process failed; what is done stays done.
    """
    runner = Runner(protocol, data, out, quick)
    if jobs <= 1:
        runner.go()
        return runner.protocol
    # One thread each: on a CPU two such processes do more than one with two threads, and a run's numbers then do
    # not depend on how many run beside it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    code = "import sys; from unmask.protocols.runner import work; sys.exit(work(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(protocol), str(data), str(out), "quick" if quick else ""]
    processes = [subprocess.Popen(command, env=environment) for _ in range(jobs)]
    try:
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()
    if any(codes):
        raise UnmaskError(out, f"{sum(map(bool, codes))} of {jobs} processes failed; finished runs are kept")
    return runner.protocol


def work(protocol: str, data: str, out: str, quick: str = "") -> int:
    """What each of the processes of :func:`run_protocol` does; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        Runner(protocol, data, out, bool(quick)).go(lambda line: print(line, file=sys.stderr, flush=True))
    except UnmaskError as error:
        print(f"unmask: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def _speed(path: Path) -> float | None:
    speeds = [json.loads(line).get("images_per_second") for line in path.read_text("utf-8").splitlines()]
    known = [speed for speed in speeds if speed is not None]
    return round(float(np.median(known)), 2) if known else None
