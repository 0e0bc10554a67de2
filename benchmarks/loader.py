"""Whether training waits for its data: decoders, augmentation and loader alone, and an epoch with and without them.

    python -m benchmarks.loader [--table faces.parquet] [--size 224] [--json results/loader.json]

The share of compute is the time of some training steps on one batch that is at hand, over the time of as many steps
that take theirs from the loader, its start included. On few cores the loader also takes from training what it does not
make it wait for: that is in this ratio, and in the share of processor time (of one thread each, so that waiting for one
another is no work), which other work disturbs least. Where there is other work, threads of OpenMP that wait actively
slow training down several times over, and the ratios say nothing: OMP_WAIT_POLICY=PASSIVE makes them wait asleep.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import skimage.data
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from benchmarks.measure import Report, arguments
from unmask.data import FaceTable
from unmask.data.augment import Augmentation
from unmask.data.batches import Batch, Batches
from unmask.data.loading import stream
from unmask.data.writer import write_faces
from unmask.game.classifier import build_classifier
from unmask.game.round import Game, RoundConfig
from unmask.training.memory import keep_freed_memory

Decoder = Callable[[bytes], np.ndarray]


def by_pillow(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def by_opencv(encoded: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def by_torchvision(encoded: bytes) -> np.ndarray:
    return (
        decode_jpeg(torch.frombuffer(bytearray(encoded), dtype=torch.uint8), ImageReadMode.RGB).permute(1, 2, 0).numpy()
    )


DECODERS: dict[str, Decoder] = {
    "Pillow": by_pillow,
    "OpenCV": by_opencv,
    "torchvision": by_torchvision,
    "simplejpeg": partial(simplejpeg.decode_jpeg, colorspace="RGB"),
}


def usual_batch(table: FaceTable, rows: np.ndarray, size: int) -> torch.Tensor:
    """The same work (but for the noise) by Pillow and torchvision's transforms, as training scripts usually do it."""
    a = Augmentation()
    turn = v2.RandomApply([v2.RandomRotation(a.degrees, v2.InterpolationMode.BILINEAR)], 0.5)
    crop = v2.RandomResizedCrop(size, (a.min_area, 1.0), (0.9, 1.1))
    light, colour = v2.ColorJitter(brightness=0.25, contrast=0.25), v2.ColorJitter(saturation=0.3, hue=0.04)
    transform = v2.Compose(
        [
            v2.RandomChoice([v2.Compose([turn, crop]), v2.Resize([size, size])]),
            v2.RandomHorizontalFlip(a.flip),
            v2.RandomApply([v2.RandomChoice([light, colour])], a.colour),
            v2.RandomGrayscale(a.grey),
            v2.RandomApply([v2.JPEG(a.jpeg_quality)], a.jpeg),
        ]
    )
    images = []
    for row in rows.tolist():
        torch.manual_seed(row)
        images.append(transform(torch.from_numpy(by_pillow(table.encoded(row)).copy()).permute(2, 0, 1)))
    return torch.stack(images)


def made_table(folder: Path, size: int, videos: int) -> Path:
    """Crops of a portrait that comes with scikit-image, as JPEG 90; fakes differ by their label alone."""
    portrait, rng = skimage.data.astronaut(), np.random.default_rng(0)

    def rows() -> Iterator[dict[str, object]]:
        for video in range(videos):
            side = int(rng.integers(140, 220))
            top, left = rng.integers(0, 30), rng.integers(140, 180)
            crop = cv2.resize(portrait[top : top + side, left : left + side], (size, size))
            encoded = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            yield {"image": encoded, "label": ("real", "fake")[video % 2], "video": str(video)}

    write_faces(folder / "made.parquet", rows())
    return folder / "made.parquet"


