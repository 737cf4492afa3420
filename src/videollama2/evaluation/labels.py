"""A fixed list of labels as a multiple choice about a sound.

Source of the released rule: the released `eval/eval_audio_TUT2017.py`, `eval_audio_vocalsound.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from videollama2.evaluation.letters import LETTERS, letter_marks, lettered, strict_letter
from videollama2.evaluation.reading import Item, json_line_items
from videollama2.evaluation.task import Mark, Marks, MediaFile, Question


def label_prompt(question: str, labels: Sequence[str]) -> str:
    """The released wording, with its full stop at the beginning of a line."""
    return (
        f"{question}\nOptions:\n{lettered(labels)}.Answer with the option's letter from the given "
        "choices directly and only give the best option."
    )


def label_questions(
    file: Path, prompt: str, labels: Sequence[str], find: Callable[[str], Path | None]
) -> Iterator[Question]:
    """The lines of a list: `audio`, a path, and `gt`, a label (in any case).

    Raises:
        AnnotationError: a line lacks a field, or `gt` is none of the labels.
    """
    for item in json_line_items(file):
        audio = item.filled("audio")
        yield Question(
            id=f"{item.where} {audio.split('/')[-1]}",
            prompts=(prompt,),
            media=(MediaFile("audio", audio, find(audio)),),
            references=(_letter(item, labels),),
            options=tuple(labels),
            cluster=audio,
            groups={"label": labels[LETTERS.index(_letter(item, labels))]},
        )


def _letter(item: Item, labels: Sequence[str]) -> str:
    right = _plain(item.text("gt"))
    known = [_plain(label) for label in labels]
    if right not in known:
        raise item.wrong("gt", f"is none of the labels: {item.text('gt')!r}")
    return LETTERS[known.index(right)]


def _plain(label: str) -> str:
    """As the publishers spell labels too: city_center, cafe/restaurant."""
    return " ".join(label.casefold().replace("/", " or ").replace("_", " ").split())


def label_marks(question: Question, answers: Sequence[str]) -> Marks:
    """Released: the right label stands somewhere in the answer, or the answer is a letter alone."""
    said, right = answers[0].strip().upper(), question.references[0]
    letters = LETTERS[: len(question.options)]
    alone = {form: letter for letter in letters for form in (letter, f"({letter})")}
    named = question.options[letters.index(right)].upper() in said
    released = Mark(right if named else alone.get(said))
    return letter_marks(question, released, strict_letter(answers[0], question.options))
