"""Robustness of a finished detector: white-box attacks beside random controls of equal strength, and codecs."""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask.data.degrade import UNCHANGED, camera_seed, degrade_image
from unmask.data.readable import readable
from unmask.detector.file import ONNX, WEIGHTS, find_detector
from unmask.detector.scorer import Scorer
from unmask.errors import UnmaskError
from unmask.evaluation.attack_plan import Trial, plan
from unmask.evaluation.attack_result import Outcome, Played, Robustness
from unmask.evaluation.bootstrap import Estimate, estimate, missing_class
from unmask.evaluation.evaluate import clusters_of, how_judged
from unmask.game.classifier import log_odds

if TYPE_CHECKING:
    from unmask.data.table import FaceTable
    from unmask.detector import Card

#: The clean rows among records and crops, and what is added to a trial's name for its control.
_CLEAN, _CONTROL = "clean", "/control"


def load_attackable(name_or_path: str | os.PathLike[str], device: str | torch.device | None = None) -> Scorer:
    """A detector with its weights, whose gradients an attack can climb; arguments as :meth:`Scorer.load`.

    Raises:
        UnmaskError: there is no such detector, or it is an ONNX model alone.
    """
    path = Path(name_or_path)
    alone = path.suffix.lower() == ".onnx" and path.is_file()
    folder = path.parent if alone else find_detector(name_or_path)
    if (alone or (folder / ONNX).is_file()) and not (folder / WEIGHTS).is_file():
        raise UnmaskError(path, f"is an ONNX model alone, which gives no gradients: an attack needs {WEIGHTS}")
    return Scorer.load(name_or_path, device)


