"""How cost grows: first token and memory with frames, sound, batch and answer length; drawn.

    python benchmarks/growth.py [--small] [--quick]

Writes `growth-*.json` and `growth-*.svg` to --out. On a CPU memory is left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import common
import torch

from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.encode import encode_medium
from videollama2.generation.settings import SamplingSettings

AXES = {
    "frames": [8, 16, 32, 64, 128, 256],
    "seconds of sound": [5, 10, 30, 60, 120],
    "questions at once": [1, 2, 4, 8, 16, 32, 64],
    "tokens of the answer": [32, 64, 128, 256, 512],
}
SMALL_AXES = {
    "frames": [8, 16, 32, 64],
    "seconds of sound": [5, 10, 30, 60],
    "questions at once": [1, 2, 4, 8],
    "tokens of the answer": [16, 32, 64, 128],
}


def work(model: Any, args: Any, axis: str, size: int) -> None:
    base = (8, 2.0) if args.small else (16, 30.0)
    frames = size if axis == "frames" else base[0]
    seconds = size if axis == "seconds of sound" else base[1]
    media = common.clip(args, frames, seconds)
    tokens = size if axis == "tokens of the answer" else 1
    rows = size if axis == "questions at once" else 1
    encoded = [encode_medium(model, kind, item) for kind, item in media.items()]
    batch = ContinuousBatch(model, compile_backend=args.compile)
    for row in range(rows):
        prompt = common.prompt_with(model, encoded, 63, seed=row)
        batch.join([BatchRow(prompt, SamplingSettings(max_new_tokens=tokens))])
    while batch.step():
        pass


def measure(model: Any, args: Any, axis: str, size: int) -> dict[str, float]:
    gpu = args.device.startswith("cuda")
    work(model, args, axis, size)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    times = sorted(
        common.timed(lambda: work(model, args, axis, size), args.device) for _ in range(3)
    )
    point = {"size": size, "ms": times[1]}
    if gpu:
        point["gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
    return point


def draw(axes: dict[str, list[dict[str, float]]], title: str, path: Path) -> None:
    """One small picture an axis: milliseconds over size, both logarithmic, from the first point.

    Memory, where it is known, is a broken line from zero, its ends in gigabytes.
    """
    from math import log2

    width, height, gap = 220, 150, 50
    parts = [f'<text x="12" y="20" font-weight="bold">{title}</text>']
    for place, (axis, points) in enumerate(axes.items()):
        left, top = gap + place * (width + gap), 50
        sizes, times = [p["size"] for p in points], [p["ms"] for p in points]
        span = max(log2(max(times) / min(times)), 1e-6)
        xs = [left + width * log2(s / sizes[0]) / log2(sizes[-1] / sizes[0]) for s in sizes]
        ys = [top + height - height * log2(t / min(times)) / span for t in times]
        parts.append(f'<text x="{left}" y="{top - 8}">ms over {axis}</text>')
        parts.append(
            f'<path d="M{left},{top}V{top + height}H{left + width}" stroke="#888" fill="none"/>'
        )
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="2"/>')
        held = [p["gigabytes"] for p in points if "gigabytes" in p]
        if held:
            at = [top + height - height * one / max(held) for one in held]
            broken = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, at, strict=True))
            parts.append(
                f'<polyline points="{broken}" fill="none" stroke="#888" stroke-dasharray="4"/>'
            )
            parts += [
                f'<text x="{xs[end] + 4:.1f}" y="{at[end] + 14:.1f}" fill="#666">'
                f"{held[end]:.1f} GB</text>"
                for end in (0, -1)
            ]
        for x, y, size, ms in zip(xs, ys, sizes, times, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#2563eb"/>')
            parts.append(
                f'<text x="{x:.1f}" y="{top + height + 16}" text-anchor="middle">{size}</text>'
            )
            parts.append(
                f'<text x="{x + 4:.1f}" y="{y - 7:.1f}" text-anchor="middle">{ms:.0f}</text>'
            )
    total = gap + len(axes) * (width + gap)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height + 90}" '
        f'font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("--quick", action="store_true", help="two sizes of each")
    args = made.parse_args()
    chosen = SMALL_AXES if args.small else AXES
    model = common.build(args)
    with torch.inference_mode():
        axes = {
            axis: [
                measure(model, args, axis, size) for size in (sizes[:2] if args.quick else sizes)
            ]
            for axis, sizes in chosen.items()
        }
    for axis, points in axes.items():
        print(f"{axis}: " + ", ".join(f"{p['size']}: {p['ms']:.0f} ms" for p in points))
    args.out.mkdir(parents=True, exist_ok=True)
    kind = "cpu" if args.device == "cpu" else common.hardware(args.device).replace(" ", "-").lower()
    name = f"growth-{kind}{'-small' if args.small else ''}"
    where = f"{common.hardware(args.device)}{', small model' if args.small else ''}"
    values = {"benchmark": "growth", **common.facts(args.device), "small": args.small, "axes": axes}
    (args.out / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")
    draw(axes, f"How cost grows ({where})", args.out / f"{name}.svg")


if __name__ == "__main__":
    main()
