"""A starter that grows into a larger world: words, senses taught alone, a run that goes on."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videollama2 import VideoLlama2
from videollama2.processing.fbank import fbank
from videollama2.scenes import World, ask, draw_scene, load_world
from videollama2.scenes.names import COLOURS
from videollama2.scenes.questions import KINDS
from videollama2.scenes.sounds import render_sound
from videollama2.training.starter import grow as growing
from videollama2.training.starter.data import CELLS, IGNORED, BatchMaker, encode_questions
from videollama2.training.starter.grow import (
    GrowSettings,
    Growth,
    Leg,
    OutOfTimeError,
)
from videollama2.training.starter.kept import KeptScenes
from videollama2.training.starter.objective import encode
from videollama2.training.starter.parts import END, USER
from videollama2.training.starter.senses import Ear, Eye, draw_frames, draw_sounds
from videollama2.training.starter.train import Settings, Trainee, save_starter
from videollama2.training.starter.widen import widen

SHORT = GrowSettings(
    eye_steps=3,
    eye_frames=4,
    ear_steps=3,
    ear_sounds=2,
    scenes=8,
    batch_size=2,
    questions=3,
    align_steps=1,
    steps=4,
    settling_steps=1,
    warmup_steps=1,
)


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(None)


@pytest.fixture(scope="module")
def smaller(world: World) -> World:
    """Two thirds of its things, and the sounds of those."""
    kept = len(world.names) * 2 // 3
    names = world.names[:kept]
    sounding = tuple(name for name in world.sounding if name in names)
    rows = [world.sound_index[name] for name in sounding]
    return World(names, world.sprites[:kept], sounding, world.notes[rows])


@pytest.fixture(scope="module")
def taught(smaller: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter of the smaller world, with weights that learned nothing."""
    folder = tmp_path_factory.mktemp("taught")
    trainee = Trainee(Settings(), smaller)
    save_starter(trainee.model, trainee.tokenizer, folder, asdict(Settings()))
    return folder


# --- words ---


def test_known_words_keep_their_embeddings_and_new_ones_lie_among_things(
    taught: Path, world: World, smaller: World
) -> None:
    before = VideoLlama2.from_pretrained(str(taught))
    model, tokenizer = widen(before.model, before.tokenizer, world)
    old: Any = before.model.get_input_embeddings()
    new: Any = model.get_input_embeddings()
    had, has = before.tokenizer.get_vocab(), tokenizer.get_vocab()
    shared = [token for token in had if token in has]
    assert len(shared) > 0.9 * len(had)
    for token in shared:
        assert torch.equal(new.weight[has[token]], old.weight[had[token]].float())
    fresh = [tokenizer.tokenize(name) for name in world.names[len(smaller.names) :]]
    assert all(len(tokens) == 1 for tokens in fresh)
    rows = new.weight.detach()[[has[tokens[0]] for tokens in fresh]]
    things = new.weight.detach()[[has[tokenizer.tokenize(name)[0]] for name in smaller.names]]
    assert float(rows.std()) == pytest.approx(float(things.std()), rel=0.25)
    others = dict(model.model.connector.state_dict())
    assert all(
        torch.equal(tensor, others[name])
        for name, tensor in before.model.model.connector.float().state_dict().items()
    )


def test_a_model_of_another_world_is_refused(taught: Path, world: World) -> None:
    before = VideoLlama2.from_pretrained(str(taught))
    strange = replace(world, names=tuple(f"{name}ish" for name in world.names), sounding=())
    with pytest.raises(ValueError, match="no word for any thing"):
        widen(before.model, before.tokenizer, strange)


# --- senses ---


def test_frames_show_what_their_labels_say(world: World) -> None:
    """Where a cell holds a thing there is more than ground; all things are as frequent."""
    drawn = draw_frames(world, 400, np.random.default_rng(0))
    assert drawn.pictures.shape[:2] == (400, 1)
    assert drawn.cells.shape == (400, CELLS, CELLS, len(world.names) + len(COLOURS))
    things = drawn.cells[..., : len(world.names)]
    seen = things.sum((0, 1, 2))
    expected = float(things.sum()) / len(world.names)
    assert float((seen - expected).abs().max()) < 5 * math.sqrt(expected)
    assert 1.8 < float(things.sum()) / 400 < 3.2
    spread = drawn.pictures[:, 0].float().std((1, 2, 3))
    assert float(spread[things.sum((1, 2, 3)) > 0].mean()) > float(
        spread[things.sum((1, 2, 3)) == 0].mean()
    )


