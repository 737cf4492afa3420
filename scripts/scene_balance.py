"""How balanced the made world's questions are, and what each stream alone gives away.

For each kind of question: how often the commonest answer is right, and how often the best guess
from a few facts of one stream is (a table of the facts of half of the questions, put to the other
half). An answer that the question names counts by its place among the names, so that for "A or B"
the commonest is near a half. Run:

    python scripts/scene_balance.py [--scenes 8000] [--world starter-assets/world.npz]
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict

import numpy as np

from videollama2.scenes import (
    CLOSED_KINDS,
    KINDS,
    Question,
    Scene,
    World,
    ask,
    draw_scene,
    load_world,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--world", default=None)
    parser.add_argument("--count", type=int, default=len(KINDS), help="questions a scene")
    arguments = parser.parse_args()
    world = load_world(arguments.world)
    pairs = draw(world, arguments.scenes, arguments.count)
    print(f"{'kind':20}{'asked':>8}{'answers':>9}{'commonest':>11}{'sound':>8}{'picture':>9}")
    rates: dict[str, float] = {}
    for kind in KINDS:
        of = [(scene, question) for scene, question in pairs if question.kind == kind]
        answers = Counter(relative(world, question) for _, question in of)
        best, times = answers.most_common(1)[0]
        sound, picture = (
            guessed(
                [
                    (facts(scene, world, question), relative(world, question))
                    for scene, question in of
                ]
            )
            for facts in (sound_facts, picture_facts)
        )
        rates[kind] = times / len(of)
        print(
            f"{kind:20}{len(of) / arguments.scenes:8.3f}{len(answers):9}{times / len(of):7.3f} "
            f"{best[:12]:12}{sound:8.3f}{picture:8.3f}"
        )
    print(
        f"mean of commonest over closed kinds: {np.mean([rate for kind, rate in rates.items() if kind in CLOSED_KINDS]):.3f}"
    )


def draw(world: World, scenes: int, count: int, seed: int = 7) -> list[tuple[Scene, Question]]:
    rng = np.random.default_rng(seed)
    pairs: list[tuple[Scene, Question]] = []
    for _ in range(scenes):
        scene = draw_scene(world, rng)
        pairs += [(scene, question) for question in ask(scene, world, rng, count)]
    return pairs


def sound_facts(scene: Scene, world: World, question: Question) -> list[tuple[object, ...]]:
    """From fine to coarse: what an ear can know, relative to what the question names."""
    asked = named(world, question)
    names = tuple(sound.name for sound in scene.sounds)
    onsets = tuple(int(sound.onset_s * 3) for sound in scene.sounds)
    roles = tuple(asked.index(name) if name in asked else -1 for name in names)
    return [
        (question.kind, roles, onsets),
        (question.kind, names),
        (question.kind, roles),
        (question.kind, len(names)),
        (question.kind,),
    ]


def picture_facts(scene: Scene, world: World, question: Question) -> list[tuple[object, ...]]:
    """From fine to coarse: what an eye can know, relative to what the question names."""
    asked = named(world, question)
    names = [thing.name for thing in scene.things]
    sounding = tuple(sorted(name for name in names if name in world.sounding))
    roles = tuple(asked.index(name) if name in asked else -1 for name in names)
    starts = tuple(thing.start_s for thing in scene.things)
    able = sum(name in world.sounding for name in asked)
    return [
        (question.kind, roles, starts, len(sounding)),
        (question.kind, sounding),
        (question.kind, roles, len(sounding), able),
        (question.kind, roles),
        (question.kind, len(sounding)),
        (question.kind,),
    ]


def relative(world: World, question: Question) -> str:
    """The answer, as "#place" where the question itself names it."""
    asked = named(world, question)
    return f"#{asked.index(question.answer)}" if question.answer in asked else question.answer


def named(world: World, question: Question) -> list[str]:
    words = question.text.lower().replace("?", " ").replace(",", " ").replace(".", " ")
    return [word for word in words.replace(":", " ").split() if word in world.names]


def guessed(of: list[tuple[list[tuple[object, ...]], str]]) -> float:
    """Share right of the best level of detail, answers guessed relative to the facts seen."""
    half = len(of) // 2
    shares = []
    for level in range(len(of[0][0])):
        table: dict[object, Counter[str]] = defaultdict(Counter)
        for facts, answer in of[:half]:
            table[facts[level]][answer] += 1
        everywhere = Counter(answer for _, answer in of[:half]).most_common(1)[0][0]
        right = 0
        for facts, answer in of[half:]:
            seen = table.get(facts[level])
            right += answer == (seen.most_common(1)[0][0] if seen else everywhere)
        shares.append(right / max(len(of) - half, 1))
    return max(shares)


if __name__ == "__main__":
    main()
