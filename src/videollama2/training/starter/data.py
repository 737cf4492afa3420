"""Scenes into batches: a row is a clip with many questions that do not see each other."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from videollama2.media.sampling import uniform_indices
from videollama2.processing.fbank import fbank
from videollama2.scenes.drawing import KINDS, draw_scene
from videollama2.scenes.labels import SOUND_SLOTS, labels
from videollama2.scenes.names import COLOURS, MOVEMENTS
from videollama2.scenes.questions import Question, ask, ask_often
from videollama2.scenes.rendering import render_frames
from videollama2.scenes.scene import Scene
from videollama2.scenes.sounds import render_sound
from videollama2.scenes.world import CLIP_SECONDS, World
from videollama2.training.starter.damage import damage_frames, damage_sound, damage_words
from videollama2.training.starter.facts import FactTargets, fact_arrays, stack_facts
from videollama2.training.starter.parts import ASSISTANT, END, FRAME_PIXELS, NUM_FRAMES, USER

Made = TypeVar("Made")
SLOTS = 4
CELLS = 3
FRAME_RATES = (8, 8, 8, 10, 12, 15, 24, 25, 30)
IGNORED = -100
# Comparing a named word with what is perceived is learned last, naming first: practice asks more
# of the one and less of the other.
PRACTICE = {
    **dict.fromkeys(("is_there", "is_heard", "source_visible", "who_sounds"), 3.0),
    **dict.fromkeys(("last_thing", "next_thing", "thing_on_plate"), 2.0),
    **dict.fromkeys(("which_first", "place", "count_things", "before_after"), 1.5),
    **dict.fromkeys(("choice", "movement", "plate_colour"), 0.6),
    **dict.fromkeys(("heard", "which_sound_first", "last_sound"), 0.3),
    **dict.fromkeys(("background", "count_sounds"), 0.2),
}
as_tensor = cast("Callable[[Any], Tensor]", torch.from_numpy)  # pyright: ignore[reportUnknownMemberType]


@dataclass(frozen=True)
class Batch:
    """B rows; Q text positions of all questions of a row, one after another.

    `cell_words` (B, slots, cells, cells, words) marks the words that a video token should stand
    near: things, movements and plates whose centre lies in it; `colour_hidden` (B, colours) marks
    the background's colour, which no cell is asked about; `background` (B,) is its index.
    """

    frames: Tensor  # (B, T, H, W, 3) uint8
    features: Tensor  # (B, F, M)
    ids: Tensor  # (B, Q)
    targets: Tensor  # (B, Q) next token where the answer is, else -100
    segments: Tensor  # (B, Q) number of the question, -1 in padding
    offsets: Tensor  # (B, Q) position within the question
    things: Tensor  # (B, slots, cells, cells, things)
    movements: Tensor  # (B, slots, cells, cells, movements)
    plates: Tensor  # (B, slots, cells, cells, colours)
    background: Tensor  # (B,)
    sounds: Tensor  # (B, sound slots, sounds)
    hide_video: Tensor  # (B,) bool
    hide_audio: Tensor  # (B,) bool
    kinds: tuple[tuple[str, ...], ...]  # each question's type, for reports
    facts: FactTargets | None = None  # of whole clips, where they are asked for

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in moved.items():
            if isinstance(value, Tensor | FactTargets):
                moved[name] = value.to(device)
        return Batch(**moved)


def frame_times(frames_per_second: int) -> list[float]:
    """When the frames that a reader samples from such a clip were drawn."""
    total = round(CLIP_SECONDS * frames_per_second)
    return [index / frames_per_second for index in uniform_indices(total, NUM_FRAMES)]


def encode_questions(
    tokenizer: Any, questions: Sequence[Question], follows: Sequence[bool] = ()
) -> dict[str, list[int]]:
    """Ids, next-token targets on answers, segment numbers and offsets, end to end.

    A question that `follows` is the next turn of a conversation with the one before it, whose
    segment goes on: it sees that question and its right answer.
    """
    if not questions:
        return {"ids": [], "targets": [], "segments": [], "offsets": []}
    assistant = tokenizer.convert_tokens_to_ids(ASSISTANT)
    end, user = (tokenizer.convert_tokens_to_ids(token) for token in (END, USER))
    row: dict[str, list[int]] = {"ids": [], "targets": [], "segments": [], "offsets": []}
    texts = [question.text for question in questions] + [q.answer for q in questions]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    segment, offset = -1, 0
    for number in range(len(questions)):
        prompt = [*encoded[number], assistant]
        if number and follows and follows[number]:
            prompt = [end, user, *prompt]
        else:
            segment, offset = segment + 1, 0
        answer = [*encoded[len(questions) + number], end]
        ids = [*prompt, *answer[:-1]]
        row["ids"] += ids
        row["targets"] += [IGNORED] * (len(prompt) - 1) + answer
        row["segments"] += [segment] * len(ids)
        row["offsets"] += list(range(offset, offset + len(ids)))
        offset += len(ids)
    return row


def stack_questions(rows: Sequence[Mapping[str, list[int]]]) -> dict[str, Tensor]:
    """Rows of `encode_questions`, padded to the longest."""
    longest = max(len(row["ids"]) for row in rows)
    return {
        name: torch.tensor([row[name] + [fill] * (longest - len(row[name])) for row in rows])
        for name, fill in (("ids", 0), ("targets", IGNORED), ("segments", -1), ("offsets", 0))
    }


def label_arrays(
    scene: Scene, world: World, slots: int = SLOTS, cells: int = CELLS
) -> dict[str, np.ndarray[Any, Any]]:
    """One scene's encoder targets as arrays (see `Batch`), in so many slots and rows of cells."""
    colours = list(COLOURS)
    label = labels(scene, world, slots)
    things = np.zeros((slots, cells, cells, len(world.names)), np.float32)
    movements = np.zeros((slots, cells, cells, len(MOVEMENTS)), np.float32)
    plates = np.zeros((slots, cells, cells, len(colours)), np.float32)
    for slot, seen in enumerate(label.things):
        for thing in seen:
            row = min(max(int(thing.y * cells), 0), cells - 1)
            column = min(max(int(thing.x * cells), 0), cells - 1)
            things[slot, row, column, world.index[thing.name]] = 1
            movements[slot, row, column, MOVEMENTS.index(thing.movement)] = 1
            if thing.plate is not None:
                plates[slot, row, column, colours.index(thing.plate)] = 1
    sounds = np.zeros((SOUND_SLOTS, len(world.sounding)), np.float32)
    for slot, heard in enumerate(label.sounds):
        for name in heard:
            sounds[slot, world.sound_index[name]] = 1
    return {
        "things": things,
        "movements": movements,
        "plates": plates,
        "background": np.array(colours.index(label.background)),
        "sounds": sounds,
    }


