"""Everything that can be asked and answered in a world, for a tokenizer to learn from."""

from __future__ import annotations

from collections.abc import Iterator

from .names import COLOURS, MOVEMENTS, NUMBERS, QUARTERS
from .phrasing import article, expansions, listed, phrasings, sentence
from .world import World


def all_texts(world: World) -> Iterator[str]:
    """Texts that hold every word, in either case, of every wording and answer of this world."""
    grammar = phrasings()
    yield from world.names
    yield from (name.capitalize() for name in world.names)  # where a sentence begins with one
    yield from (*COLOURS, *QUARTERS, *MOVEMENTS, *NUMBERS, "yes", "no", "before", "after")
    yield from ("none", "nothing")
    names = list(world.names)
    turn = 0
    for split in grammar.templates.values():
        for cores in split.values():
            for core in cores:
                for wording in expansions(core):
                    turn += 1
                    x, y, *_ = options = [names[(turn + i) % len(names)] for i in range(4)]
                    slots = {"x": x, "y": y, "an_x": article(x), "options": listed(options, "or")}
                    colour = tuple(COLOURS)[turn % len(COLOURS)]
                    text = wording.format(colour=colour, **slots)
                    yield sentence("", text, "")
                    for opener in expansions(grammar.openers[turn % len(grammar.openers)]):
                        ending = grammar.endings[turn % len(grammar.endings)]
                        yield sentence(opener, text, ending)
                        yield f"{opener}{text}{ending}".lower()
    for background in COLOURS:
        for name in names:
            yield f"{article(name)} on a {background} background, and {article(name)} is heard"
            yield f"{listed([article(name)] * 3, 'and')} on a {background} background"
    yield "and nothing is heard"
    yield "a bell and a bird are heard"
