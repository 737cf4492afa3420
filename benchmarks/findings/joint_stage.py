"""The sound's branch: what the joint stage gives, and what each stream gives by itself.

    python benchmarks/findings/joint_stage.py --world starter-assets/world.npz

Two trainings of one length from the same start: "apart", in which every row shows a video or a sound and
never both, and "joint", in which nine of ten rows of a video and a sound show both. Each is then asked about
held-out scenes with both streams, with the video alone and with the sound alone. See `laboratory.py` for what
encoders and language model learned before.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from chart import line_chart
from laboratory import BOTH, HEARD, SEEN, Encoded
from trial import STC, Counts, Trial, Variant, mean_of, over_seeds, parser, score, shown, trials

VARIANTS = (
    Variant("without the joint stage", STC, "apart"),
    Variant("with the joint stage", STC, "joint"),
)
STREAMS = {"both": "both", "video alone": "picture", "sound alone": "sound"}
COLUMNS = {"seen": SEEN, "heard": HEARD, **{kind: (kind,) for kind in BOTH}}


def scores(trial: Trial, kept: Encoded) -> dict[str, Counts]:
    """With which streams -> counts."""
    return {name: score(trial, kept, stream) for name, stream in STREAMS.items()}


def as_text(found: dict[str, Any]) -> str:
    """A line for each training and each way of asking, means of seeds with intervals."""
    lines = [
        "| training | asked with | " + " | ".join(COLUMNS) + " |",
        "| --- | --- |" + " ---: |" * len(COLUMNS),
    ]
    for name, seeds in found.items():
        for streams in STREAMS:
            cells = [
                shown(over_seeds([mean_of(one[streams], kinds) for one in seeds.values()]))
                for kinds in COLUMNS.values()
            ]
            lines.append(f"| {name} | {streams} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    args = parser(__doc__).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    found = trials("joint_stage", VARIANTS, args, scores)
    text = as_text(found)
    Path(args.out / "findings_joint_stage.md").write_text(text + "\n")
    print(text)
    lines = {
        f"{name}, {streams}": [
            over_seeds([mean_of(one[streams], kinds) for one in seeds.values()])
            for kinds in COLUMNS.values()
        ]
        for name, seeds in found.items()
        for streams in STREAMS
    }
    title = f"Held-out scenes, mean of {args.seeds} seeds, 95 % intervals"
    picture = line_chart(title, "types of question", list(COLUMNS), lines)
    Path(args.out / "findings_joint_stage.svg").write_text(picture)


if __name__ == "__main__":
    main()
