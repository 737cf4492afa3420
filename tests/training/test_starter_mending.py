"""The starter's last phase: damage as files do it, facts by name, and a run that goes on."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from videollama2.scenes import World, draw_scene, load_world
from videollama2.scenes.labels import labels
from videollama2.scenes.larger import LARGER_INSTRUMENTS, LARGER_THINGS
from videollama2.scenes.names import COLOURS, MOVEMENTS, NUMBERS
from videollama2.scenes.questions import ask
from videollama2.scenes.rendering import render_frames
from videollama2.scenes.scene import Heard, Scene, Shown
from videollama2.scenes.sounds import render_sound
from videollama2.scenes.staging import PLAIN
from videollama2.scenes.world import NOTE_SAMPLES, NOTES_PER_SOUND, SPRITE_PIXELS, pack_world
from videollama2.training.starter import mend as mending
from videollama2.training.starter.damage import (
    AAC_DELAY_SAMPLES,
    SOUND_RATES,
    damage_frames,
    damage_sound,
    damage_words,
    decode_aac,
    encode_aac,
)
from videollama2.training.starter.data import CELLS, IGNORED, SLOTS, BatchMaker
from videollama2.training.starter.facts import UNKNOWN, Facts, FactTargets, fact_arrays
from videollama2.training.starter.mend import (
    HARDENING,
    PLANS,
    MendSettings,
    Patient,
    answer_weights,
    mend,
    mend_rate,
)
from videollama2.training.starter.train import Run, Settings, Trainee, save_starter, train

SHORT = MendSettings(
    batch_size=1, questions=3, steps=2, settling_steps=2, horizon=3, cooling_steps=2, warmup_steps=1
)


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(None)


@pytest.fixture(scope="module")
def taught(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the phases before would leave, with weights that learned nothing."""
    folder = tmp_path_factory.mktemp("taught")
    trainee = Trainee(Settings(), world)
    save_starter(trainee.model, trainee.tokenizer, folder, asdict(Settings()))
    return folder


# --- damage ---


