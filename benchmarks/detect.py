"""Seconds from a file to its verdict: this package in torch and in ONNX Runtime, decoding alone, and the plain way.

    python benchmarks/detect.py [--videos DIR] [--rounds 3] [--json results/detect.json]

The plain way is what a first script does: decode the clip, search each of the 32 frames by MTCNN at full resolution,
score the faces one by one. It uses the same decoder, networks and classifier; once with MTCNN's usual smallest face of
20 pixels, once with the one this package looks for. The contenders take turns, so that whatever else the machine
does falls on all of them alike; figures are medians. Cold start and peak memory are those of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from unmask import load_detector
from unmask.demo import portraits
from unmask.detection import Detector
from unmask.faces import MTCNN, read_media
from unmask.sessions import threads

FRAMES = 32
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}


# A child starts with the memory of its parent in its books: this one is small.
_WATCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def make_clip(path: Path, width: int, height: int, seconds: int = 10, rate: int = 25) -> Path:
    """A portrait that wanders over a blurred and grainy background, H.264."""
    portrait = portraits()[0]
    side = int(0.9 * height)
    face = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    back = cv2.GaussianBlur(cv2.resize(portrait, (width, height)), (0, 0), 8).astype(np.int16)
    grain = np.random.default_rng(0).integers(-6, 7, (8, height, width, 1), np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * rate):
            turn = 2 * np.pi * number / (seconds * rate)
            x = int((width - side) * (0.5 + 0.3 * np.sin(turn)))
            y = int((height - side) * (0.5 + 0.4 * np.cos(2 * turn)))
            picture = back.copy()
            picture[y : y + side, x : x + side] = face
            pixels = np.clip(picture + grain[number % 8], 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def ours(detector: Detector, clip: Path) -> dict[str, float]:
    """Seconds in all, and in decoder, face search and classifier, told by the progress that the detector reports."""
    times: list[tuple[float, float]] = []
    start = time.perf_counter()
    found = detector.detect(clip, FRAMES, progress=lambda share: times.append((share, time.perf_counter() - start)))
    json.dumps(found.to_json())
    total = time.perf_counter() - start
    if found.error or not found.tracks:
        raise SystemExit(f"{clip}: no face")
    read = times[0][1]
    searched = max(at for share, at in times if share <= 0.8 + 1e-9)
    scored = max(at for share, at in times if share < 1)
    return {"total": total, "decode": read, "faces": searched - read, "classifier": scored - searched}


def plain(detector: Detector, clip: Path, min_face: float) -> dict[str, float]:
    """The straightforward pipeline; ``min_face`` as a part of the shorter side."""
    start = time.perf_counter()
    frames = []
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        total = stream.frames
        wanted = set(np.linspace(0, total - 1, FRAMES).round().astype(int).tolist())
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
    find = MTCNN(longer_side=max(frames[0].shape), min_face=min_face)
    crop = detector.card.crop.crop
    for frame in frames:
        for face in find([frame])[0]:
            detector.scorer.score([crop(frame, face.box)])
    return {"total": time.perf_counter() - start}


def decoding(clip: Path) -> dict[str, float]:
    """Decoding alone: the 32 frames, to RGB."""
    start = time.perf_counter()
    read_media(clip, FRAMES)
    return {"total": time.perf_counter() - start}


def cold(clip: Path, runtime: str) -> dict[str, float]:
    """`unmask detect` in a new process: seconds to the end, and its largest resident memory in MB."""
    command = [sys.executable, "-m", "unmask", "detect", str(clip), "--runtime", runtime]
    done = subprocess.run([sys.executable, "-c", _WATCH, *command], capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    return {"total": seconds, "peak_mb": kilobytes / 1024}


def measure(clip: Path, detectors: dict[str, Detector], rounds: int) -> dict[str, dict[str, float]]:
    side = min(read_media(clip, 1).width, read_media(clip, 1).height)
    first = next(iter(detectors.values()))
    contenders: dict[str, Callable[[], dict[str, float]]] = {
        **{f"unmask, {name}": lambda it=it: ours(it, clip) for name, it in detectors.items()},
        "decoding alone": lambda: decoding(clip),
        "plain, faces from 20 px": lambda: plain(first, clip, 20 / side),
        "plain, faces from 1/16": lambda: plain(first, clip, 1 / 16),
        **{f"cold start, {name}": lambda name=name: cold(clip, name) for name in detectors},
    }
    for name in detectors:  # warm: networks loaded, buffers there
        contenders[f"unmask, {name}"]()
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            seen[name].append(run())
    return {
        name: {key: round(statistics.median(each[key] for each in runs), 3) for key in runs[0]}
        for name, runs in seen.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, metavar="DIR", help="clips to measure, instead of those it makes")
    parser.add_argument("--seconds", type=int, default=10, help="length of the clips it makes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtimes", nargs="+", choices=["onnx", "torch"], default=["onnx", "torch"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    detectors = {name: load_detector("default", runtime=name) for name in options.runtimes}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as room:
        if options.videos is None:
            clips = {
                name: make_clip(Path(room) / f"{name}.mp4", *size, options.seconds) for name, size in SIZES.items()
            }
        else:
            clips = {path.stem: path for path in sorted(options.videos.rglob("*.mp4"))}
        for name, clip in clips.items():
            found[name] = measure(clip, detectors, options.rounds)
            table = Table("", "s a clip", "clips a minute", "decode", "faces", "classifier", "peak MB", title=name)
            for contender, figures in found[name].items():
                total = figures["total"]
                shares = [f"{figures[key] / total:.0%}" if key in figures else "" for key in ("decode", "faces")]
                shares.append(f"{figures['classifier'] / total:.0%}" if "classifier" in figures else "")
                peak = f"{figures['peak_mb']:.0f}" if "peak_mb" in figures else ""
                table.add_row(contender, f"{total:.2f}", f"{60 / total:.1f}", *shares, peak)
            Console(width=110).print(table)
            best = found[name][f"unmask, {options.runtimes[0]}"]["total"]
            ratios = {f"{key}/unmask": round(found[name][key]["total"] / best, 2) for key in found[name]}
            found[name]["ratios"] = {key: ratio for key, ratio in ratios.items() if not key.startswith("unmask,")}
            print({key: ratio for key, ratio in found[name]["ratios"].items() if key.startswith("plain")})
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "threads": threads()}
        setting = {"frames": FRAMES, "seconds": options.seconds, "rounds": options.rounds}
        options.json.write_text(json.dumps({"machine": machine, "setting": setting, "clips": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