def attack_detector(
    scorer: Scorer,
    table: FaceTable,
    *,
    tables: Sequence[str] = (),
    attacks: Sequence[str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Robustness:
    """Attack every row in every way and measure the detector, each row by itself as ``evaluate`` does its frames.

    An adversary knows weights and label and changes the image that the classifier takes, already resized. A codec
    gets the crop as it is stored. Random numbers follow from the seed, the attack and the place of the batch, so that
    a figure does not depend on what else is tried.

    Args:
        scorer: the detector.
        table: crops by its recipe; a row that cannot be decoded is left out and listed.
        tables, split: how the table was named and read, for the protocol.
        attacks: names of :data:`~unmask.evaluation.attack_plan.FAMILIES`; None for all.
        limit: rows at most, as many reals as fakes, drawn by the seed; None for the whole table.
        bootstrap: resamples of the 95 % interval over components, 0 for none.
        seed: of the rows that are drawn, of the attacks and of the resamples.
        progress: called with a word, trials done and trials in all, one for each batch.

    Raises:
        UnmaskError: an attack is unknown, the limit is below 2, or a class is missing.
    """
    trials = plan(attacks)
    name = ", ".join(tables) or "face table"
    _check_classes(name, table.fake)
    rows = _drawn(table.fake, limit, seed)
    records, kept, left_out = _play(scorer, table, rows, trials, seed, progress)
    fake, clusters = table.fake[kept], clusters_of(table)[kept].astype(str)
    _check_classes(name, fake, " that could be read")

    def measure(key: str) -> Outcome:
        return _measured(records[key], records[_CLEAN], scorer.card, fake, clusters, bootstrap, seed)

    return Robustness(
        list(tables),
        {
            **how_judged(scorer, split, bootstrap, seed),
            "limit": limit,
            "seed": seed,
            "attacks": list(dict.fromkeys(trial.attack for trial in trials)),
            "threat": "white box, true label, on the resized crop in floats, not adapted to anything between",
            "loss": "cross entropy of real against fake, nats, before calibration",
        },
        {
            "rows": len(kept),
            "real_rows": int(np.sum(~fake)),
            "fake_rows": int(np.sum(fake)),
            "components": len(set(clusters)),
        },
        measure(_CLEAN),
        [
            Played(
                trial.attack,
                trial.method,
                trial.strength,
                measure(trial.name),
                None if trial.control is None else measure(trial.name + _CONTROL),
            )
            for trial in trials
        ],
        left_out,
    )


class _Folded(nn.Module):
    """The detector as its attackers see it: two logits, all manipulations folded into one, a hundredth as large.

    Every adversary here steps along the direction of its gradient alone, which is the same for any rising function of
    the loss. The gradient of the loss itself is 0 in float32 where the log-odds are beyond 17: a detector that
    is very sure would look robust (Carlini and Wagner 2016, arXiv 1607.04311).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        odds = log_odds(self.model(images).double()) / 100
        return torch.stack((torch.zeros_like(odds), odds), dim=1)


@dataclass
class _Record:
    """What was measured of each row, in the order in which rows were attacked."""

    log_odds: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    sigma: list[float] = field(default_factory=list)

    def add(self, scorer: Scorer, images: Tensor, clean: Tensor | None = None, sigma: Tensor | None = None) -> None:
        """Score a batch (B, 3, S, S) and measure it against the clean one; sigma is (B, 1, S, S), px."""
        self.log_odds += scorer.log_odds_of(images).tolist()
        if clean is not None:
            error = (images.double() - clean).square().flatten(1).mean(1).cpu().numpy()
            with np.errstate(divide="ignore"):
                self.psnr += np.minimum(-10 * np.log10(error), UNCHANGED).tolist()
        if sigma is not None:
            self.sigma += sigma.flatten(1).mean(1).tolist()


def _drawn(fake: npt.NDArray[np.bool_], limit: int | None, seed: int) -> npt.NDArray[np.int64]:
    """The rows to attack, ascending."""
    if limit is None:
        return np.arange(len(fake))
    if limit < 2:
        raise UnmaskError("limit", f"must be 2 or more, one row of each class, got {limit}")
    classes = [np.flatnonzero(fake == value) for value in (False, True)]
    each = min(limit // 2, *map(len, classes))
    rng = np.random.default_rng(seed)
    return np.sort(np.concatenate([rng.choice(rows, each, replace=False) for rows in classes]))


def _play(
    scorer: Scorer,
    table: FaceTable,
    rows: npt.NDArray[np.int64],
    trials: Sequence[Trial],
    seed: int,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[dict[str, _Record], list[int], list[dict[str, str]]]:
    """Every trial on the rows: what was measured, which of them could be read, and why the others could not."""
    left_out: list[dict[str, str]] = []
    records: dict[str, _Record] = defaultdict(_Record)
    kept: list[int] = []
    classifier = _Folded(scorer.model)
    qualities = [trial.quality for trial in trials if trial.quality is not None]
    coded = partial(_coded, table, qualities)
    with torch.random.fork_rng([scorer.device] if scorer.device.type == "cuda" else []):
        for start in range(0, len(rows), scorer.batch_size):
            some = rows[start : start + scorer.batch_size]
            batch = dict(readable(some, coded, left_out))
            if not batch:
                continue
            images = scorer.prepare([each[_CLEAN] for each in batch.values()])
            labels = torch.from_numpy(table.fake[list(batch)].astype(np.int64)).to(scorer.device)
            records[_CLEAN].add(scorer, images)
            for number, trial in enumerate(trials):
                if trial.quality is not None:
                    lossy = scorer.prepare([each[trial.quality] for each in batch.values()])
                    records[trial.name].add(scorer, lossy, images)
                else:
                    _seed(seed, len(kept), trial.name)
                    _attack(trial, records, scorer, classifier, images, labels)
                if progress is not None:
                    done = start * len(trials) + (number + 1) * len(some)
                    progress("attacks", done, len(rows) * len(trials))
            kept += batch
    return records, kept, left_out


def _coded(table: FaceTable, qualities: Sequence[str], row: int) -> dict[str, npt.NDArray[np.uint8]]:
    """The crop of a row, uint8 (H, W, 3), clean and at each quality.

    Raises:
        UnmaskError: it cannot be decoded, or a codec refuses it.
    """
    crop = table.image(row)
    seed = camera_seed(table, row)
    try:
        return {_CLEAN: crop} | {quality: degrade_image(crop, quality, seed) for quality in qualities}
    except Exception as error:  # a codec refuses what nobody foresaw: this row, not the table
        raise UnmaskError(table.where(row), f"cannot be degraded ({type(error).__name__}: {error})") from error


def _seed(seed: int, start: int, name: str) -> None:
    """Torch's random numbers follow from the seed, the place of the batch and the trial's name."""
    rng = np.random.default_rng((seed, start, zlib.crc32(name.encode())))
    torch.manual_seed(int(rng.integers(2**62)))


def _attack(
    trial: Trial,
    records: dict[str, _Record],
    scorer: Scorer,
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
) -> None:
    """One adversary and its control on one batch, into their records."""
    assert trial.adversary is not None
    assert trial.control is not None
    attack = trial.adversary(images, labels, classifier)
    control = trial.control(attack, labels)(images, labels, classifier)
    for key, played in ((trial.name, attack), (trial.name + _CONTROL, control)):
        records[key].add(scorer, played.images, images, played.map if trial.attack == "blur" else None)


def _measured(
    record: _Record,
    clean: _Record,
    card: Card,
    fake: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.str_],
    resamples: int,
    seed: int,
) -> Outcome:
    odds = np.asarray(record.log_odds)
    found = estimate(fake, card.probability(odds), clusters, card.threshold, resamples, seed)
    tpr = found["tpr"]
    value, low, high = (None if share is None else 1 - share for share in (tpr.value, tpr.high, tpr.low))
    metrics = {
        "auc": found["auc"],
        "accuracy": found["accuracy"],
        "fakes_called_real": Estimate(value, low, high, tpr.reason),
        "reals_called_fake": found["fpr"],
    }
    loss, before = (float(np.logaddexp(0, np.where(fake, -z, z)).mean()) for z in (odds, np.asarray(clean.log_odds)))
    psnr, sigma = (float(np.mean(values)) if values else None for values in (record.psnr, record.sigma))
    return Outcome(len(odds), metrics, loss, loss - before, psnr, sigma)


def _check_classes(name: str, fake: npt.NDArray[np.bool_], which: str = "") -> None:
    if (missing := missing_class(fake)) is not None:
        raise UnmaskError(name, f"{missing}{which}")
