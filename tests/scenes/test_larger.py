"""The larger world's lists: what scenes and tokenizers need of names."""

from __future__ import annotations

from videollama2.scenes.larger import LARGER_INSTRUMENTS, LARGER_THINGS
from videollama2.scenes.names import COLOURS, INSTRUMENTS, MOVEMENTS, NUMBERS, THINGS, UNCOUNTED


def test_it_is_the_small_world_and_more() -> None:
    assert list(LARGER_THINGS)[: len(THINGS)] == list(THINGS)
    assert list(LARGER_INSTRUMENTS)[: len(INSTRUMENTS)] == list(INSTRUMENTS)
    assert len(LARGER_THINGS) >= 250
    assert len(LARGER_INSTRUMENTS) >= 28


def test_every_name_is_one_plain_word_and_means_one_thing() -> None:
    assert all(name.isascii() and name.isalpha() and name.islower() for name in LARGER_THINGS)
    assert len(set(LARGER_THINGS.values())) == len(LARGER_THINGS)
    assert set(LARGER_INSTRUMENTS) <= set(LARGER_THINGS)
    assert not set(LARGER_THINGS) & {*COLOURS, *MOVEMENTS, *NUMBERS, "yes", "no", "none"}


def test_what_takes_no_article_is_of_this_world() -> None:
    assert set(UNCOUNTED) < set(LARGER_THINGS) - set(THINGS)
    plural = {name for name in LARGER_THINGS if name.endswith("s") and not name.endswith("ss")}
    assert all(name.endswith("us") for name in plural - set(UNCOUNTED))


def test_every_sound_is_another() -> None:
    played = [(of.program, of.drum_kit, of.keys, of.strikes) for of in LARGER_INSTRUMENTS.values()]
    assert len({(program, kit) for program, kit, *_ in played}) == len(played)
    assert all(0 <= program < 128 for program, *_ in played)
