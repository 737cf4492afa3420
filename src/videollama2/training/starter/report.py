"""How good the starter is on thousands of scenes never trained on, drawn straight into arrays.

`videollama2 eval scenes` puts it to held-out clips as real files.
"""

import argparse
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.assistant import VideoLlama2
from videollama2.scenes.questions import NOT_CLOSED_KINDS
from videollama2.scenes.world import load_world
from videollama2.training.starter.data import BatchMaker
from videollama2.training.starter.score import TypeScore, mean_accuracy, score

log = logging.getLogger("videollama2.starter")
SPATIAL_KINDS = ("movement", "place")
HELD_OUT_SEED = (4,)
COLUMNS = ("both", "picture", "sound", "unseen")
Table = dict[str, list[TypeScore]]


@dataclass(frozen=True)
class Interval:
    """A 95 % Wilson score interval."""

    low: float
    high: float


def wilson(right: int, asked: int) -> Interval:
    """The interval of a share, from its counts (Wilson, 1927)."""
    if asked == 0:
        return Interval(0.0, 1.0)
    z, share = 1.96, right / asked
    centre = (share + z * z / (2 * asked)) / (1 + z * z / asked)
    spread = (
        z
        / (1 + z * z / asked)
        * math.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked))
    )
    return Interval(max(0.0, centre - spread), min(1.0, centre + spread))


def score_world(model: VideoLlama2, world_file: str, steps: int) -> Table:
    """Score `steps` times 64 scenes in each column."""
    world = load_world(world_file)
    table: Table = {}
    for column in COLUMNS:
        split, stream = ("unseen", "both") if column == "unseen" else ("train", column)
        maker = BatchMaker(world, model.tokenizer, 64, 8, split=split, hide=0.0)
        table[column] = score(model.model, maker, HELD_OUT_SEED, steps, stream)
        log.info("%s: scored", column)
    return table


def as_text(table: Table) -> str:
    """The table: a line a type, a column a stream, counts and the interval of the first column."""
    lines = [
        f"{'type':<20}{'asked':>6}{'commonest':>10}"
        + "".join(f"{name:>9}" for name in table)
        + "   95 % interval"
    ]
    by_column = {name: {s.kind: s for s in scores} for name, scores in table.items()}
    first = by_column["both"]
    for kind in sorted(first, key=lambda k: (k in NOT_CLOSED_KINDS, k in SPATIAL_KINDS, k)):
        counted = first[kind]
        interval = wilson(counted.right, counted.asked)
        cells = "".join(
            f"{scores[kind].accuracy:>9.3f}" if kind in scores else f"{'-':>9}"
            for scores in by_column.values()
        )
        lines.append(
            f"{kind:<20}{counted.asked:>6}{counted.commonest:>10.3f}{cells}"
            f"   {interval.low:.3f} to {interval.high:.3f}"
        )
    for name, left_out in (
        ("mean, closed", NOT_CLOSED_KINDS),
        ("without the spatial", (*NOT_CLOSED_KINDS, *SPATIAL_KINDS)),
    ):
        kept = [s for s in table["both"] if s.kind not in left_out]
        commonest = sum(s.commonest for s in kept) / max(len(kept), 1)
        cells = "".join(f"{mean_accuracy(scores, left_out):>9.3f}" for scores in table.values())
        lines.append(f"{name:<20}{sum(s.asked for s in kept):>6}{commonest:>10.3f}{cells}")
    return "\n".join(lines)


def as_data(table: Table) -> dict[str, Any]:
    """The table as JSON takes it."""
    return {
        column: {
            s.kind: {"asked": s.asked, "right": s.right, "commonest": round(s.commonest, 4)}
            for s in scores
        }
        for column, scores in table.items()
    }


def from_data(data: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """The table that `as_data` gave."""
    return {
        column: [TypeScore(kind, **counts) for kind, counts in scores.items()]
        for column, scores in data.items()
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="starter")
    parser.add_argument("--world", required=True, help="packed pictures and notes")
    parser.add_argument("--steps", default=32, type=int, help="times 64 scenes")
    parser.add_argument("--json", default=None, type=Path, help="write the counts here too")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    model = VideoLlama2.from_pretrained(arguments.model)
    table = score_world(model, arguments.world, arguments.steps)
    log.info("%s", as_text(table))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_data(table), indent=1) + "\n")


if __name__ == "__main__":
    main()
