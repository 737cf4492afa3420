"""The starter's answers about the clips that ship, by question type: what `make starter-report` left, as a table.

    make starter-report && python benchmarks/starter_clips.py

"commonest" is what the commonest right answer of a type would give. Intervals are by bootstrap over clips.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import common

from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import read_replies
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.samples import score_all
from videollama2.scenes.questions import CLOSED_KINDS, KINDS

ROOT = Path(__file__).parents[1]
BOTH = ("accuracy", "open", "unanswerable")  # metrics that are asked of both streams
COLUMNS = {"picture": "picture only", "sound": "sound only", "unseen": "unseen wording"}


def scored(clips: Path, replies: Path) -> dict[str, dict[str, Any]]:
    """Type -> what was asked of both streams, by clip, and right answers by metric."""
    task = find("scenes")
    questions = list(read_questions(task, clips, Choice()))
    found: dict[str, dict[str, Any]] = {
        kind: {"clips": defaultdict(list), "right": Counter(), "metrics": defaultdict(list)}
        for kind in KINDS
    }
    for sample in score_all(task, questions, read_replies(replies), {}):
        of = found[sample.question.groups["type"]]
        for metric, value in sample.marks.released.scores.items():
            of["metrics"][metric].append(value)
            if metric in BOTH:
                of["clips"][sample.question.cluster].append(value)
                of["right"].update(sample.question.references)
    return found


def row_of(of: dict[str, Any]) -> dict[str, Any]:
    """Counts of a type, and its interval."""
    asked = sum(map(len, of["clips"].values()))
    right = [int(sum(each)) for each in of["clips"].values()]
    value, low, high = common.share(right, [len(each) for each in of["clips"].values()])
    return {
        "asked": asked,
        "commonest": max(of["right"].values()) / asked,
        "both": value,
        "interval": [low, high],
        **{
            name: sum(of["metrics"][metric]) / len(of["metrics"][metric])
            for name, metric in COLUMNS.items()
            if of["metrics"][metric]
        },
    }


def as_text(rows: dict[str, dict[str, Any]]) -> str:
    """A line a type, closed ones first, and their mean."""
    names = ("both", *COLUMNS)
    lines = [
        f"{'type':<20}{'asked':>6}{'commonest':>10}"
        + "".join(f"{name:>9}" for name in names)
        + "   95 % interval of both"
    ]
    for kind in sorted(rows, key=lambda kind: (kind not in CLOSED_KINDS, kind)):
        row = rows[kind]
        cells = "".join(f"{row[n]:>9.3f}" if n in row else f"{'-':>9}" for n in names)
        low, high = row["interval"]
        lines.append(
            f"{kind:<20}{row['asked']:>6}{row['commonest']:>10.3f}{cells}   {low:.3f} to {high:.3f}"
        )
    closed = [rows[kind] for kind in CLOSED_KINDS if kind in rows]
    means = [sum(row[name] for row in closed) / len(closed) for name in ("commonest", *names)]
    asked = sum(row["asked"] for row in closed)
    cells = "".join(f"{mean:>9.3f}" for mean in means[1:])
    lines.append(f"{'mean, closed':<20}{asked:>6}{means[0]:>10.3f}{cells}")
    return "\n".join(lines)


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--clips", type=Path, default=ROOT / "tests" / "starter" / "clips")
    made.add_argument(
        "--replies", type=Path, default=ROOT / "outputs" / "starter-report" / "scenes"
    )
    made.add_argument("--out", type=Path, default=common.RESULTS)
    args = made.parse_args()
    rows = {
        kind: row_of(of) for kind, of in scored(args.clips, args.replies).items() if of["clips"]
    }
    values = {"weights": common.weights_of("starter"), "types": rows, **common.facts("cpu")}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "starter_clips.json").write_text(json.dumps(values, indent=1) + "\n")
    print(as_text(rows))


if __name__ == "__main__":
    main()
