"""Scenes as a small data set: clips, training records, and benchmarks, two in their authors' forms.

    clips/*.mp4, sounds/*.wav
    video.json, audio.json, audio_visual.json      the released conversation form
    benchmarks/egoschema/                          EgoSchema's form: five options a question
    benchmarks/clothoAQA_eval.json                 Clotho-AQA's form: one word an answer
    benchmarks/scenes/questions.json               this world's own form, of the films above

The benchmarks' scenes are drawn from another seed than the records'.
"""

from __future__ import annotations

import json
import os
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clip import write_clip
from .drawing import draw_scene
from .names import COLOURS, MOVEMENTS
from .questions import Question, ask
from .scene import Scene
from .sounds import render_sound
from .world import SAMPLING_RATE, World

QUESTIONS = 6  # a clip
OPTIONS = 5
CHOSEN = ("movement", "background", "first_thing", "last_thing", "thing_on_plate", "plate_colour")
LOOKED_AT = (*CHOSEN, "next_thing", "which_first", "count_things", "is_there")
HEARD = ("heard", "count_sounds", "is_heard", "which_sound_first", "last_sound")
BOTH = ("who_sounds", "source_visible", "before_after")
_CHOICE = (
    "Select the best answer to the following multiple-choice question based on the video.\n"
    "{question}\nOptions:\n{options}Answer with the option's letter from the given choices "
    "directly and only give the best option. The best answer is: "
)
_ONE_WORD = "Question: {question}\nAnswer the question using a single word."


@dataclass(frozen=True)
class Written:
    """How many clips and records were written, and questions of each benchmark."""

    clips: int
    records: dict[str, int]
    benchmarks: dict[str, int]


@dataclass(frozen=True)
class _Choice:
    """A question with five options, of which `right` is the place of the right one."""

    question: str
    options: tuple[str, ...]
    right: int

    @property
    def prompt(self) -> str:
        lines = "".join(f"({'ABCDE'[n]}) {text}\n" for n, text in enumerate(self.options))
        return _CHOICE.format(question=self.question, options=lines)