class Training:
    """Plain training of an untrained classifier, some steps at a time."""

    def __init__(self, backbone: str, device: torch.device, steps: int) -> None:
        torch.manual_seed(0)
        classifier = build_classifier(backbone, pretrained="none").to(device, memory_format=torch.channels_last).train()
        optimiser = torch.optim.AdamW(classifier.parameters(), 1e-4, fused=True)
        self.game = Game(classifier, None, optimiser, None, RoundConfig())
        self.device, self.steps = device, steps
        self.waited: list[float] = []

    def step(self, batch: Batch) -> None:
        images = batch.images.to(self.device, non_blocking=True)
        images = images.float().div_(255).contiguous(memory_format=torch.channels_last)
        self.game.play(images, batch.labels.to(self.device, non_blocking=True))

    def at_hand(self, batch: Batch) -> None:
        for _ in range(self.steps):
            self.step(batch)

    def loaded(self, load: Callable[[], Iterator[Batch]]) -> None:
        """Steps that take their batch from a loader; notes the share of the time they waited."""
        start, waited = time.perf_counter(), 0.0
        batches = load()
        for _ in range(self.steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            self.step(batch)
        self.waited.append(waited / (time.perf_counter() - start))
        del batches


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--table", type=Path, help="face table of JPEG crops (default: made of one portrait)")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224, help="side of the images, px")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8, help="training steps of each measurement")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="threads of the loader")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if device.type == "cpu":
        keep_freed_memory()
    # torchvision's decoders are on their way out: one more reason not to build on them.
    warnings.filterwarnings("ignore", category=UserWarning)
    with tempfile.TemporaryDirectory() as folder:
        path = options.table or made_table(Path(folder), options.size, 4 * options.batch)
        measure(options, device, path)


def measure(options: argparse.Namespace, device: torch.device, path: Path) -> None:
    size, rows = options.size, options.batch
    table = FaceTable.read(path)
    encoded = [table.encoded(row) for row in range(rows)]
    setting = {"backbone": options.backbone, "size": size, "batch": rows, "steps": options.steps}
    setting |= {"workers": options.workers, "table": path.name}
    setting |= {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set")}
    report = Report("loader", f"{rows} images of {size} px", setting, options.device)

    def batches(**options: object) -> Batches:
        return Batches(table, size=size, batch_size=rows, **options)  # type: ignore[arg-type]

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    decoding = {
        f"decode, {name}": partial(lambda decode: [decode(image) for image in encoded], decode)
        for name, decode in DECODERS.items()
    }
    report.time(decoding, turns=options.turns, seconds=0.3)
    report.figures["largest_difference_from_Pillow_in_levels"] = {
        name: max(int(np.abs(decode(image).astype(int) - by_pillow(image)).max()) for image in encoded)
        for name, decode in DECODERS.items()
    }
    plain, augmented = batches(), batches(augmentation=Augmentation())
    kept = batches(augmentation=Augmentation(), cache_mb=1024)
    alone = {
        "batch, decoded and resized": partial(lambda steps: plain[next(steps)], count()),
        "batch, augmented": partial(lambda steps: augmented[next(steps)], count()),
        "batch, augmented, crops cached": partial(lambda steps: kept[next(steps)], count()),
        "batch, Pillow and torchvision": partial(
            lambda steps: usual_batch(table, augmented.rows(next(steps)), size), count()
        ),
    }
    report.time(alone, turns=options.turns, seconds=0.5, warm_up=4)
    training = Training(options.backbone, device, options.steps)
    report.time({"training step, one thread": partial(training.step, augmented[0])}, turns=options.turns)
    torch.set_num_threads(options.threads)

    pin, last = device.type == "cuda", 1 << 30
    ahead = partial(stream, augmented, 0, last, options.workers, pin=pin)
    process = partial(
        DataLoader, augmented, batch_size=None, sampler=range(last), num_workers=1, prefetch_factor=4, pin_memory=pin
    )
    waited: dict[str, list[float]] = {}

    def noted(name: str, load: Callable[[], Iterator[Batch]]) -> None:
        training.loaded(load)
        waited.setdefault(name, []).append(training.waited[-1])

    steps = f"{options.steps} steps"
    epoch = {
        f"{steps}, batch at hand": partial(training.at_hand, augmented[0]),
        f"{steps}, loader threads": partial(noted, "loader threads", ahead),
        f"{steps}, loader in the loop": partial(noted, "loader in the loop", partial(stream, augmented, 0, last, 0)),
        f"{steps}, one loader process": partial(noted, "one loader process", lambda: iter(process())),
    }
    report.time(epoch, turns=options.turns)

    for name in DECODERS:
        if name != "simplejpeg":
            report.ratio(f"decode {name}/simplejpeg", f"decode, {name}", "decode, simplejpeg", better="higher")
    report.ratio("batch usual/ours", "batch, Pillow and torchvision", "batch, augmented", better="higher")
    for name in ("loader threads", "loader in the loop", "one loader process"):
        report.ratio(f"compute share, {name}", f"{steps}, batch at hand", f"{steps}, {name}", better="higher")
    batch, step = report.times["batch, augmented"], report.times["training step, one thread"]
    at_hand = report.times[f"{steps}, batch at hand"]
    report.figures["images_per_second"] = {
        "loader alone, one thread": round(1e3 * rows / batch["median"], 1),
        "training step alone": round(1e3 * rows * training.steps / at_hand["median"], 1),
    }
    report.figures["share_of_time_waiting"] = {
        name: round(statistics.median(shares), 4) for name, shares in waited.items()
    }
    processor = step["processor_min"], batch["processor_min"]
    report.figures["share_of_processor_time_computing"] = round(processor[0] / sum(processor), 4)
    report.finish(options.json)


if __name__ == "__main__":
    main()