def noise(seed: int = 0, samples: int = 64_000) -> np.ndarray[Any, Any]:
    """Noise below 3 kHz, which every rate here keeps."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    spectrum[samples * 3_000 // 16_000 :] = 0
    return (0.1 * np.fft.irfft(spectrum, samples)).astype(np.float32)


@pytest.mark.parametrize("rate", SOUND_RATES)
def test_sound_through_aac_stays_where_it_was(rate: int) -> None:
    """The encoder's delay is cut off: cross-correlation peaks within a millisecond of zero."""
    sound = noise()
    decoded = decode_aac(encode_aac(sound, rate, 8 * rate // 4))
    kept = decoded[AAC_DELAY_SAMPLES * 16_000 // rate :][: sound.size]
    size = 1 << 18
    product = np.fft.rfft(kept, size) * np.conj(np.fft.rfft(sound, size))
    shift = int(np.argmax(np.fft.irfft(product, size)))
    assert min(shift, size - shift) <= 16
    kept = np.pad(kept, (0, sound.size - kept.size))
    assert np.corrcoef(sound, np.roll(kept, -shift))[0, 1] > 0.8


def test_damaged_sound_is_as_long_and_another(world: World) -> None:
    sound = render_sound(draw_scene(world, np.random.default_rng(1), "source"), world)
    one, again = (damage_sound(sound, np.random.default_rng(5)) for _ in range(2))
    assert one.shape == sound.shape
    assert one.dtype == np.float32
    assert np.array_equal(one, again)
    assert 0 < np.abs(one - sound).mean() < np.abs(sound).mean()


def test_damaged_pictures_are_the_same_but_coarser(world: World) -> None:
    frames = render_frames(draw_scene(world, np.random.default_rng(2)), world, [0.0, 3.5])
    errors: list[float] = []
    for seed in range(8):
        damaged = damage_frames(frames, np.random.default_rng(seed))
        assert (damaged.shape, damaged.dtype) == (frames.shape, np.uint8)
        errors.append(float(np.abs(damaged.astype(int) - frames).mean()))
    assert min(errors) > 0.5
    assert max(errors) < 20


def test_reworded_questions_keep_what_they_ask(world: World) -> None:
    """Names, colours, numbers, and the words that tell one type from another, are never lost."""
    kept = {*world.names, *COLOURS, *NUMBERS, *MOVEMENTS, "first", "last", "before", "after"}
    kept |= {"hear", "heard", "sound", "many", "colour", "background", "plate", "where", "move"}
    rng, changed = np.random.default_rng(3), 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        for question in ask(draw_scene(world, draw), world, draw):
            text = damage_words(question.text, rng)
            changed += text != question.text
            before, after = (re.findall("[a-z]+", said.lower()) for said in (question.text, text))
            for word in kept:
                assert before.count(word) == after.count(word), (question.text, text)
    assert changed > 40


# --- facts ---


def scene_of(things: tuple[Shown, ...], sounds: tuple[Heard, ...]) -> Scene:
    drawn = draw_scene(load_world(None), np.random.default_rng(0))
    return replace(drawn, things=things, sounds=sounds, sequential=True, staging=PLAIN)


def shown(name: str, x: float, y: float, start_s: float, end_s: float) -> Shown:
    return Shown(name, x, y, 0.3, "still", 0.0, start_s, end_s)


def test_facts_of_a_scene_known_by_heart(world: World) -> None:
    """A thing at the top left gives way after a second to one at the bottom right, which sounds."""
    one, other = world.silent[0], world.sounding[0]
    scene = scene_of(
        (shown(one, 0.25, 0.25, 0, 1), shown(other, 0.75, 0.75, 1, 4)),
        (Heard(other, 2.0, 1.0, (0, 1), 1.0),),
    )
    facts = fact_arrays(scene, labels(scene, world, SLOTS), world, CELLS)
    last = CELLS * CELLS - 1
    token = {second: second * CELLS * CELLS for second in range(SLOTS)}
    expected = {name: np.full(SLOTS * CELLS * CELLS, UNKNOWN) for name in ("places", "seconds")}
    expected |= {name: np.full(SLOTS * CELLS * CELLS, UNKNOWN) for name in ("appears", "after")}
    expected["places"][token[0]] = 0
    expected["seconds"][token[0]] = 0
    expected["appears"][token[0]] = 1
    expected["after"][token[0]] = len(world.names)
    for second in (1, 2, 3):
        expected["places"][token[second] + last] = 3
        expected["seconds"][token[second] + last] = second
        expected["appears"][token[second] + last] = int(second == 1)
    expected["after"][token[1] + last] = world.index[one]
    for name, values in expected.items():
        assert np.array_equal(facts[name], values), name
    heard = np.full(12, UNKNOWN)
    heard[6:9] = (1, 0, 0)
    assert np.array_equal(facts["onsets"], heard)
    assert np.array_equal(facts["visible"], np.where(heard == UNKNOWN, UNKNOWN, 1))


def test_a_sound_whose_thing_is_not_there_is_not_visible(world: World) -> None:
    scene = scene_of(
        (shown(world.silent[0], 0.25, 0.25, 0, 4),), (Heard(world.sounding[0], 0, 1, (0,), 1.0),)
    )
    facts = fact_arrays(scene, labels(scene, world, SLOTS), world, CELLS)
    assert facts["visible"][0] == 0


def test_facts_ask_only_where_something_is_known_and_seen() -> None:
    width, things, tokens = 8, 5, 6
    facts = Facts(width, things, SLOTS)
    unknown = torch.full((2, tokens), UNKNOWN)
    silent = torch.full((2, 12), UNKNOWN)
    nothing = FactTargets(unknown, unknown, unknown, unknown, silent, silent)
    video, hidden = torch.randn(2, tokens, width), torch.randn(2, tokens + 24, width)
    both = torch.ones(2, dtype=torch.bool)

    def loss(targets: FactTargets, shown: Tensor, heard: Tensor) -> float:
        return facts.loss(video, hidden, targets, shown, heard).item()

    assert loss(nothing, both, both) == 0
    seconds = unknown.clone()
    seconds[0, 2] = 3
    assert loss(replace(nothing, seconds=seconds), both, both) > 0
    assert loss(replace(nothing, seconds=seconds), torch.tensor([False, True]), both) == 0
    visible = silent.clone()
    visible[1, 4] = 1
    asked = replace(nothing, visible=visible)
    assert loss(asked, both, both) > 0
    assert loss(asked, both, torch.tensor([True, False])) == 0
    assert loss(asked, torch.tensor([True, False]), both) == 0


# --- what is trained on ---


def test_a_question_weighs_by_the_root_of_its_answer(world: World) -> None:
    tokenizer = Trainee(Settings(), world).tokenizer
    batch = BatchMaker(world, tokenizer, 3, 6, hardening=HARDENING).make((1, 2), 0)
    weights, wanted = answer_weights(batch), batch.targets != IGNORED
    rows = torch.arange(3)[:, None].expand_as(wanted)[wanted]
    numbers = batch.segments[wanted]
    for row in range(3):
        for number in range(len(batch.kinds[row])):
            mine = weights[(rows == row) & (numbers == number)]
            assert float(mine.sum()) == pytest.approx(math.sqrt(len(mine)), rel=1e-5)
    assert batch.facts is not None
    assert batch.facts.places.shape == (3, SLOTS * CELLS * CELLS)


def test_a_scene_can_be_asked_about_each_of_its_things(world: World) -> None:
    tokenizer = Trainee(Settings(), world).tokenizer
    often = replace(PLANS["looking up"].mending, kinds=(0.0, 0.0, 1.0))
    batch = BatchMaker(world, tokenizer, 6, 2, hardening=often).make((1, 2), 0)
    counts = [kinds.count("next_thing") for kinds in batch.kinds]
    assert max(counts) > 1
    assert all(len(kinds) >= 2 + count for kinds, count in zip(batch.kinds, counts, strict=True))


def test_the_language_model_alone_is_mended(world: World, taught: Path, tmp_path: Path) -> None:
    settings = replace(SHORT, plan="looking up")
    before = Patient(str(taught), settings, world).model.state_dict()
    options: dict[str, Any] = {"device": "cpu", "workers": 0, "minutes": math.inf}
    patient = mend(world, str(taught), settings, Run(tmp_path), **options)
    assert patient is not None
    for name, value in patient.model.state_dict().items():
        is_words = "language_model" in name or "lm_head" in name
        assert torch.equal(value, before[name]) != is_words or "rotary" in name, name


def test_what_is_heard_can_be_another_sound(world: World) -> None:
    tokenizer = Trainee(Settings(), world).tokenizer
    maker = BatchMaker(world, tokenizer, 1, 2)
    silence = replace(maker, hear=np.zeros_like).make((1, 2), 0)
    assert silence.features.std() < 1e-3
    assert torch.equal(silence.frames, maker.make((1, 2), 0).frames)
    assert not torch.equal(silence.features, maker.make((1, 2), 0).features)


def test_the_rate_warms_up_holds_and_cools_down() -> None:
    settings = MendSettings(
        steps=90, horizon=100, cooling_steps=40, warmup_steps=10, learning_rate=1.0
    )
    rates = [mend_rate(settings, step) for step in range(90)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert set(rates[10:61]) == {1.0}
    assert rates[80] == pytest.approx(0.01 + 0.99 / 2)
    settling = replace(settings, settling_steps=20, settling_learning_rate=0.5)
    assert mend_rate(settling, 90) == pytest.approx(0.5)
    assert mend_rate(settling, 110) == pytest.approx(0.005)


# --- a run ---


def run_mend(world: World, taught: Path, folder: Path, **changes: Any) -> Patient | None:
    options: dict[str, Any] = {"device": "cpu", "workers": 0, "minutes": math.inf, **changes}
    return mend(world, str(taught), SHORT, Run(folder), **options)


def test_a_broken_run_ends_where_an_unbroken_one_does(
    world: World, taught: Path, tmp_path: Path
) -> None:
    whole = run_mend(world, taught, tmp_path / "whole")
    broken = tmp_path / "broken"
    resumed = None
    for _ in range(SHORT.all_steps):
        assert resumed is None
        resumed = run_mend(world, taught, broken, minutes=0)
    assert whole is not None
    assert resumed is not None
    begun = Patient(str(taught), SHORT, world).state_dict()
    expected = whole.state_dict()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert not all(torch.equal(value, expected[name]) for name, value in begun.items())


def test_the_command_writes_a_folder_that_tells_all_phases(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setattr(mending, "load_world", lambda path: world)
    options = {name.replace("_", "-"): value for name, value in asdict(SHORT).items()}
    options |= {"world": "-", "begin": taught, "run": tmp_path / "run", "out": tmp_path / "out"}
    options |= {"device": "cpu", "workers": 0, "steps": 1, "settling-steps": 0}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["mend", *words])
    mending.main()
    said = json.loads((tmp_path / "out" / "training.json").read_text())
    done = {**asdict(SHORT), "steps": 1, "settling_steps": 0}
    assert said["mendings"] == [done]
    options |= {"begin": tmp_path / "out", "run": tmp_path / "again", "out": tmp_path / "again"}
    options |= {"plan": "order"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["mend", *words])
    mending.main()
    said = json.loads((tmp_path / "again" / "training.json").read_text())
    assert said["mendings"] == [done, {**done, "plan": "order"}]
    assert said["joint_steps"] == Settings().joint_steps
    names = {path.name for path in taught.iterdir()}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    changed = ("model.safetensors", "training.json")
    for name in names:
        same = (taught / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
        assert same == (name not in changed), name


# --- the larger world ---


def test_all_phases_run_on_the_larger_world_at_the_larger_size(tmp_path: Path) -> None:
    """A dry run: pictures and notes are noise, since only lists and shapes are looked at."""
    names, sounding = tuple(LARGER_THINGS), tuple(LARGER_INSTRUMENTS)
    rng = np.random.default_rng(0)
    sprites = rng.integers(0, 255, (len(names), SPRITE_PIXELS, SPRITE_PIXELS, 4), np.uint8)
    notes = rng.integers(-9999, 9999, (len(sounding), NOTES_PER_SOUND, NOTE_SAMPLES), np.int16)
    pack_world(tmp_path / "larger.npz", names, sprites, sounding, notes)
    larger = load_world(tmp_path / "larger.npz")
    settings = Settings(
        batch_size=1,
        pretrain_steps=1,
        joint_steps=1,
        practice_steps=1,
        questions=2,
        size="medium",
    )
    options: dict[str, Any] = {"device": "cpu", "workers": 0, "minutes": math.inf}
    trainee = train(larger, settings, Run(tmp_path / "run"), **options)
    assert trainee is not None
    parameters = sum(weight.numel() for weight in trainee.model.parameters())
    assert 9e6 < parameters < 12e6
    taught = tmp_path / "taught"
    save_starter(trainee.model, trainee.tokenizer, taught, asdict(settings))
    assert (taught / "model.safetensors").stat().st_size < 24e6
    short = replace(SHORT, steps=1, settling_steps=1)
    assert mend(larger, str(taught), short, Run(tmp_path / "mending"), **options) is not None
