"""Bulk work: clips a second with more workers, drawn; what reading a clip costs; how large rows are.

    python benchmarks/bulk.py [--clips DIR] [--counts 1 2] [--times 3] [--prompts 1]

Every clip of DIR (the starter's held-out ones) is captioned `--times` times by the starter: in one
process or several of this machine, and on a local Ray cluster. What is drawn is the whole run, the
loading of models and the start of Ray in it; `after_first_rows_per_s` counts from the first rows to
the last, which flatters Ray: it reads on while models load. `--prompts 8` asks eight questions of each
clip, so that the model is what takes time.
Reading is measured on made clips of 10 s (H.264, 30 frames a second, a picture every 250 stands
alone, AAC): seconds of processor for 16 frames of 384 x 384 and the sound, in one thread.
Writes `bulk-cpu.json` and `bulk-cpu.svg` to --out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import common
from clips import make_clip

ROOT = Path(__file__).parent.parent
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
SECONDS, FRAMES = 10, 16
QUESTIONS = ["Describe what is seen and heard.", "What is heard?", "What is seen?", "Who moves?"]


def answered(rows: Iterator[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """How fast rows come."""
    began = time.perf_counter()
    stamps: list[tuple[float, int]] = []
    size = 0
    for some in rows:
        size += sum(len(json.dumps(row)) + 1 for row in some)
        stamps.append((time.perf_counter() - began, len(some)))
    clips = sum(count for _, count in stamps)
    after = sum(count for at, count in stamps if at > stamps[0][0])
    return {
        "clips": clips,
        "clips_per_s": round(clips / stamps[-1][0], 2),
        "after_first_rows_per_s": round(after / (stamps[-1][0] - stamps[0][0]), 2),
        "whole_s": round(stamps[-1][0], 1),
        "first_row_s": round(stamps[0][0], 1),
        "bytes_per_row": round(size / clips),
    }


def growth(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from videollama2.reading.pool import prepare
    from videollama2.scale.captioner import Asking
    from videollama2.scale.clips import Clip
    from videollama2.scale.cluster import Cluster, caption_on_cluster
    from videollama2.scale.crew import NEEDS, caption_on_this_machine
    from videollama2.scale.intake import ReadSettings
    from videollama2.scale.work import ModelSettings, Work

    files = sorted(args.clips.glob("*.mp4"))
    clips = [Clip(f"{turn}-{file.name}", str(file)) for turn in range(args.times) for file in files]
    prompts = tuple((QUESTIONS * args.prompts)[: args.prompts])
    asking = Asking(prompts, max_new_tokens=args.tokens)
    work = Work(ModelSettings(), asking, ReadSettings(readers=1))
    prepare(*NEEDS)
    found: dict[str, dict[str, Any]] = {}
    for count in args.counts:
        found[f"workers {count}"] = answered(caption_on_this_machine([work] * count, iter(clips)))
        print(f"workers {count}: {found[f'workers {count}']}", flush=True)
    for count in args.counts:
        cluster = Cluster("local", count, 1)
        found[f"ray {count}"] = answered(caption_on_cluster(cluster, work, clips))
        print(f"ray {count}: {found[f'ray {count}']}", flush=True)
    return found


def reading(folder: Path) -> dict[str, dict[str, Any]]:
    import torch

    from videollama2.processing.image_processor import DEFAULT_SETTINGS
    from videollama2.processing.loader import MediaLoader
    from videollama2.processing.parts import VideoInput

    torch.set_num_threads(1)
    loader = MediaLoader(DEFAULT_SETTINGS, DEFAULT_SETTINGS, FRAMES, has_audio=True)
    found: dict[str, dict[str, Any]] = {}
    for name, (width, height) in SIZES.items():
        path = folder / f"{name}.mp4"
        make_clip(path, width, height, SECONDS, preset="ultrafast", crf="30")
        costs: list[float] = []
        for _ in range(4):
            began = time.process_time()
            loaded = loader.load(replace(VideoInput(str(path))))
            costs.append(time.process_time() - began)
        media = sum(one.nbytes for one in (loaded.pixels, loaded.features) if one is not None)
        found[name] = {
            "processor_s": round(sorted(costs[1:])[1], 3),
            "bytes": path.stat().st_size,
            "media_bytes": media,
        }
        print(f"reading {name}: {found[name]}", flush=True)
    return found


def draw(found: dict[str, dict[str, Any]], counts: list[int], title: str, path: Path) -> None:
    """Clips a second over workers: a line for this machine's processes, one for Ray."""
    left, top, width, height = 60, 50, 320, 200
    most = max(one["clips_per_s"] for one in found.values()) * 1.15
    span = max(counts[-1] - counts[0], 1)
    parts = [f'<text x="12" y="20" font-weight="bold">{title}</text>']
    parts.append(f'<text x="{left}" y="{top - 8}">clips a second over workers</text>')
    parts.append(
        f'<path d="M{left},{top}V{top + height}H{left + width}" stroke="#888" fill="none"/>'
    )
    for kind, colour in (("workers", "#2563eb"), ("ray", "#c2410c")):
        rates = [found[f"{kind} {count}"]["clips_per_s"] for count in counts]
        xs = [left + 30 + (width - 60) * (count - counts[0]) / span for count in counts]
        ys = [top + height - height * rate / most for rate in rates]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, count, rate in zip(xs, ys, counts, rates, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            lift = -8 if kind == "workers" else 16
            parts.append(
                f'<text x="{x:.1f}" y="{y + lift:.1f}" text-anchor="middle" '
                f'fill="{colour}">{rate:.1f}</text>'
            )
            parts.append(
                f'<text x="{x:.1f}" y="{top + height + 16}" text-anchor="middle">{count}</text>'
            )
        label = {"workers": "--workers N", "ray": "--ray local --workers N"}[kind]
        at = top + height + (34 if kind == "workers" else 50)
        parts.append(f'<text x="{left}" y="{at}" fill="{colour}">{label}</text>')
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 40}" '
        f'height="{top + height + 64}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--clips", type=Path, default=ROOT / "tests" / "starter" / "clips")
    made.add_argument("--counts", type=int, nargs="+", default=[1, 2])
    made.add_argument("--times", type=int, default=3)
    made.add_argument("--prompts", type=int, default=1)
    made.add_argument("--tokens", type=int, default=32)
    made.add_argument("--out", type=Path, default=common.RESULTS)
    args = made.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        read = reading(Path(scratch))
    found = growth(args)
    values = {
        "hardware": f"{common.hardware('cpu')}, {os.cpu_count()} cores",
        "commit": common.commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "growth": found,
        "reading": read,
    }
    (args.out / "bulk-cpu.json").write_text(json.dumps(values, indent=1) + "\n")
    count = found[f"workers {args.counts[0]}"]["clips"]
    title = f"The starter, {count} clips from start to end, {os.cpu_count()} cores"
    draw(found, args.counts, title, args.out / "bulk-cpu.svg")


if __name__ == "__main__":
    main()
