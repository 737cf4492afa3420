"""What a soundtrack that is off does to the starter's answers, and how its window matters.

    python benchmarks/findings/soundtrack.py --world starter-assets/larger.npz [--steps 16]

No training: the bundled model is asked the same questions about the same held-out scenes (16
times 64), each time with another soundtrack. Delayed: hiss first, what runs past the end is lost;
early: the other way round. "another clip's": that of the scene before it. Windows: the released one
(eight clips of two seconds one after another, zeros up to 30 s), the same eight clips without the
zeros, and the whole in time order, which the starter was trained with. The right answers stay those
of the undisturbed scene. Resumable: what the result file holds already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from chart import Point, line_chart
from numpy.typing import NDArray

from videollama2 import VideoLlama2
from videollama2.processing.sound import released_soundtrack_window
from videollama2.scenes.questions import NOT_CLOSED_KINDS
from videollama2.scenes.world import SAMPLING_RATE, load_world
from videollama2.training.starter.data import BatchMaker
from videollama2.training.starter.report import HELD_OUT_SEED, wilson
from videollama2.training.starter.score import score

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

Sound = NDArray[np.float32]
BOTH = ("who_sounds", "source_visible", "before_after")
EAR = ("heard", "is_heard", "count_sounds", "which_sound_first", "last_sound")
DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0)
NOTHING = {"asked": 0, "right": 0}
RELEASED_SAMPLES = 16 * SAMPLING_RATE  # eight clips of two seconds


def delayed(seconds: float) -> Callable[[Sound], Sound]:
    """The sound so much later (earlier where negative); its own first noise fills the gap."""
    shift = round(abs(seconds) * SAMPLING_RATE)

    def hear(waveform: Sound) -> Sound:
        if not shift:
            return waveform
        level = float(np.sqrt(np.median(waveform**2)))
        noise = np.random.default_rng(0).standard_normal(shift, dtype=np.float32) * level
        kept = waveform[: waveform.size - shift] if seconds > 0 else waveform[shift:]
        parts = (noise, kept) if seconds > 0 else (kept, noise)
        return np.concatenate(parts).astype(np.float32)[: waveform.size]

    return hear


class Neighbour:
    """Each clip hears the one before it; the first hears nothing."""

    def __init__(self) -> None:
        self.last: Sound | None = None

    def __call__(self, waveform: Sound) -> Sound:
        given = np.zeros_like(waveform) if self.last is None else self.last
        self.last = waveform
        return given


def conditions() -> dict[str, Callable[[Sound], Sound]]:
    """Name -> what is heard of a soundtrack."""
    found: dict[str, Callable[[Sound], Sound]] = {
        f"{sign * delay:+g} s": delayed(sign * delay)
        for delay in DELAYS
        for sign in ((1, -1) if delay else (1,))
    }
    found["another clip's"] = Neighbour()
    found["8 clips of 2 s, zeros to 30 s"] = released_soundtrack_window
    found["8 clips of 2 s"] = lambda waveform: released_soundtrack_window(waveform)[
        :RELEASED_SAMPLES
    ]
    return found


def measure(model: VideoLlama2, world: Any, args: Any, hear: Any) -> dict[str, dict[str, int]]:
    """Type -> questions asked and right answers."""
    maker = BatchMaker(world, model.tokenizer, args.at_once, 8, hide=0.0, hear=hear)
    scores = score(model.model, maker, HELD_OUT_SEED, args.steps)
    return {s.kind: {"asked": s.asked, "right": s.right} for s in scores}


def point(counts: dict[str, int]) -> Point:
    interval = wilson(counts["right"], counts["asked"])
    return Point(counts["right"] / max(counts["asked"], 1), interval.low, interval.high)


def mean_of(counts: dict[str, dict[str, int]], kinds: tuple[str, ...]) -> float:
    """The mean over those of the types that were asked."""
    shares = [counts[kind]["right"] / counts[kind]["asked"] for kind in kinds if kind in counts]
    return sum(shares) / max(len(shares), 1)


def as_text(found: dict[str, dict[str, dict[str, int]]]) -> str:
    """A line a condition: the types that need both streams with intervals, means of the others."""
    lines = [
        "| soundtrack | " + " | ".join(BOTH) + " | heard alone | seen alone |",
        "| --- |" + " ---: |" * (len(BOTH) + 2),
    ]
    for name, counts in found.items():
        cells = [
            f"{p.value:.3f} ({p.low:.3f} to {p.high:.3f})"
            for p in (point(counts.get(kind, NOTHING)) for kind in BOTH)
        ]
        seen = tuple(k for k in counts if k not in (*BOTH, *EAR, *NOT_CLOSED_KINDS))
        cells += [f"{mean_of(counts, EAR):.3f}", f"{mean_of(counts, seen):.3f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", default="starter")
    made.add_argument("--world", default=None, help="packed pictures and notes")
    made.add_argument("--steps", type=int, default=16, help="batches of scenes")
    made.add_argument("--at-once", type=int, default=64, help="scenes in a batch")
    made.add_argument("--only", nargs="*", help="only these soundtracks, by name")
    made.add_argument("--out", type=Path, default=common.RESULTS)
    args = made.parse_args()
    file = args.out / "findings_soundtrack.json"
    weights = common.weights_of(args.model)
    settings = {"model": args.model, "weights": weights, "scenes": args.at_once * args.steps}
    values = common.resumed(file, settings, {"found": {}})
    found: dict[str, Any] = values["found"]
    model, world = VideoLlama2.from_pretrained(args.model, device="cpu"), load_world(args.world)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, hear in conditions().items():
        if name in found or (args.only and name not in args.only):
            continue
        found[name] = measure(model, world, args, hear)
        values |= common.facts("cpu")
        file.write_text(json.dumps(values, indent=1) + "\n")
    print(as_text(found))
    late = [f"{delay:+g} s" for delay in DELAYS]
    shown = [name for name in (*late, "another clip's") if name in found]
    lines = {
        kind: [point(found[name].get(kind, NOTHING)) for name in shown] for kind in (*BOTH, "heard")
    }
    title = f"A late soundtrack ({settings['scenes']} held-out scenes, 95 % intervals)"
    picture = line_chart(title, "how much later the sound is", shown, lines)
    (args.out / "findings_soundtrack.svg").write_text(picture)


if __name__ == "__main__":
    main()
