"""The paper's Table 1 again, and the downsampling, in the made world.

    python benchmarks/findings/connectors.py --world starter-assets/world.npz

Nine connectors, with and without RegStage, by pooling or convolution over space or over space and time;
then STC with other downsamplings. Each is new, and trained as the paper does, alone and then with the same
language model, on the same scenes and questions for the same number of steps, on what the same frozen eye saw:
8 frames of 6 x 6 patches (the paper: 8 of 24 x 24). See `laboratory.py` for what eye and language model learned before.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from chart import line_chart
from laboratory import SEEN
from trial import Counts, Variant, mean_of, over_seeds, parser, points, score, shown, tell, trials

GROUPS = {
    "order": ("first_thing", "last_thing", "which_first", "next_thing"),
    "movement": ("movement",),
    "place": ("place",),
    "things": ("is_there", "choice", "count_things"),
    "colours": ("plate_colour", "thing_on_plate", "background"),
}
PUBLISHED = ("MVBench", "EgoSchema", "ActivityNet-QA", "mean")
BESIDE = "RegStage, 3D conv (2,2,2)"  # STC: what differences are from


def variant(
    sampler: str, downsample: tuple[int, int, int], depth: int, published: tuple[float, ...] = ()
) -> Variant:
    kind = {"pool": "stp_connector", "conv": "stc_connector_v35"}[sampler]
    name = f"{'' if depth else 'no '}RegStage, {'3D' if downsample[0] > 1 else '2D'} {sampler} "
    return Variant(
        name + f"({','.join(str(step) for step in downsample)})",
        {"connector_type": kind, "depth": depth, "downsample": list(downsample)},
        published=dict(zip(PUBLISHED, published, strict=False)),
    )


TABLE_1 = (  # paper, Table 1: the figures beside ours
    variant("pool", (1, 2, 2), 0, (46.9, 36.5, 49.8, 44.4)),
    variant("conv", (1, 2, 2), 0, (43.9, 32.6, 48.6, 41.7)),
    variant("pool", (8, 1, 1), 0, (43.7, 38.7, 47.5, 43.3)),
    variant("pool", (2, 2, 2), 0, (44.5, 41.1, 48.1, 44.6)),
    variant("conv", (2, 2, 2), 0, (44.8, 39.0, 45.6, 43.1)),
    variant("pool", (1, 2, 2), 2, (46.7, 35.3, 46.9, 43.0)),
    variant("conv", (1, 2, 2), 2, (45.3, 33.5, 48.0, 42.3)),
    variant("pool", (2, 2, 2), 2, (44.4, 39.1, 46.0, 43.2)),
    variant("conv", (2, 2, 2), 2, (45.5, 42.2, 47.6, 45.1)),
)
DOWNSAMPLING = (
    *(v for v in TABLE_1 if v.name in (BESIDE, "RegStage, 2D conv (1,2,2)")),
    variant("conv", (4, 2, 2), 2),
    variant("conv", (2, 3, 3), 2),
    variant("conv", (8, 2, 2), 2),
)


def tokens(one: Variant) -> int:
    time, height, width = one.connector["downsample"]
    return (8 // time) * (6 // height) * (6 // width)


def as_text(found: dict[str, dict[str, Counts]], variants: tuple[Variant, ...]) -> str:
    """A line a connector: mean over types and over seeds, difference from STC, groups of types."""
    lines = [
        "| connector | tokens | all types | less STC, seed by seed | "
        + " | ".join(GROUPS)
        + " | paper: "
        + " / ".join(PUBLISHED)
        + " |",
        "| --- | ---: |" + " ---: |" * (len(GROUPS) + 3),
    ]
    for one in variants:
        seeds = found.get(one.name)
        if not seeds:
            continue
        beside = found.get(BESIDE, {})
        gaps = [mean_of(seeds[n], SEEN) - mean_of(beside[n], SEEN) for n in seeds if n in beside]
        cells = [
            one.name,
            str(tokens(one)),
            shown(over_seeds([mean_of(counts, SEEN) for counts in seeds.values()])),
            shown(over_seeds(gaps), "+") if gaps and one.name != BESIDE else "",
            *map(shown, points(seeds.values(), GROUPS)),
            " / ".join(f"{value:.1f}" for value in (one.published or {}).values()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(found: dict[str, Any], variants: tuple[Variant, ...], title: str) -> str:
    """Groups of types along, a line a connector."""
    groups = {"all types": SEEN, **GROUPS}
    lines = {
        f"{one.name}, {tokens(one)} tokens": points(found[one.name].values(), groups)
        for one in variants
        if one.name in found
    }
    return line_chart(title, "types of question", list(groups), lines)


def main() -> None:
    args = parser(__doc__).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    everything = (*TABLE_1, *(v for v in DOWNSAMPLING if v not in TABLE_1))
    found = trials("connectors", everything, args, score)
    for name, variants in (("connectors", TABLE_1), ("downsampling", DOWNSAMPLING)):
        title = f"{name.capitalize()}: held-out scenes, mean of {args.seeds} seeds, 95 % intervals"
        tell(args, name, as_text(found, variants), picture(found, variants, title))


if __name__ == "__main__":
    main()
