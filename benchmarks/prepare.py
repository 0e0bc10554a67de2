"""Videos to faces: `unmask prepare` against MTCNN at full resolution frame by frame, and against decoding alone.

    python -m benchmarks.prepare [--json results/prepare.json] [--videos DIR] [--workers 2] [--rounds 3]

The three take turns with the same clips, frames and number of processes. Decoding alone takes the same frames as RGB
and drops them: the bound. The reference is the same pipeline, but for the search: each frame as it is, down to faces
of 20 pixels, as the published preprocessing scripts do it.

Ratios are of the work that grows with the data set: what the processes did, by the clock and by the processor, and
the writing of the table; the start of the processes is not in them. They are of the fastest round, which other work on
the machine disturbs least.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine, quartiles
from unmask.cores import cores
from unmask.data.layouts import Clip, Index
from unmask.data.prepare import PrepareRecipe, prepare
from unmask.data.prepare.clip import Note, Row, prepare_clip
from unmask.data.prepare.pictures import Pictures
from unmask.demo import portraits
from unmask.faces import MTCNN, Face, FaceFollower, Scenes, find_media
from unmask.workers import WorkerDied, work

CONTENDERS = ("decoding alone", "unmask prepare", "MTCNN at full resolution")
FIGURES = ("clock", "processor")
RATIOS = (
    ("prepare/decoding alone", "unmask prepare", "decoding alone", "lower"),
    ("full resolution/prepare", "MTCNN at full resolution", "unmask prepare", "higher"),
)
KINDS = ("decoding", "detection", "crops", "writing")


class FullResolution(FaceFollower):
    """Every frame searched as it is."""

    def __init__(self) -> None:
        super().__init__(MTCNN(longer_side=1 << 15, min_face=1e-6))

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[int, list[Face]]]:
        scenes = Scenes()
        for frame in frames:
            yield scenes.label(frame), self.detector([frame])[0]


def contender(name: str, recipe: PrepareRecipe) -> Callable[[Clip], tuple[list[Row], Note]]:
    """What a process does with a clip, and the seconds that took."""
    cv2.setNumThreads(1)
    follower = FaceFollower() if name == "unmask prepare" else FullResolution()
    follower.detector([np.zeros((256, 256, 3), np.uint8)])  # loads the networks

    def do(clip: Clip) -> tuple[list[Row], Note]:
        clock, processor = time.perf_counter(), time.process_time()
        if name == "decoding alone":
            count = sum(1 for _ in Pictures(clip, recipe))
            rows: list[Row] = []
            note: Note = {"state": "no face", "rows": 0, "frames": count}
        else:
            rows, note = prepare_clip(clip, recipe, follower)
        note["took"] = {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}
        return rows, note

    return do


def run(name: str, index: Index, recipe: PrepareRecipe, workers: int) -> dict[str, Any]:
    """One contender over all clips, written to a folder that is thrown away."""
    notes: list[Note] = []
    waited = 0.0

    def executor(_: Any, items: Iterable[Clip], team: int, timeout: float | None) -> Iterator[Any]:
        nonlocal waited
        since = time.perf_counter()
        for clip, answer in work(functools.partial(contender, name, recipe), items, team, timeout):
            if isinstance(answer, WorkerDied):
                raise SystemExit(f"{clip.paths[0]}: {answer}")
            notes.append(answer[1])
            waited += time.perf_counter() - since
            yield clip, answer
            since = time.perf_counter()
        waited += time.perf_counter() - since

    with tempfile.TemporaryDirectory() as out:
        start, processor = time.perf_counter(), time.process_time()
        report = prepare(index, out, recipe, workers=workers, timeout=None, executor=executor)
        wall = time.perf_counter() - start
        # What this process did beyond waiting for the others: rows to Parquet, and the report.
        writing = {"clock": wall - waited, "processor": time.process_time() - processor}
    if report.done < len(index.clips) and name != "decoding alone":
        raise SystemExit(f"{name}: {report.reasons}")
    busy = {each: sum(note["took"][each] for note in notes) + writing[each] for each in FIGURES}
    spent = {kind: sum(note.get("seconds", {}).get(kind, 0.0) for note in notes) for kind in KINDS}
    spent["writing"] = writing["clock"]
    shares = {kind: round(seconds / busy["clock"], 3) for kind, seconds in spent.items()}
    return {
        "busy": busy,
        "wall_with_start": wall,
        "videos_per_minute": 60 * len(notes) * workers / busy["clock"],
        "faces_per_second": report.rows * workers / busy["clock"],
        "faces": report.rows,
        "frames": report.frames,
        "shares": shares if name != "decoding alone" else {},
    }


def make_clips(folder: Path, seconds: float) -> list[Path]:
    """A hand-held camera on two portraits, H.264 at 30 frames/s, 1080p and 720p."""
    made = []
    for height, rate in ((1080, 30), (720, 30)):
        width = height * 16 // 9
        for number, portrait in enumerate(portraits()):
            made.append(folder / f"{height}p-{number}.mp4")
            with av.open(str(made[-1]), "w") as container:
                stream = container.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "medium"})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.time_base = Fraction(1, rate)
                for moment in range(round(seconds * rate)):
                    sway = np.array([np.sin(moment / 17), np.sin(moment / 11)]) * (0.03 * width, 0.02 * height)
                    scale = height / portrait.shape[0] * (1.25 + 0.05 * np.sin(moment / 29))
                    shift = np.array([width, height]) / 2 - scale * np.array(portrait.shape[1::-1]) * (0.5, 0.4) + sway
                    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
                    view = cv2.warpAffine(portrait, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
                    frame = av.VideoFrame.from_ndarray(np.asarray(view, np.uint8), format="rgb24")
                    frame.pts = moment
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
    return made


def index_of(paths: list[Path]) -> Index:
    names = [f"{number:03}-{path.stem}" for number, path in enumerate(paths)]
    clips = (
        Clip((path,), "real", "real", "benchmark", "as it is", "", name, name, name)
        for path, name in zip(paths, names, strict=True)
    )
    return Index("benchmark", tuple(clips))


def benchmark(paths: list[Path], options: argparse.Namespace, console: Console) -> dict[str, Any]:
    index, recipe = index_of(paths), PrepareRecipe(frames=options.frames)
    workers = min(options.workers, len(paths))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for turn in range(options.rounds):
        for name in CONTENDERS:
            runs[name].append(run(name, index, recipe, workers))
            console.print(f"round {turn + 1}, {name}: {runs[name][-1]['videos_per_minute']:.1f} videos a minute")
    best = {name: min(each, key=lambda one: one["busy"]["clock"]) for name, each in runs.items()}
    least = {name: {f: min(one["busy"][f] for one in each) for f in FIGURES} for name, each in runs.items()}
    result = {
        "benchmark": "prepare",
        "setting": {
            "clips": len(paths),
            "of": "a folder"
            if options.videos
            else f"made by the benchmark, {options.seconds:g} s each, 1080p and 720p",
            "frames_a_clip": options.frames,
            "workers": workers,
        },
        "rounds": options.rounds,
        "machine": machine(),
        "load_after": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "contenders": best,
        "ratios": {},
        "ratio_spread": {},
        "runs": {name: [one["busy"] for one in each] for name, each in runs.items()},
    }
    for name, above, below, better in RATIOS:
        for each in FIGURES:
            by_round = [a["busy"][each] / b["busy"][each] for a, b in zip(runs[above], runs[below], strict=True)]
            low, _, high = quartiles(by_round)
            key = f"{name}, {each}"
            result["ratios"][key] = round(least[above][each] / least[below][each], 2)
            result["ratio_spread"][key] = {"low": round(low, 3), "high": round(high, 3), "better": better}
    table = Table("", "videos / min", "faces / s", "decoding", "detection", "crops", "writing")
    for name, one in best.items():
        shares = [f"{one['shares'][kind]:.0%}" if one["shares"] else "" for kind in KINDS]
        table.add_row(name, f"{one['videos_per_minute']:.1f}", f"{one['faces_per_second']:.1f}", *shares)
    console.print(table)
    console.print(result["ratios"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="these videos, in the place of made ones")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the made clips")
    parser.add_argument("--frames", type=int, default=32, metavar="N", help="taken of each clip")
    parser.add_argument("--workers", type=int, default=cores(), metavar="N", help="processes")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = list(find_media(options.videos)) if options.videos else make_clips(Path(folder), options.seconds)
        result = benchmark(paths, options, Console())
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
