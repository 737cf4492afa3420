"""Tokens against accuracy: a model for each number of frames of a clip.

    python benchmarks/findings/frame_numbers.py --world starter-assets/world.npz

STC with 2 to 32 frames in equal steps of the same clips, each number trained by itself as the connectors of
Table 1 are (`connectors.py`). `frames.py` gives one model, trained with eight, other numbers of them.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from chart import line_chart
from connectors import GROUPS
from laboratory import SEEN
from tokens import tokens_of
from trial import STC, Variant, parser, points, score, shown, tell, trials

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
            cells = map(shown, points(found[one.name].values(), COLUMNS))
            tokens = tokens_of(one.frames)
            lines.append(f"| {one.frames} | {tokens} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    args = parser(__doc__).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    found = trials("frame_numbers", VARIANTS, args, score)
    kept = [one for one in VARIANTS if one.name in found]
    each = [points(found[one.name].values(), COLUMNS) for one in kept]
    lines = dict(zip(COLUMNS, map(list, zip(*each, strict=True)), strict=False))
    title = f"A model for each number of frames, mean of {args.seeds} seeds, 95 % intervals"
    across = [f"{one.frames} ({tokens_of(one.frames)})" for one in kept]
    picture = line_chart(title, "frames (their tokens)", across, lines)
    tell(args, "frame_numbers", as_text(found), picture)


if __name__ == "__main__":
    main()
