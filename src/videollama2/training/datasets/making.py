"""Records of the usual kinds: captions, questions with answers, conversations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from videollama2.training.datasets.errors import RowError
from videollama2.training.datasets.reading import Row
from videollama2.training.datasets.record import PLACEHOLDERS, Kind, Record, Turn
from videollama2.training.datasets.wordings import letter, option_lines

_MARK = re.compile("|".join(PLACEHOLDERS))


def caption(
    record_id: str, kind: Kind, media: str, text: str, elsewhere: Sequence[str] = ()
) -> Record:
    """A medium and its description."""
    return Record(record_id, kind, media, (Turn(text),), tuple(elsewhere))


def answers(
    record_id: str,
    kind: Kind,
    media: str,
    pairs: Iterable[tuple[str, str]],
    elsewhere: Sequence[str] = (),
) -> Record:
    """A medium with questions and answers, one turn each."""
    turns = tuple(Turn(answer, {"question": question}) for question, answer in pairs)
    return Record(record_id, kind, media, turns, tuple(elsewhere))


def choice_turn(question: str, labels: Sequence[str], right: int) -> Turn:
    """A question with lettered options whose answer is a letter."""
    return Turn(letter(right), {"question": question, "options": option_lines(labels)})


def conversation(row: Row, kind: Kind) -> tuple[Turn, ...]:
    """The turns of a row in LLaVA's form: `conversations`, each `from` and `value`.

    As the released code does, a first turn of "gpt" is dropped, and the medium's placeholder
    may stand before or after the first question.

    Raises:
        RowError: the turns do not alternate, or the placeholder is missing or stands elsewhere.
    """
    rows = row.rows("conversations")
    if rows[0].text("from") == "gpt":
        rows = rows[1:]
    if not rows or len(rows) % 2:
        raise RowError("an odd number of turns")
    turns: list[Turn] = []
    for number, (asked, answered) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        if asked.text("from") != "human" or answered.text("from") != "gpt":
            raise RowError("roles do not alternate from human to gpt")
        question = asked.text("value")
        if number == 0 and kind != "text":
            question = _without_mark(question, kind)
        turns.append(Turn(answered.text("value"), {"question": question}))
    return tuple(turns)


def _without_mark(question: str, kind: Kind) -> str:
    found = _MARK.findall(question)
    if found != [f"<{kind}>"]:
        raise RowError(f"the first question has {found or 'no placeholder'}, not one <{kind}>")
    before, after = _MARK.split(question)
    if not (text := " ".join(part.strip() for part in (before, after) if part.strip())):
        raise RowError("the first question is empty")
    return text


def stem(name: str) -> str:
    """A file name without its folders and its ending."""
    return PurePosixPath(name).stem
