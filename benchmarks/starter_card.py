"""Writes the tables of the starter's card from the result files of its measurements.

    make starter-card     # measures all of them anew first, about half an hour on two cores
    python benchmarks/starter_card.py

A table stands between `<!-- NAME -->` and `<!-- end -->`; all other words of the card are written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import robustness
import starter_clips
import starter_named
import starter_turns

from videollama2.training.starter import report

CARD = Path(__file__).parents[1] / "src" / "videollama2" / "starter" / "README.md"


def _block(text: str) -> str:
    return f"```\n{text}\n```"


TABLES: dict[str, Callable[[Any], str]] = {
    "starter_world": lambda values: _block(report.as_text(report.from_data(values))),
    "starter_clips": lambda values: _block(starter_clips.as_text(values["types"])),
    "starter_turns": starter_turns.as_text,
    "starter_named": starter_named.as_text,
    "robustness": lambda values: robustness.as_text(values["rows"]),
}


def filled(card: str, results: Path) -> str:
    """The card with every table as its result file has it.

    Raises:
        ValueError: the card has no place for one of them.
        FileNotFoundError: one was not measured.
    """
    for name, table in TABLES.items():
        text = table(json.loads((results / f"{name}.json").read_text()))
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        card, found = place.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", card)
        if found != 1:
            raise ValueError(f"the card has {found} places for {name}, not one")
    return card


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--card", type=Path, default=CARD)
    made.add_argument("--results", type=Path, default=common.RESULTS)
    args = made.parse_args()
    args.card.write_text(filled(args.card.read_text(), args.results))
    print(f"{args.card}: {len(TABLES)} tables")


if __name__ == "__main__":
    main()
