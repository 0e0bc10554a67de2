"""The training loop: tables and a recipe in, a detector file out; exact to the bit after a kill."""

from __future__ import annotations

import platform
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from unmask.data.batches import Batches
from unmask.data.cut import other_cuts
from unmask.data.loading import stream
from unmask.data.table import FaceTable
from unmask.detector.file import stored_weights
from unmask.errors import UnmaskError
from unmask.evaluation.evaluate import clusters_of
from unmask.forge.on_the_fly import SelfBlending
from unmask.game.adversaries import describe_sigma
from unmask.game.classifier import build_classifier
from unmask.game.round import RoundResult
from unmask.locking import locked
from unmask.training import processes
from unmask.training.checkpoint import load_checkpoint, save_checkpoint
from unmask.training.export import draft_card, export_detector
from unmask.training.identity import check_identity, identity
from unmask.training.interrupt import interrupts_wait
from unmask.training.memory import keep_freed_memory
from unmask.training.players import Players
from unmask.training.recipe import Recipe
from unmask.training.run_log import RunLog
from unmask.training.schedule import rate
from unmask.training.validation import Validation
from unmask.writing import make_folder, remove_unfinished, write_json

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"


def train(recipe: Recipe, out: str | Path, *, resume: bool = False) -> Path:
    """Train a detector.

    Args:
        recipe: what is trained on, who plays, how long.
        out: the run's folder: ``log.jsonl``, ``checkpoint.pt``, ``best.pt``, and at the end ``detector/``.
        resume: go on from the folder's checkpoint. A killed and resumed run equals an uninterrupted one, to the
            bit on the CPU with as many threads.

    Returns:
        The detector's folder, ready for ``unmask detect --detector``.

    Raises:
        UnmaskError: the recipe, a table or the checkpoint cannot be used, or another run writes into the folder; the
            message says which and why.
    """
    device, rank, world = processes.start(recipe.run.device)
    if device.type == "cpu":
        keep_freed_memory()
    try:
        run = _Run(recipe, Path(out), device, rank, world, resume)
        # Two runs in one folder would ship each other's weights. Rank 0 alone writes.
        with locked(run.out / ".lock") if rank == 0 else nullcontext(True) as alone:
            if not alone:
                raise UnmaskError(out, "another process trains here: wait for it, or name another --out")
            return run.go()
    finally:
        processes.stop()


