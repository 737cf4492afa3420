"""Multiple choice: how options are written, and how an answer is read, as released and strictly.

Source of the released rules: the released `eval/inference_video_mcqa_*.py`.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from videollama2.evaluation.reading import Item
from videollama2.evaluation.task import Mark, Marks, Question, Score

LETTERS = string.ascii_uppercase
ONLY_THE_LETTER = (
    "Answer with the option's letter from the given choices directly and only give the best option."
)
_DEFAULT = 2  # the released parsers take the third option where they understand nothing
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def choices(item: Item, name: str) -> tuple[str, ...]:
    """The options of a multiple choice, as many as there are letters at most.

    Raises:
        AnnotationError: the field is missing, no list of texts, or longer.
    """
    options = item.texts(name)
    if len(options) > len(LETTERS):
        raise item.wrong(name, f"are {len(options)}, more than there are letters")
    return options


def lettered(options: Sequence[str]) -> str:
    """The options as released prompts list them: "(A) red" and so on, each with a line's end."""
    return "".join(f"({LETTERS[n]}) {option}\n" for n, option in enumerate(options))


@dataclass(frozen=True)
class ReleasedRule:
    """One released script's way from an answer to a letter.

    `before` and `after` are the characters that its pattern swallows around a letter: a comma among
    them stays on the letter, which is then no letter any more, and the default is taken.
    `bare` takes the letter alone out of them. `text`: what is tried where no letter is found:
    nothing; an option contained in the answer; one equal to it; or one contained in it, cut as the
    Video-MME script cuts them, digits also as words. `after_failure`: the text is also tried where
    a letter was found but could not be read.
    """

    before: str
    after: str
    bare: bool = False
    text: Literal["none", "contained", "equal", "cut"] = "none"
    after_failure: bool = False


MVBENCH = ReleasedRule(r"[\(,\ ]*", r"[\),\ ]*", text="contained")
EGOSCHEMA = ReleasedRule(r"[\(\ ]*", r"[\)\ ]*")
PERCEPTION_TEST = ReleasedRule(r"\(*", r"\)*", text="equal", after_failure=True)
VIDEO_MME = ReleasedRule(r"[\(\ \[]*", r"[\)\.\ \]]*", bare=True, text="cut")


def released_letter(answer: str, options: Sequence[str], rule: ReleasedRule) -> Mark:
    """The letter that the released script takes, the third where it understands nothing.

    The word "answer" is cut out first, then the first capital letter of the options counts,
    wherever it stands ("A man ..." is A).
    """
    text = answer.replace("answer", "").replace("Answer", "")
    letter = f"[A-{LETTERS[len(options) - 1]}]"
    found = re.search(f"{rule.before}({letter}){rule.after}", text)
    if found is not None:
        taken = found[1] if rule.bare else found[0].strip().strip("()")
        if len(taken) == 1:
            return Mark(taken)
    if found is None or rule.after_failure:
        place = _released_text(text, options, rule)
        if place is not None:
            return Mark(LETTERS[place])
    return Mark(LETTERS[_DEFAULT], defaulted=True)


def _released_text(text: str, options: Sequence[str], rule: ReleasedRule) -> int | None:
    low = text.lower()
    for place, option in enumerate(options):
        if rule.text == "equal" and option.lower() == low:
            return place
        if rule.text == "contained" and option.lower() in low:
            return place
        if rule.text == "cut" and any(form.lower() in low for form in _cut(option)):
            return place
    return None


def _cut(option: str) -> tuple[str, ...]:
    """An option without its last character (there the full stop), and a digit's word."""
    cut = option[:-1]
    return (cut, _WORDS[int(cut)]) if len(cut) == 1 and cut in string.digits else (cut,)


