"""The sound's branch: what each stream gives by itself, what the joint stage gives, and the released window.

    python benchmarks/findings/joint_stage.py --world starter-assets/world.npz

Trainings of one length from the same start. Rows show the video alone; the sound alone; one or the other and
never both (without the joint stage); or both in nine of ten rows (with it). The last of them again
with the soundtrack as the released code hears it: eight clips of two seconds one after another, and zeros up to 30 s.
Each is then asked about held-out scenes with both streams, with the video alone and with the sound
alone, as far as it was shown them. See `laboratory.py` for what encoders and language model learned before.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from chart import line_chart
from laboratory import BOTH, HEARD, SEEN, Encoded
from trial import STC, Counts, Trial, Variant, parser, points, score, shown, tell, trials

LONGER = 2
VARIANTS = (
    Variant("the video alone", STC, hide=(0.0, 1.0), longer=LONGER),
    Variant("the sound alone", STC, hide=(1.0, 0.0), longer=LONGER),
    Variant("without the joint stage", STC, hide=(0.5, 0.5), longer=LONGER),
    Variant("with the joint stage", STC, hide=(0.05, 0.05), longer=LONGER),
    Variant("with it, released window", STC, hide=(0.05, 0.05), audio="window", longer=LONGER),
)
STREAMS = {"both": "both", "video alone": "picture", "sound alone": "sound"}
COLUMNS = {"seen": SEEN, "heard": HEARD, **{kind: (kind,) for kind in BOTH}}


def scores(trial: Trial, kept: Encoded) -> dict[str, Counts]:
    """With which streams -> counts, for those that it was shown."""
    video, audio = trial.variant.hide or (0.0, 1.0)
    lacks = {"both": max(video, audio), "video alone": video, "sound alone": audio}
    return {name: score(trial, kept, STREAMS[name]) for name in STREAMS if lacks[name] < 1}


def as_text(found: dict[str, Any]) -> str:
    """A line for each training and each way of asking, means of seeds with intervals."""
    lines = [
        "| training | asked with | " + " | ".join(COLUMNS) + " |",
        "| --- | --- |" + " ---: |" * len(COLUMNS),
    ]
    for name, seeds in found.items():
        for streams in _asked_with(seeds):
            cells = map(shown, points((one[streams] for one in seeds.values()), COLUMNS))
            lines.append(f"| {name} | {streams} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _asked_with(seeds: dict[str, dict[str, Counts]]) -> tuple[str, ...]:
    return tuple(next(iter(seeds.values())))


def main() -> None:
    args = parser(__doc__).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    found = trials("joint_stage", VARIANTS, args, scores)
    lines = {
        f"{name}, {streams}": points((one[streams] for one in seeds.values()), COLUMNS)
        for name, seeds in found.items()
        for streams in _asked_with(seeds)
    }
    title = f"Held-out scenes, mean of {args.seeds} seeds, 95 % intervals"
    picture = line_chart(title, "types of question", list(COLUMNS), lines)
    tell(args, "joint_stage", as_text(found), picture)


if __name__ == "__main__":
    main()