def test_sounds_are_loud_where_their_labels_say(world: World) -> None:
    drawn = draw_sounds(world, 24, np.random.default_rng(1))
    slots = drawn.heard.shape[1]
    assert drawn.heard.shape == (24, slots, len(world.sounding))
    level = (
        drawn.features.mean(2).unfold(1, drawn.features.shape[1] // slots, 33).mean(2)[:, :slots]
    )
    sounding = drawn.heard.sum(2) > 0
    assert float(level[sounding].mean()) > float(level[~sounding].mean()) + 0.5


def test_eye_and_ear_learn_without_touching_the_language_model(taught: Path, world: World) -> None:
    before = VideoLlama2.from_pretrained(str(taught))
    model, tokenizer = widen(before.model, before.tokenizer, world)
    model.model.language_model.requires_grad_(True)
    eye, ear = Eye(model, world), Ear(model, tokenizer, world)
    rng = np.random.default_rng(2)
    (eye.loss(draw_frames(world, 2, rng)) + ear.loss(draw_sounds(world, 2, rng))).backward()
    assert all(parameter.grad is None for parameter in model.model.language_model.parameters())
    assert any(parameter.grad is not None for parameter in model.model.vision_tower.parameters())
    assert any(parameter.grad is not None for parameter in model.model.audio_tower.parameters())


# --- scenes that are kept ---


def test_kept_scenes_are_what_the_model_would_have_seen(
    taught: Path, smaller: World, tmp_path: Path
) -> None:
    """Tokens made from kept features are those of the same pictures and sounds, encoded now."""
    before = VideoLlama2.from_pretrained(str(taught))
    model: Any = before.model.float()
    plain = replace(growing.SCENES, pictures=0.0, sound=0.0)
    maker = BatchMaker(smaller, before.tokenizer, 2, 3, hardening=plain)
    kept = KeptScenes(tmp_path, maker, (0, 1), 6)
    for share in (1, 2):
        kept.encode(model, share, 2)
    # whoever asks, and whatever scenes that one would draw: about these
    asker = replace(maker, hardening=replace(growing.SETTLE, kinds=(0.0, 1.0, 0.0)))
    indices, batch = kept.make(asker, (0, 2), 0)
    assert batch.frames.numel() == batch.features.numel() == 0
    streams = kept.opened(2).streams(model, indices)
    rows = [kept.render(index) for index in indices]
    again = maker.make((3,), 0)
    shown = replace(
        again,
        frames=torch.from_numpy(np.stack([row["frames"] for row in rows])),
        features=fbank(torch.from_numpy(np.stack([row["waveform"] for row in rows]))),
    )
    with torch.no_grad():
        wanted = encode(model, shown)
    assert torch.allclose(streams.video, wanted.video, atol=2e-2)
    assert torch.allclose(streams.audio, wanted.audio, atol=2e-2)
    shown_in = {index: kept.draw(index)[0] for index in range(6)}
    for row, index in enumerate(indices):
        told = batch.things[row].amax((0, 1, 2)) > 0
        names = {smaller.names[at] for at in torch.nonzero(told)[:, 0]}
        assert names == {thing.name for thing in shown_in[index].things}
        track = render_sound(shown_in[index], smaller)
        assert np.array_equal(rows[row]["waveform"], track)


def test_rounds_name_kinds_of_questions_that_there_are() -> None:
    """A kind that is misspelt would be asked as often as any other, without a word."""
    for asking in (*growing.ROUNDS, growing.SETTLE):
        assert {*asking.eagerness, *asking.often} <= set(KINDS)


# --- the whole ---


def grown(world: World, taught: Path, folder: Path, leg: Leg | None = None) -> dict[str, Any]:
    growth = Growth(world, str(taught), SHORT, folder, leg or Leg(), folder)
    return growth.study().model.state_dict()


def test_a_run_cut_into_legs_gives_the_same_weights(
    taught: Path, world: World, tmp_path: Path
) -> None:
    whole = grown(world, taught, tmp_path / "whole")
    legs = 0
    while True:
        legs += 1
        try:
            cut = grown(world, taught, tmp_path / "cut", Leg(deadline=0.0))
            break
        except OutOfTimeError:
            assert legs < 20
    assert legs > 5
    assert all(torch.equal(cut[name], tensor) for name, tensor in whole.items())


def test_what_has_grown_studies_the_same_scenes_again(
    taught: Path, world: World, tmp_path: Path
) -> None:
    first = Growth(world, str(taught), SHORT, tmp_path / "one", Leg(), tmp_path / "one")
    patient = first.study()
    out = tmp_path / "grown"
    out.mkdir()
    save_starter(patient.model, patient.tokenizer, out, {})
    encoded = {file: file.read_bytes() for file in (tmp_path / "one" / "scenes").iterdir()}
    again = replace(SHORT, round=1, eye_steps=0, ear_steps=0)
    second = Growth(world, str(out), again, tmp_path / "two", Leg(), tmp_path / "one")
    after = second.study().model.state_dict()
    assert not (tmp_path / "two" / "scenes").exists()
    assert encoded == {file: file.read_bytes() for file in (tmp_path / "one" / "scenes").iterdir()}
    before = VideoLlama2.from_pretrained(str(out)).model.state_dict()
    for name, tensor in after.items():
        frozen = name.startswith(("model.vision_tower", "model.audio_tower"))
        if tensor.is_floating_point() and tensor.numel() > 100_000:
            assert torch.equal(tensor, before[name].float()) == frozen, name


def test_it_learns_all_but_eye_and_ear_at_last(taught: Path, world: World, tmp_path: Path) -> None:
    after = grown(world, taught, tmp_path)
    senses = VideoLlama2.from_pretrained(str(tmp_path / "senses")).model.state_dict()
    for name, tensor in after.items():
        frozen = name.startswith(("model.vision_tower", "model.audio_tower"))
        if tensor.is_floating_point() and tensor.numel() > 100_000:
            assert torch.equal(tensor, senses[name].float()) == frozen


def test_the_command_writes_a_model_that_answers(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setattr(growing, "load_world", lambda path: world)
    options = [
        text
        for name, value in asdict(SHORT).items()
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]
    arguments = ["grow", "--world", "any", "--begin", str(taught), "--workers", "0"]
    folders = ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*arguments, *folders, "--device", "cpu", *options])
    growing.main()
    told = json.loads((tmp_path / "out" / "training.json").read_text())
    assert told["growths"] == [asdict(SHORT)]
    assert told["joint_steps"] == Settings().joint_steps
    model = VideoLlama2.from_pretrained(str(tmp_path / "out"))
    assert world.names[-1] in model.tokenizer.decode(model.tokenizer(world.names[-1])["input_ids"])
    assert isinstance(model.ask("what is there?"), str)