@dataclass(frozen=True)
class Hardening:
    """How a batch is made harder, or nearer to life, than the arrays of a plain scene.

    Attributes:
        kinds: how often each kind of scene is drawn, in the order of `drawing.KINDS`.
        eagerness: how eagerly each type of question is asked, 1 where it is not named.
        pictures, sound, words: the share of rows, or of questions, that are damaged.
        often: types asked of a scene besides, about each thing that they can be asked about.
        turns: the share of questions that follow the one before in a conversation.
    """

    kinds: tuple[float, ...]
    eagerness: Mapping[str, float]
    pictures: float
    sound: float
    words: float
    often: tuple[str, ...] = ()
    turns: float = 0.0


@dataclass(frozen=True)
class BatchMaker:
    """Draws batches: batch `step` of a seed is always the same.

    `hear` makes of each soundtrack, (samples,) at 16 kHz, what is heard instead.
    """

    world: World
    tokenizer: Any
    batch_size: int
    questions: int = 8
    split: str = "train"
    hide: float = 0.1
    practice_from: float = math.inf
    hardening: Hardening | None = None
    hear: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None

    def make(self, seed: Sequence[int], step: int) -> Batch:
        """The batch of this step: whole clips with questions."""
        rng = np.random.default_rng([*seed, step])
        eagerness = PRACTICE if step >= self.practice_from else None
        if self.hardening is not None:
            eagerness = self.hardening.eagerness
        rows = [self._row(rng, eagerness=eagerness) for _ in range(self.batch_size)]
        return self._stack(rows, rng)

    def make_glimpses(self, seed: Sequence[int], step: int) -> Batch:
        """A batch of two seconds' pictures each, all of the sound, and no questions.

        For encoders: neighbouring seconds of a clip are much alike, so half of each of twice as
        many clips teaches more at the same cost.
        """
        rng = np.random.default_rng([*seed, step])
        rows: list[dict[str, Any]] = []
        for _ in range(2 * self.batch_size):
            slots = rng.choice(SLOTS, 2, replace=False)
            rows.append(self._row(rng, sorted(int(slot) for slot in slots)))
        return self._stack(rows, rng)

    def make_unseen(self, scenes: Sequence[tuple[Scene, Sequence[float]]], rng: Any) -> Batch:
        """Questions about scenes whose pictures and sounds are kept elsewhere: neither is here."""
        harder = self.hardening
        rows: list[dict[str, Any]] = []
        for scene, _ in scenes:
            row: dict[str, Any] = {"frames": np.empty(0), **label_arrays(scene, self.world)}
            questions = self._asked(scene, rng, harder.eagerness if harder else None)
            if harder is not None:
                row["facts"] = self._facts(scene)
                questions = _damage_words(questions, harder, rng)
            turns = 0.0 if harder is None else harder.turns
            follows = [bool(draw < turns) for draw in rng.random(len(questions))]
            row["kinds"] = tuple(question.kind for question in questions)
            rows.append(row | encode_questions(self.tokenizer, questions, follows))
        return self._stack(rows, rng)

    def draw(self, rng: np.random.Generator) -> tuple[Scene, list[float]]:
        """A scene, and when its frames were taken."""
        harder = self.hardening
        kind = None if harder is None else KINDS[int(rng.choice(len(KINDS), p=harder.kinds))]
        scene = draw_scene(self.world, rng, kind)
        return scene, frame_times(int(rng.choice(FRAME_RATES)))

    def _stack(self, rows: list[dict[str, Any]], rng: np.random.Generator) -> Batch:
        stacked = {
            name: as_tensor(np.stack([row[name] for row in rows]))
            for name in ("frames", "things", "movements", "plates", "background", "sounds")
        }
        features = torch.empty(len(rows), 0)
        if "waveform" in rows[0]:
            features = fbank(as_tensor(np.stack([row["waveform"] for row in rows])))
        draw = rng.random(len(rows))
        return Batch(
            features=features,
            hide_video=as_tensor(draw < self.hide),
            hide_audio=as_tensor((draw >= self.hide) & (draw < 2 * self.hide)),
            kinds=tuple(row["kinds"] for row in rows),
            facts=stack_facts([row["facts"] for row in rows]) if self.hardening else None,
            **stack_questions(rows),
            **stacked,
        )

    def _facts(self, scene: Scene) -> dict[str, NDArray[np.int64]]:
        return fact_arrays(scene, labels(scene, self.world, SLOTS), self.world, CELLS)

    def _asked(
        self, scene: Scene, rng: np.random.Generator, eagerness: Mapping[str, float] | None
    ) -> list[Question]:
        asked = ask(scene, self.world, rng, self.questions, self.split, eagerness=eagerness)
        often = self.hardening.often if self.hardening else ()
        more = [ask_often(scene, self.world, rng, kind) for kind in often]
        return [*asked, *chain.from_iterable(more)]

    def _row(
        self,
        rng: np.random.Generator,
        slots: list[int] | None = None,
        eagerness: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        harder = self.hardening
        scene, times = self.draw(rng)
        arrays = label_arrays(scene, self.world)
        questions: Sequence[Question] = ()
        if slots is None:
            questions = self._asked(scene, rng, eagerness)
        else:
            pair = NUM_FRAMES // SLOTS
            times = [time for slot in slots for time in times[slot * pair : (slot + 1) * pair]]
            for name in ("things", "movements", "plates"):
                arrays[name] = arrays[name][slots]
        row: dict[str, Any] = {
            "frames": render_frames(scene, self.world, times, FRAME_PIXELS),
            "waveform": render_sound(scene, self.world),
            **arrays,
        }
        if harder is not None:
            row["facts"] = self._facts(scene)
            damage_streams(row, harder, rng)
            questions = _damage_words(questions, harder, rng)
        if self.hear is not None:
            row["waveform"] = self.hear(row["waveform"])
        row["kinds"] = tuple(question.kind for question in questions)
        return row | encode_questions(self.tokenizer, questions)


def damage_streams(row: dict[str, Any], harder: Hardening, rng: np.random.Generator) -> None:
    """Damage the row's pictures and sound in place, as often as the hardening says."""
    if rng.random() < harder.pictures:
        row["frames"] = damage_frames(row["frames"], rng)
    if rng.random() < harder.sound:
        row["waveform"] = damage_sound(row["waveform"], rng)


def _damage_words(
    questions: Sequence[Question], harder: Hardening, rng: np.random.Generator
) -> list[Question]:
    return [
        replace(question, text=damage_words(question.text, rng))
        if rng.random() < harder.words
        else question
        for question in questions
    ]


class _Steps(IterableDataset[Made]):
    def __init__(self, make: Callable[[int], Made], first: int, last: int) -> None:
        super().__init__()
        self.make, self.first, self.last = make, first, last

    def __iter__(self) -> Iterator[Made]:
        info = torch.utils.data.get_worker_info()
        offset, stride = (info.id, info.num_workers) if info is not None else (0, 1)
        for step in range(self.first + offset, self.last, stride):
            yield self.make(step)


def ahead(make: Callable[[int], Made], first: int, last: int, workers: int) -> Iterator[Made]:
    """What is made for steps `first` to `last` - 1, by `workers` processes ahead of use."""
    loader = DataLoader(
        _Steps(make, first, last),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


def batches(
    maker: BatchMaker, seed: Sequence[int], first: int, last: int, glimpses: int, workers: int
) -> Iterator[Batch]:
    """The batches of steps `first` to `last` - 1, drawn by `workers` processes ahead of use.

    Steps before `glimpses` are `BatchMaker.make_glimpses`, the others `BatchMaker.make`.
    """

    def make(step: int) -> Batch:
        return (maker.make_glimpses if step < glimpses else maker.make)(seed, step)

    return ahead(make, first, last, workers)
