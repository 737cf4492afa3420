"""Tokens against accuracy: a model for each number of frames of a clip.

    python benchmarks/findings/frame_numbers.py --world starter-assets/world.npz

STC with 2 to 32 frames in equal steps of the same clips, each number trained by itself as the connectors of
Table 1 are (`connectors.py`). `frames.py` gives one model, trained with eight, other numbers of them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from chart import line_chart
from connectors import GROUPS
from laboratory import SEEN
from trial import STC, Variant, mean_of, over_seeds, parser, score, shown, trials

TOKENS_A_PAIR = 9
VARIANTS = tuple(
    Variant(f"{frames} frames", STC, video="many", frames=frames) for frames in (2, 4, 8, 16, 32)
)
COLUMNS = {"all types": SEEN, **GROUPS}


def as_text(found: dict[str, Any]) -> str:
    """A line for each number, means of seeds with intervals."""
    lines = [
        "| frames | tokens | " + " | ".join(COLUMNS) + " |",
        "| ---: |" + " ---: |" * (len(COLUMNS) + 1),
    ]
    for one in VARIANTS:
        if one.name in found:
            seeds = found[one.name].values()
            cells = [
                shown(over_seeds([mean_of(counts, kinds) for counts in seeds]))
                for kinds in COLUMNS.values()
            ]
            tokens = one.frames // 2 * TOKENS_A_PAIR
            lines.append(f"| {one.frames} | {tokens} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    args = parser(__doc__).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    found = trials("frame_numbers", VARIANTS, args, score)
    text = as_text(found)
    Path(args.out / "findings_frame_numbers.md").write_text(text + "\n")
    print(text)
    kept = [one for one in VARIANTS if one.name in found]
    lines = {
        name: [
            over_seeds([mean_of(counts, kinds) for counts in found[one.name].values()])
            for one in kept
        ]
        for name, kinds in COLUMNS.items()
    }
    title = f"A model for each number of frames, mean of {args.seeds} seeds, 95 % intervals"
    across = [f"{one.frames} ({one.frames // 2 * TOKENS_A_PAIR})" for one in kept]
    picture = line_chart(title, "frames (their tokens)", across, lines)
    Path(args.out / "findings_frame_numbers.svg").write_text(picture)


if __name__ == "__main__":
    main()