class _Run:
    """One run on one process: what it reads, who plays, how far it is."""

    def __init__(self, recipe: Recipe, out: Path, device: torch.device, rank: int, world: int, resume: bool) -> None:
        self.recipe, self.out, self.device, self.rank, self.world = recipe, out, device, rank, world
        data = recipe.data
        if not data.train or not data.validation:
            raise UnmaskError(
                "recipe", "data.train and data.validation name the face tables (or --data and --validation)"
            )
        if (out / CHECKPOINT).exists() and not resume:
            raise UnmaskError(out, "holds a run already: add --resume to go on with it, or name another --out")
        draft_card(recipe)
        if others := other_cuts([*data.train, *data.validation], data.crop):
            raise UnmaskError("data.crop", f"{others[0]}, which the detector would be given in use")
        make_folder(out)
        self.table = FaceTable.read(
            data.train, data.train_split or None, streaming=data.streaming, buffer_mb=data.buffer_mb
        )
        self.players = Players(recipe, device, world)
        adversary = self.players.adversary
        self.batches = Batches(
            self.table,
            classes=data.classes,
            size=data.size,
            batch_size=data.batch_size,
            augmentation=recipe.augmentation,
            pairing=data.pairing,
            seed=recipe.run.seed,
            rank=rank,
            world=world,
            cache_mb=data.cache_mb,
            originals=adversary is not None and adversary.needs_originals,
            forging=SelfBlending(self.table, data.self_blend) if data.self_blend else None,
        )
        validation = FaceTable.read(data.validation, data.validation_split or None)
        self.validation = Validation(validation, data.size, rank, world)
        shared = set(clusters_of(self.table)) & set(clusters_of(validation))
        #: Components that are trained on and validated by: they make threshold and calibration too bold.
        self.shared = len(shared)
        self.step = 0
        self.best: dict[str, Any] = {"step": -1, "auc": -1.0}
        #: How many steps were planned, from which step on: a resumed run may be made longer or shorter.
        self.plan: list[dict[str, int]] = []
        if resume:
            self._restore(load_checkpoint(out / CHECKPOINT))
        if not self.plan or self.plan[-1]["steps"] != recipe.run.steps:
            self.plan.append({"from_step": self.step, "steps": recipe.run.steps})
        # By the first plan: an adversary that has come in does not leave again where a run is made longer.
        self.players.begin = round(recipe.game.begin * self.plan[0]["steps"])
        self.warned_at = 1

    def go(self) -> Path:
        run = self.recipe.run
        self.log = log = RunLog(self.out, self.step, run.steps, speak=self.rank == 0)
        if self.rank == 0:
            for name in (CHECKPOINT, BEST):
                remove_unfinished(self.out, f"{name}.")
            write_json(self.out / "recipe.json", self.recipe.to_dict())
        log.say(self._description())
        if self.shared:
            log.say(
                f"warning: {self.shared} components are in the validation tables as well: AUC, threshold and"
                " calibration will look better than they are"
            )
        pin = self.device.type == "cuda"
        loader = stream(self.batches, self.step, run.steps, self.recipe.data.workers, pin=pin)
        saved, mark, images = time.monotonic(), time.monotonic(), 0
        with log, interrupts_wait(alone=self.world == 1) as interrupted:
            self.players.classifier.train()
            for batch in loader:
                result = self._play(batch.images, batch.labels)
                self.step += 1
                images += len(batch.labels) * self.world
                if self.step % run.log_every == 0 or self.step == run.steps:
                    speed = images / (time.monotonic() - mark)
                    mark, images = time.monotonic(), 0
                    self._report(result, speed)
                if self.step % run.validate_every == 0 or self.step == run.steps:
                    self._validate()
                    mark, images = time.monotonic(), 0
                if interrupted():
                    self._save()
                    log.say(f"stopped at step {self.step}; go on with --resume")
                    raise KeyboardInterrupt
                if time.monotonic() - saved > 60 * run.checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
            if self.plan[-1]["from_step"] >= run.steps:  # a new plan ends the run where it stands
                self._validate()
            self._save()
        return self._export()

    def _export(self) -> Path:
        """Every rank scores its share of the validation rows with the stored weights; rank 0 writes the file."""
        recipe, folder = self.recipe, self.out / "detector"
        classifier = build_classifier(recipe.model.backbone, recipe.data.classes)
        if self.rank == 0:
            best = load_checkpoint(self.out / BEST)
            # A run that was resumed from before its best step, and has not been as good since, still ships that one.
            self.best = {"step": int(best["step"]), "auc": float(best["auc"])}
            stored = stored_weights(best["state"])
            classifier.load_state_dict(stored)
        processes.same_start(classifier.to(self.device))
        odds = self.validation.log_odds(classifier, self.device)
        if self.rank == 0:
            export_detector(
                folder,
                recipe,
                stored,
                odds,
                self.validation.fake,
                self._history(),
                cluster=self.validation.cluster,
                table=FaceTable.read(recipe.data.validation, recipe.data.validation_split or None),
                adversary=self.players.adversary,
            )
            self.log.say(f"detector: {folder} (validation AUC {self.best['auc']:.4f} at step {self.best['step']})")
        return folder

    def _play(self, images: torch.Tensor, labels: torch.Tensor) -> RoundResult:
        """One round. All that is random in it follows from seed, step and rank: nothing has to be stored."""
        run = self.recipe.run
        torch.manual_seed(int(np.random.default_rng((run.seed, self.step, self.rank, 1)).integers(2**62)))
        share = rate(self.step, run.steps, self.recipe.optimiser)
        images = images.to(self.device, non_blocking=True)
        images = images.float().div_(255).contiguous(memory_format=torch.channels_last)
        return self.players.play(images, labels.to(self.device, non_blocking=True), self.step, share)

    def _report(self, result: RoundResult, speed: float) -> None:
        values: dict[str, Any] = {
            "loss_clean": processes.mean(result.loss_clean),
            "images_per_second": round(speed, 2),
        }
        status = f"clean {values['loss_clean']:.3f}"
        if result.loss_adversarial is not None:
            values["loss_adversarial"] = processes.mean(result.loss_adversarial)
            status += f"  adversarial {values['loss_adversarial']:.3f}"
        if result.map is not None and result.map.shape[1] == 1 and result.labels is not None:
            values["sigma"] = describe_sigma(result.map, result.labels)
            status += "  sigma " + " / ".join(f"{name} {part['mean']:.2f}" for name, part in values["sigma"].items())
        if result.restored is not None and result.labels is not None:
            values["restored"] = processes.mean(result.restored[result.labels > 0].mean())
            status += f"  restored {values['restored']:.2f}"
        values["lr"] = self.players.lr
        values["epoch"] = round(self.step / len(self.batches), 3)
        if not np.isfinite(values["loss_clean"]):
            raise UnmaskError(self.out, f"the loss is not finite at step {self.step}: lower optimiser.lr")
        self._warn()
        self.log.write("train", self.step, values)
        self.log.advance(self.step, f"{status}  {speed:.0f} img/s")

    def _warn(self) -> None:
        """Of rows that cannot be used, at the first and whenever there are twice as many."""
        unusable = self.batches.unusable
        if len(unusable) < self.warned_at:
            return
        self.warned_at = 2 * len(unusable)
        row, reason = next(iter(unusable.items()))
        self.log.say(f"warning: others take the places of {len(unusable)} training rows so far; {row}: {reason}")

    def _validate(self) -> None:
        # Statistics of batches differ from rank to rank: what is validated is what rank 0 stores.
        processes.same_buffers(self.players.shipped)
        odds = self.validation.log_odds(self.players.shipped, self.device)
        auc = float(roc_auc_score(self.validation.fake, odds))
        if auc > self.best["auc"]:
            self.best = {"step": self.step, "auc": auc}
            if self.rank == 0:
                save_checkpoint(self.out / BEST, {**self.best, "state": self.players.shipped.detector_state()})
        self.log.write("validation", self.step, {"auc": auc, "best_auc": self.best["auc"]})
        self.log.say(f"step {self.step}: validation AUC {auc:.4f} (best {self.best['auc']:.4f} at {self.best['step']})")

    def _history(self) -> dict[str, Any]:
        return {
            "best_step": self.best["step"],
            "plan": self.plan,
            "validation_auc": round(self.best["auc"], 5),
            "processes": self.world,
            "device": str(self.device),
            "precision": self.players.precision,
            "machine": platform.processor() or platform.machine(),
            "torch": str(torch.__version__),
            "rows": len(self.table),
            **({"components_validated_too": self.shared} if self.shared else {}),
        }

    def _save(self) -> None:
        if self.rank:
            return
        content: dict[str, Any] = {
            "step": self.step,
            "best": self.best,
            "plan": self.plan,
            **self._identity(),
            **self.players.state(),
        }
        save_checkpoint(self.out / CHECKPOINT, content)

    def _restore(self, content: dict[str, Any]) -> None:
        check_identity(self.out / CHECKPOINT, content, self._identity())
        self.players.restore(content)
        self.step, self.best, self.plan = int(content["step"]), dict(content["best"]), list(content["plan"])

    def _identity(self) -> dict[str, str]:
        return identity(self.recipe, self.table, self.players.precision)

    def _description(self) -> str:
        game = self.recipe.game
        parts = [
            f"{self.recipe.model.backbone} at {self.recipe.data.size} px",
            f"{self.device} {self.players.precision}",
        ]
        parts += [f"{self.world} processes"] if self.world > 1 else []
        parts += [f"{len(self.table)} rows, {len(self.batches)} steps an epoch"]
        if self.batches.left_out:
            parts += [f"{self.batches.left_out} fakes left out, whose originals are not there"]
        if (forging := self.batches.forging) is not None:
            parts += [f"{100 * forging.share:g} % of the fakes self-blended, of {forging.usable.sum()} reals"]
        parts += [f"adversary {self.recipe.adversary.name}"]
        if self.players.adversary is not None:
            parts += [f"{game.play}, {game.adversarial}, lambda {game.weight:g}"]
            if self.players.adversary.learns:
                count = sum(parameter.numel() for parameter in self.players.adversary.parameters())
                parts += [f"{count:,} adversary parameters"]
        return "; ".join(parts)