# --- turns ---


def test_a_later_turn_is_what_the_chat_template_writes(world: World) -> None:
    """Ids of a segment are the template's of the conversation; its answers are the targets."""
    tokenizer = Trainee(Settings(), world).tokenizer
    rng = np.random.default_rng(4)
    questions = ask(draw_scene(world, rng), world, rng, 3)
    row = encode_questions(tokenizer, questions, [False, True, False])
    assert row["segments"] == sorted(row["segments"])
    assert set(row["segments"]) == {0, 1}
    for segment, turns in ((0, questions[:2]), (1, questions[2:])):
        at = [index for index, number in enumerate(row["segments"]) if number == segment]
        messages: list[dict[str, str]] = []
        for turn in turns:
            messages += [{"role": "user", "content": turn.text}]
            messages += [{"role": "assistant", "content": turn.answer}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = [row["ids"][index] for index in at]
        assert wanted == [tokenizer.convert_tokens_to_ids(USER), *ids, wanted[-1]]
        assert [row["offsets"][index] for index in at] == list(range(len(at)))
        targets = [row["targets"][index] for index in at]
        told = [(ids[1:] + wanted[-1:])[i] for i, t in enumerate(targets) if t != IGNORED]
        assert told == [target for target in targets if target != IGNORED]
        said = tokenizer.decode(told).replace(END, " ").split()
        assert said == " ".join(turn.answer for turn in turns).split()


def test_conversations_are_drawn_as_often_as_asked(world: World) -> None:
    tokenizer = Trainee(Settings(), world).tokenizer
    maker = BatchMaker(world, tokenizer, 1, 8, hardening=replace(growing.STUDY, turns=0.5))
    rng = np.random.default_rng(5)
    batch = maker.make_unseen([maker.draw(rng) for _ in range(60)], rng)
    asked = sum(len(kinds) for kinds in batch.kinds)
    begun = int((batch.segments.amax(1) + 1).sum())
    assert 0.4 < 1 - begun / asked < 0.55
