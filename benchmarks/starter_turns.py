"""The starter in conversation: its answers to a clip's questions as first, second, third turn.

    python benchmarks/starter_turns.py [--clips tests/starter/clips]

The closed questions about each clip, in the wordings it was trained with, are asked one after another in one
conversation, whose turns are its own answers; and each by itself. Intervals are by bootstrap over clips.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import common

from videollama2 import VideoLlama2
from videollama2.scenes.questions import OPEN_KINDS

CLIPS = Path(__file__).parents[1] / "tests" / "starter" / "clips"
LATER = 4  # turns from here on are counted together


def asked(model: VideoLlama2, clips: Path) -> dict[str, dict[str, list[bool]]]:
    """How it was asked -> clip -> whether each answer was right."""
    questions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in json.loads((clips / "questions.json").read_text()):
        if item["split"] == "train" and item["kind"] not in OPEN_KINDS:
            questions[item["clip"]].append(item)
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for clip, items in questions.items():
        chat, path = model.chat(), str(clips / clip)
        for turn, item in enumerate(items, 1):
            media = {"video": path} if turn == 1 else {}
            name = f"turn {turn}" if turn < LATER else f"turn {LATER} and later"
            right = str(chat.ask(item["question"], **media)) == item["answer"]
            found[name][clip].append(right)
            alone = str(model.ask(item["question"], video=path)) == item["answer"]
            found["each by itself"][clip].append(alone)
        model.forget()
    return found


def as_text(values: dict[str, Any]) -> str:
    """A line for each way of asking."""
    lines = ["| asked | questions | right |", "| --- | ---: | ---: |"]
    for name, (value, low, high) in values["found"].items():
        asked = values["asked"][name]
        lines.append(f"| {name} | {asked} | {value:.3f} ({low:.3f} to {high:.3f}) |")
    return "\n".join(lines)


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", default="starter")
    made.add_argument("--clips", type=Path, default=CLIPS)
    made.add_argument("--out", type=Path, default=common.RESULTS)
    args = made.parse_args()
    found = asked(VideoLlama2.from_pretrained(args.model, device="cpu"), args.clips)
    rows = {
        name: common.share([sum(each) for each in clips.values()], [*map(len, clips.values())])
        for name, clips in sorted(found.items())
    }
    counts = {name: sum(map(len, clips.values())) for name, clips in found.items()}
    values = {"model": args.model, "found": rows, "asked": counts, **common.facts("cpu")}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "starter_turns.json").write_text(json.dumps(values, indent=1) + "\n")
    print(as_text(values))


if __name__ == "__main__":
    main()
