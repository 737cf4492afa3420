"""Every quirk of the released parsers, and what the strict one takes and does not take."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.evaluation import letters
from videollama2.evaluation.letters import LETTERS, lettered, released_letter, strict_letter

OPTIONS = ("a red ball", "a ball", "Two dogs", "a cat", "none")

# (answer, MVBench, EgoSchema, Perception Test, Video-MME), worked out by hand from the released
# patterns: `[\(,\ ]*[A-E][\),\ ]*`, `[\(\ ]*[A-E][\)\ ]*`, `\(*[A-C]\)*`, `[\(\ \[]*([A-D])...`.
RELEASED = [
    ("B", "BBBB"),
    ("(B)", "BBBB"),
    (" B", "BBBB"),
    ("B.", "BBBB"),
    ("A man walks", "AAAA"),  # the first capital counts, word or not
    ("Answer: B", "BBBB"),  # "Answer" is cut out, its A does not count
    ("The answer is (B).", "BBBB"),
    ("ANSWER: B", "AAAA"),  # only two spellings of it are cut out
    ("A, because", "CAAA"),  # the comma stays on the letter, which is then no letter
    ("(B), (C)", "CBBB"),
    ("( B )", "CCBB"),  # brackets are stripped once, the space stays
    ("A or B", "AAAA"),
    ("Vitamin C is shown", "CCCC"),
    ("b", "CCCC"),  # small letters are nothing
    ("", "CCCC"),
    ("F", "CCCC"),
    ("Ünknown, 不知道", "CCCC"),
    ("none of it", "ECCC"),  # MVBench: an option contained; others not, or not so
    ("a red ball", "ACAA"),
    ("it is a cat", "DCCD"),
    ("a ball", "BCBB"),
]


@pytest.mark.parametrize(("answer", "expected"), RELEASED)
def test_released(answer: str, expected: str) -> None:
    marks = [
        released_letter(answer, OPTIONS, letters.MVBENCH),
        released_letter(answer, OPTIONS, letters.EGOSCHEMA),
        released_letter(answer, OPTIONS[:3], letters.PERCEPTION_TEST),
        released_letter(answer, [f"{text}." for text in OPTIONS[:4]], letters.VIDEO_MME),
    ]
    assert "".join(mark.parse or "?" for mark in marks) == expected


def test_released_default_is_marked() -> None:
    for rule in (letters.MVBENCH, letters.EGOSCHEMA, letters.PERCEPTION_TEST):
        mark = released_letter("no idea", ("x1", "y2", "z3"), rule)
        assert (mark.parse, mark.defaulted) == ("C", True)
        assert not released_letter("C", ("x1", "y2", "z3"), rule).defaulted


def test_video_mme_cuts_options() -> None:
    """The last character of an option is cut off; a single one leaves nothing, which all hold."""
    rule = letters.VIDEO_MME
    assert released_letter("apples it is", ("Pears.", "Apples.", "x.", "y."), rule).parse == "B"
    assert released_letter("apple", ("Pears", "Apples", "x", "y"), rule).parse == "B"
    assert released_letter("three of them", ("12.", "3.", "4.", "5."), rule).parse == "B"
    assert released_letter("no idea", ("12.", "3", "4", "5"), rule).parse == "B"


STRICT = [
    ("B", "B"),
    ("(B)", "B"),
    ("b", "B"),
    ("b)", "B"),
    ("B.", "B"),
    ("**B**", "B"),
    ("\uff22", "B"),  # full width
    ("B) a ball", "B"),
    ("B: a ball", "B"),
    ("B a ball", "B"),
    ("Answer: B", "B"),
    ("The answer is (B).", "B"),
    ("The best option is B because of that", "B"),
    ("It must be B.", "B"),
    ("I think it is B", "B"),
    ("A. It bounces", "A"),
    ("A, because", "A"),
    ("( A )", "A"),
    ("a ball", "B"),  # an option's text, the other contains it
    ("It is a red ball.", "A"),  # the longer option is meant
    ("TWO DOGS!", "C"),
    ("A man walks", None),
    ("A or B", None),
    ("A and B", None),
    ("A, B", None),
    ("A/B", None),
    ("(A) or (B)", None),
    ("Vitamin C is shown", None),
    ("F", None),
    ("Z", None),
    ("", None),
    (" \n", None),
    ("Ünknown, 不知道", None),
    ("a cat and two dogs", None),
    ("the baller", None),  # whole words only
]


@pytest.mark.parametrize(("answer", "expected"), STRICT)
def test_strict(answer: str, expected: str | None) -> None:
    assert strict_letter(answer, OPTIONS).parse == expected


def test_strict_knows_non_ascii_options() -> None:
    assert strict_letter("ein Mädchen", ("ein Junge", "Ein Mädchen")).parse == "B"
    assert strict_letter("红色", ("红色", "蓝色")).parse == "A"
    assert strict_letter("same", ("same", "same")).parse is None


# EgoSchema calls whoever wears the camera C.
WEARER = ("C is cooking.", "C talks to B.", "The man shows C.", "C is reading.", "Vitamin C")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("C is reading.", "D"),  # the whole text of an option, not the letter before "is"
        ("c is reading", "D"),
        ("(D) C is reading.", "D"),
        ("D. C is reading.", "D"),
        ("(C) The man shows C.", "C"),
        ("B: C talks to B.", "B"),
        ("(B) The man shows C.", None),  # the letter of one, the text of another
        ("I think that C is cooking.", "A"),
        ("C is reading a book", "D"),
        ("C is dancing", None),
        ("C", "C"),
        ("The answer is C because of the man", "C"),
        ("C: the man", "C"),
        ("(D), as C is reading", "D"),
    ],
)
def test_strict_where_options_speak_of_a_letter(answer: str, expected: str | None) -> None:
    assert strict_letter(answer, WEARER).parse == expected


def test_two_letters_are_no_answer_where_one_is_an_option() -> None:
    for said in ("A, B", "A or B", "(A) B"):
        assert strict_letter(said, ("B", "x")).parse is None
        assert strict_letter(said, ("a b", "A or B")).parse is None
    assert strict_letter("A) 3", ("3", "4")).parse == "A"
    assert strict_letter("4", ("3", "4")).parse == "B"


def test_lettered() -> None:
    assert lettered(["x", "y"]) == "(A) x\n(B) y\n"


texts = st.text(max_size=60)
choices = st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=8)
rules = st.sampled_from(
    [letters.MVBENCH, letters.EGOSCHEMA, letters.PERCEPTION_TEST, letters.VIDEO_MME]
)


@given(texts, choices, rules)
def test_any_text_is_parsed(answer: str, options: list[str], rule: letters.ReleasedRule) -> None:
    """Whatever is said: released always gives a letter, strict one of the options or nothing."""
    released = released_letter(answer, options, rule)
    assert released.parse is not None
    known = LETTERS[: len(options)]
    assert released.defaulted or released.parse in known
    strict = strict_letter(answer, options).parse
    assert strict is None or strict in known


@given(choices, st.data(), rules, st.sampled_from(["{}", "({})", "{}.", " {}", "({}).", "{}\n"]))
def test_a_letter_in_any_dress(
    options: list[str], data: st.DataObject, rule: letters.ReleasedRule, dress: str
) -> None:
    letter = data.draw(st.sampled_from(LETTERS[: len(options)]))
    said = dress.format(letter)
    assert released_letter(said, options, rule).parse == letter
    assert strict_letter(said, options).parse == letter


@given(st.data(), choices)
def test_two_letters_are_no_answer(data: st.DataObject, options: list[str]) -> None:
    pair = data.draw(st.permutations(LETTERS[: len(options)]))[:2]
    joiner = data.draw(st.sampled_from([" or ", ", ", " and ", "/", ") ("]))
    assert strict_letter(joiner.join(pair), options).parse is None


@given(texts, choices)
def test_mvbench_finds_what_the_pattern_finds(answer: str, options: list[str]) -> None:
    """Against the pattern itself, used as the released script uses it."""
    last = LETTERS[len(options) - 1]
    said = answer.replace("answer", "").replace("Answer", "")
    found = re.findall(rf"[\(,\ ]*[A-{last}][\),\ ]*", said)
    expected = "C"
    if found:
        letter = found[0].strip().strip("()")
        expected = letter if letter in list(LETTERS[: len(options)]) else "C"
    else:
        for place, option in enumerate(options):
            if option.lower() in said.lower():
                expected = LETTERS[place]
                break
    assert released_letter(answer, options, letters.MVBENCH).parse == expected