_LONE = re.compile(r"(?<![\w'-])([A-Z])(?![\w'-])")
_A_WORD_FOLLOWS = re.compile(r"\s+(?!(?:or|and|because|since|as)\b)\w")
_LETTER_OR = re.compile("[a-z]|or|and")
_ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
_WITH_TEXT = re.compile(r"[\W_]*([A-Z])[\W_]+(.+)", re.DOTALL)
_MARKED = re.compile(
    r"^[\W_]*([A-Z])\b|[(\[]([A-Z])[)\]]|\b([A-Z])[\W_]*$"
    r"|\b(?i:answer|option|choice)(?:\s+is)?\W*([A-Z])\b"
)


def strict_letter(answer: str, options: Sequence[str]) -> Mark:
    """The letter of an answer that names one option and no other; else nothing.

    A letter alone counts in either case, so does the whole text of an option, with its letter
    before it or without. A capital among words counts where it opens or ends the answer, in
    brackets, or after "answer is" or "option"; two different ones are no answer. Without a letter
    the answer must contain the text of one option alone.
    """
    text = unicodedata.normalize("NFKC", answer).replace("\u2019", "'").strip()
    known = LETTERS[: len(options)]
    alone = _ALONE.fullmatch(text)
    if alone is not None:
        return Mark(alone[1].upper() if alone[1].upper() in known else None)
    whole = _whole_option(text, options)
    if whole is not None:
        return Mark(LETTERS[whole])
    capitals = _capitals(text, options)
    marked = {letter for found in _MARKED.findall(text) for letter in found if letter} & capitals
    if marked:
        letter = marked.pop()
        return Mark(letter if len(capitals) == 1 and letter in known else None)
    place = _named_option(text, options)
    return Mark(None if place is None else LETTERS[place])


def _capitals(text: str, options: Sequence[str]) -> set[str]:
    """The capitals by themselves that are no words: "A man", "I see" and, in EgoSchema, "C is".

    What stands as a word in the options is one in the answer too, where another word follows it.
    """
    words = {"A", "I"}.union(*(_LONE.findall(option) for option in options))
    found = _LONE.finditer(text)
    return {
        one[1] for one in found if one[1] not in words or not _A_WORD_FOLLOWS.match(text, one.end())
    }


def _whole_option(text: str, options: Sequence[str]) -> int | None:
    """The option whose text this is, or its letter and its text."""
    said, plain = _plain(text), [_plain(option) for option in options]
    if all(_LETTER_OR.fullmatch(word) for word in said.split()):  # "A, B", whatever A is
        return None
    if plain.count(said) == 1:
        return plain.index(said)
    parts = _WITH_TEXT.fullmatch(text)
    if parts is None or parts[1] not in LETTERS[: len(options)]:
        return None
    place = LETTERS.index(parts[1])
    return place if plain[place] and plain[place] == _plain(parts[2]) else None


def _named_option(text: str, options: Sequence[str]) -> int | None:
    said = _plain(text)
    plain = [_plain(option) for option in options]
    inside = [n for n, option in enumerate(plain) if option and f" {option} " in f" {said} "]
    # "red ball" contains the option "ball" too: the longer one is meant.
    meant = [
        n for n in inside if not any(m != n and f" {plain[n]} " in f" {plain[m]} " for m in inside)
    ]
    return meant[0] if len(meant) == 1 else None


def _plain(text: str) -> str:
    """Lower case, punctuation as spaces, single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (mark if mark.isalnum() else " " for mark in folded)
    return " ".join("".join(kept).split())


def multiple_choice(rule: ReleasedRule, metric: str = "accuracy") -> Score:
    """The scoring of a multiple choice whose only reference is the right letter, if it is known."""

    def score(question: Question, answers: Sequence[str]) -> Marks:
        answer = answers[0]
        released = released_letter(answer, question.options, rule)
        return letter_marks(question, released, strict_letter(answer, question.options), metric)

    return score


def letter_marks(
    question: Question, released: Mark, strict: Mark, metric: str = "accuracy"
) -> Marks:
    """Both scorings of letters that were understood: right where they are the reference."""
    if not question.references:
        return Marks(released, strict)
    right = question.references[0]
    return Marks(
        Mark(released.parse, {metric: float(released.parse == right)}, released.defaulted),
        Mark(strict.parse, {metric: float(strict.parse == right)}),
    )
