r"""Render held-out scenes as real clips (H.264 and AAC), with their questions and answers.

    python scripts/make_starter_clips.py --world starter-assets/larger.npz \
        --out tests/starter/clips --count 60

The scenes are drawn from a seed that no training uses. What is written is small enough to ship.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from videollama2.scenes.clip import write_clip
from videollama2.scenes.drawing import draw_scene
from videollama2.scenes.questions import ask
from videollama2.scenes.world import load_world

SEED = 3  # training draws from 1, its held-out scores from 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--count", default=40, type=int)
    parser.add_argument("--first", default=0, type=int, help="number of the first scene")
    parser.add_argument("--size", default=192, type=int, help="pixels a side")
    parser.add_argument("--questions", default=8, type=int, help="questions a clip")
    arguments = parser.parse_args()
    world = load_world(arguments.world)
    arguments.out.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(arguments.first, arguments.first + arguments.count):
        rng = np.random.default_rng([SEED, number])
        scene = draw_scene(world, rng)
        name = f"scene-{number:03d}.mp4"
        write_clip(
            scene, world, arguments.out / name, size=arguments.size, crf=23, sound_bits=48_000
        )
        records += [
            {"clip": name, "split": split, "kind": q.kind, "question": q.text, "answer": q.answer}
            for split in ("train", "unseen")
            for q in ask(scene, world, rng, count=arguments.questions, split=split)
        ]
    text = "[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n"
    (arguments.out / "questions.json").write_text(text)


if __name__ == "__main__":
    main()
