"""Accuracy against tokens: the starter given 2 to 32 frames of a clip instead of its eight.

    python benchmarks/findings/frames.py [--clips 60]

No training: the model learned with eight frames, two a second. The closed questions about the held-out
clips of tests/starter, as files; intervals from drawing clips again within each question type.
Resumable: what the result file holds already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chart import Point, line_chart
from tokens import tokens_of

from videollama2 import VideoLlama2
from videollama2.evaluation.local import LocalModel
from videollama2.evaluation.samples import Sample
from videollama2.evaluation.statistics import mean_interval

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
import robustness

FRAMES = (2, 4, 8, 16, 32)
GROUPS = {
    "order": ("first_thing", "last_thing", "next_thing", "which_first"),
    "movement": ("movement",),
    "things": ("is_there", "choice", "count_things", "plate_colour", "thing_on_plate", "place"),
    "sound": ("heard", "is_heard", "count_sounds", "which_sound_first", "last_sound"),
    "sound and picture": ("who_sounds", "source_visible", "before_after"),
}


def measure(samples: list[Sample]) -> dict[str, dict[str, Any]]:
    """Group of question types -> mean over them, with its interval; "all" is of all types."""
    found: dict[str, dict[str, Any]] = {}
    for name, kinds in {"all": (), **GROUPS}.items():
        kept = [s for s in samples if not kinds or s.question.groups["type"] in kinds]
        if kept:
            types = [sample.question.groups["type"] for sample in kept]
            units = [sample.question.unit for sample in kept]
            found[name] = asdict(mean_interval(robustness.values_of(kept), units, types))
    return found


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", default="starter")
    made.add_argument("--clips", type=int, default=60)
    made.add_argument("--out", type=Path, default=common.RESULTS)
    args = made.parse_args()
    file = args.out / "findings_frames.json"
    weights = common.weights_of(args.model)
    settings = {"model": args.model, "weights": weights, "clips": args.clips}
    values = common.resumed(file, settings, {"found": {}})
    assistant = VideoLlama2.from_pretrained(args.model, device="cpu")
    args.out.mkdir(parents=True, exist_ok=True)
    for frames in FRAMES:
        if str(frames) in values["found"]:
            continue
        model = LocalModel.of(assistant, frames)
        values["found"][str(frames)] = measure(
            robustness.samples_of(model, robustness.CLIPS, args.clips)
        )
        values |= common.facts("cpu")
        file.write_text(json.dumps(values, indent=1) + "\n")
    found = values["found"]
    names = [name for name in ("all", *GROUPS) if all(name in row for row in found.values())]
    print("| frames | tokens | " + " | ".join(names) + " |")
    print("| ---: | ---: |" + " ---: |" * len(names))
    for frames, row in found.items():
        cells = [
            f"{row[n]['value']:.3f} ({row[n]['low']:.3f} to {row[n]['high']:.3f})" for n in names
        ]
        print(f"| {frames} | {tokens_of(int(frames))} | " + " | ".join(cells) + " |")
    lines = {
        name: [
            Point(row[name]["value"], row[name]["low"], row[name]["high"]) for row in found.values()
        ]
        for name in names
    }
    across = [f"{frames} ({tokens_of(int(frames))})" for frames in found]
    picture = line_chart("Frames of a clip", "frames (their tokens); trained with 8", across, lines)
    (args.out / "findings_frames.svg").write_text(picture)


if __name__ == "__main__":
    main()