def write_folder(
    world: World,
    out: Path,
    *,
    clips: int = 400,
    held_out: int = 100,
    seed: int = 0,
    size: int = 128,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Written:
    """Write the data set; clips that are there already are kept, lists are written last.

    `clips` scenes are for training, `held_out` for the benchmarks. `told` hears after each clip how
    many of how many are done. The same seed gives the same lists.

    Raises:
        ValueError: a number is negative.
    """
    if clips < 0 or held_out < 0:
        raise ValueError(f"clips and held_out cannot be negative, not {clips} and {held_out}")
    lists: dict[str, list[dict[str, Any]]] = {"video": [], "audio": [], "audio_visual": []}
    benchmarks: dict[str, list[dict[str, Any]]] = {
        "egoschema": [],
        "clothoAQA_eval": [],
        "scenes": [],
    }
    answers: dict[str, int] = {}
    ego = out / "benchmarks" / "egoschema" / "good_clips_git"
    for number in range(clips + held_out):
        is_held_out = number >= clips
        rng = np.random.default_rng([seed, int(is_held_out), number])
        scene = draw_scene(world, rng)
        name = f"scene-{number:05d}"
        film = (ego if is_held_out else out / "clips") / f"{name}.mp4"
        sound = out / ("benchmarks/audio_files" if is_held_out else "sounds") / f"{name}.wav"
        _once(film, lambda path, scene=scene: write_clip(scene, world, path, size=size))
        _once(sound, lambda path, scene=scene: _write_wav(path, render_sound(scene, world)))
        if is_held_out:
            _examine(scene, world, rng, name, benchmarks, answers)
        else:
            _teach(scene, world, rng, name, lists)
        told(number + 1, clips + held_out)
    for name, records in lists.items():
        _write_json(out / f"{name}.json", records)
    _write_json(ego.parent / "questions.json", benchmarks["egoschema"])
    _write_json(ego.parent / "subset_answers.json", answers)
    _write_json(out / "benchmarks" / "clothoAQA_eval.json", benchmarks["clothoAQA_eval"])
    _write_json(out / "benchmarks" / "scenes" / "questions.json", benchmarks["scenes"])
    return Written(
        clips + held_out,
        {name: len(records) for name, records in lists.items()},
        {name: len(items) for name, items in benchmarks.items()},
    )


def _teach(
    scene: Scene,
    world: World,
    rng: np.random.Generator,
    name: str,
    lists: dict[str, list[dict[str, Any]]],
) -> None:
    film, sound = f"clips/{name}.mp4", f"sounds/{name}.wav"
    for question in _of(scene, world, rng, LOOKED_AT):
        choice = _with_options(question, world, rng)
        is_choice = choice is not None and rng.random() < 0.5
        asked = choice.prompt if choice is not None and is_choice else question.text
        # The option's words, not its letter: what a letter stands for takes long to learn.
        lists["video"].append(
            _record(f"{name}-{question.kind}", "video", film, asked, question.answer)
        )
    for question in _of(scene, world, rng, HEARD):
        asked = _ONE_WORD.format(question=question.text)
        lists["audio"].append(
            _record(f"{name}-{question.kind}", "audio", sound, asked, question.answer)
        )
    for question in _of(scene, world, rng, BOTH):
        lists["audio_visual"].append(
            _record(f"{name}-{question.kind}", "video", film, question.text, question.answer)
        )


def _examine(
    scene: Scene,
    world: World,
    rng: np.random.Generator,
    name: str,
    benchmarks: dict[str, list[dict[str, Any]]],
    answers: dict[str, int],
) -> None:
    choices = [_with_options(question, world, rng) for question in _of(scene, world, rng, CHOSEN)]
    for choice in [choice for choice in choices if choice is not None][:1]:  # one a film, as there
        item: dict[str, Any] = {"q_uid": name, "question": choice.question}
        item |= {f"option {n}": text for n, text in enumerate(choice.options)}
        benchmarks["egoschema"].append(item)
        answers[name] = choice.right
    for question in _of(scene, world, rng, HEARD):
        record = _record(
            f"{name}-{question.kind}",
            "audio",
            f"audio_files/{name}.wav",
            question.text,
            question.answer,
        )
        benchmarks["clothoAQA_eval"].append(record)
    for split in ("train", "unseen"):
        for question in ask(scene, world, rng, count=QUESTIONS, split=split):
            benchmarks["scenes"].append(
                {
                    "clip": f"../egoschema/good_clips_git/{name}.mp4",
                    "split": split,
                    "kind": question.kind,
                    "question": question.text,
                    "answer": question.answer,
                }
            )


def _of(
    scene: Scene, world: World, rng: np.random.Generator, kinds: Sequence[str]
) -> list[Question]:
    asked = ask(scene, world, rng, count=len(_EVERY))
    return [question for question in asked if question.kind in kinds][:QUESTIONS]


_EVERY = (*LOOKED_AT, *HEARD, *BOTH, "choice", "place", "list_things", "describe")


def _with_options(question: Question, world: World, rng: np.random.Generator) -> _Choice | None:
    """Five options with the right answer among them; None for what has fewer answers."""
    of = {"background": COLOURS, "plate_colour": COLOURS, "movement": MOVEMENTS}
    known = [*of.get(question.kind, world.names if question.kind in CHOSEN else ())]
    others = [name for name in known if name != question.answer]
    if question.answer not in known or len(others) < OPTIONS - 1:
        return None
    options = [others[int(n)] for n in rng.choice(len(others), OPTIONS - 1, replace=False)]
    right = int(rng.integers(OPTIONS))
    options.insert(right, question.answer)
    return _Choice(question.text, tuple(options), right)


def _record(name: str, kind: str, media: str, asked: str, answer: str) -> dict[str, Any]:
    return {
        "id": name,
        kind: media,
        "conversations": [
            {"from": "human", "value": f"<{kind}>\n{asked}"},
            {"from": "gpt", "value": answer},
        ],
    }


def _once(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file unless it is there; it is there whole or not at all."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    partial.replace(path)


def _write_wav(path: Path, samples: NDArray[np.float32]) -> None:
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
