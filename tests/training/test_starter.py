"""Training the starter: the same batches again, questions that stand alone, runs that go on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from videollama2 import Answer, VideoLlama2
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.processing.parts import LoadedMedia, MediaReport, VideoInput
from videollama2.processing.processor import VideoLlama2Processor
from videollama2.scenes import Question, World, all_texts, ask, draw_scene, load_world, write_clip
from videollama2.scenes.rendering import render_frames
from videollama2.training.starter import train as training
from videollama2.training.starter.data import (
    IGNORED,
    Batch,
    BatchMaker,
    batches,
    encode_questions,
    frame_times,
)
from videollama2.training.starter.objective import Streams, answer_logits, encode
from videollama2.training.starter.parts import FRAME_PIXELS, PIXELS, build_config, build_tokenizer
from videollama2.training.starter.report import wilson
from videollama2.training.starter.train import Run, Settings, Trainee, learning_rate, save_starter

SEED = (7, 1)
SHORT = Settings(
    batch_size=1,
    pretrain_steps=2,
    joint_steps=1,
    joint_horizon=2,
    practice_steps=1,
    warmup_steps=1,
    questions=3,
)
FILLINGS = {"ids": 0, "targets": IGNORED, "segments": -1, "offsets": 0}


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(None)


@pytest.fixture(scope="module")
def tokenizer(world: World) -> Any:
    return build_tokenizer(all_texts(world))


@pytest.fixture(scope="module")
def maker(world: World, tokenizer: Any) -> BatchMaker:
    return BatchMaker(world, tokenizer, batch_size=2, questions=4)


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> VideoLlama2ForConditionalGeneration:
    """The starter's own shape; its weights are large, so that whatever is attended to shows."""
    torch.manual_seed(3)
    return VideoLlama2ForConditionalGeneration(
        build_config(tokenizer, initializer_range=0.2)
    ).eval()


def tensors(batch: Batch) -> dict[str, Tensor]:
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def same(one: Batch, other: Batch) -> bool:
    theirs = tensors(other)
    equal = (torch.equal(value, theirs[name]) for name, value in tensors(one).items())
    return one.kinds == other.kinds and all(equal)


# --- batches ---


def test_a_step_of_a_seed_is_always_the_same_batch(maker: BatchMaker) -> None:
    assert same(maker.make(SEED, 3), maker.make(SEED, 3))
    assert same(maker.make_glimpses(SEED, 3), maker.make_glimpses(SEED, 3))
    for other in (maker.make(SEED, 4), maker.make((8, 1), 3), maker.make((7, 2), 3)):
        assert not torch.equal(maker.make(SEED, 3).frames, other.frames)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_from_any_step(maker: BatchMaker, workers: int) -> None:
    """Glimpses up to step 2, whole clips from there on, whoever draws them."""
    drawn = list(batches(maker, SEED, 1, 4, 2, workers))
    wanted = [maker.make_glimpses(SEED, 1), maker.make(SEED, 2), maker.make(SEED, 3)]
    assert len(drawn) == len(wanted)
    assert all(same(one, other) for one, other in zip(drawn, wanted, strict=True))


def test_a_glimpse_is_half_the_pictures_of_twice_the_clips(maker: BatchMaker) -> None:
    whole, half = maker.make(SEED, 0), maker.make_glimpses(SEED, 0)
    assert half.frames.shape == (4, 4, *whole.frames.shape[2:])
    assert half.features.shape == (4, *whole.features.shape[1:])
    assert half.things.shape[:2] == (4, 2)
    assert half.ids.shape == (4, 0)


# --- a question stands alone ---


@pytest.fixture(scope="module")
def questions(world: World) -> list[list[Question]]:
    """Three rows of real questions, of other numbers and lengths in each."""
    rng = np.random.default_rng(11)
    counts = (3, 1, 4)
    return [ask(draw_scene(world, rng), world, rng, count=count) for count in counts]


@pytest.fixture(scope="module")
def batch(maker: BatchMaker, tokenizer: Any, questions: list[list[Question]]) -> Batch:
    """Both streams, no picture, no sound."""
    drawn = replace(maker, batch_size=3).make(SEED, 0)
    hidden = replace(
        drawn,
        hide_video=torch.tensor([False, True, False]),
        hide_audio=torch.tensor([False, False, True]),
    )
    return with_questions(hidden, tokenizer, questions)


@pytest.fixture(scope="module")
def streams(model: VideoLlama2ForConditionalGeneration, batch: Batch) -> Streams:
    with torch.inference_mode():
        return encode(model, batch)


def with_questions(
    batch: Batch, tokenizer: Any, questions: Sequence[Sequence[Question]], padding: int = 0
) -> Batch:
    """The batch with these questions in its rows, and `padding` positions after the longest."""
    rows = [encode_questions(tokenizer, asked) for asked in questions]
    longest = max(len(row["ids"]) for row in rows) + padding
    text = {
        name: torch.tensor([row[name] + [fill] * (longest - len(row[name])) for row in rows])
        for name, fill in FILLINGS.items()
    }
    kinds = tuple(tuple(question.kind for question in asked) for asked in questions)
    return replace(batch, kinds=kinds, **text)


def one_row(batch: Batch, row: int) -> Batch:
    rows = {name: value[row : row + 1] for name, value in tensors(batch).items()}
    return replace(batch, kinds=batch.kinds[row : row + 1], **rows)


@pytest.fixture(scope="module")
def together(
    model: VideoLlama2ForConditionalGeneration, tokenizer: Any, streams: Streams, batch: Batch
) -> Tensor:
    """Logits (answer positions of all rows, vocabulary) of the whole batch."""
    with torch.inference_mode():
        return answer_logits(model, streams, batch, tokenizer)[0]


def close(one: Tensor, other: Tensor) -> bool:
    """Equal but for the order of summing; those of other media differ by ten here."""
    return one.shape == other.shape and bool((one - other).abs().max() < 1e-3)


@torch.inference_mode()
def test_a_question_knows_no_other_question_and_no_padding(
    model: VideoLlama2ForConditionalGeneration,
    tokenizer: Any,
    streams: Streams,
    batch: Batch,
    questions: list[list[Question]],
    together: Tensor,
) -> None:
    alone: list[Tensor] = []
    for row, asked in enumerate(questions):
        own = Streams(streams.video[row : row + 1], streams.audio[row : row + 1])
        for question in asked:
            asked_alone = with_questions(one_row(batch, row), tokenizer, [[question]], padding=5)
            alone.append(answer_logits(model, own, asked_alone, tokenizer)[0])
    assert close(torch.cat(alone), together)


@torch.inference_mode()
def test_training_sees_what_the_processor_writes(
    model: VideoLlama2ForConditionalGeneration,
    tokenizer: Any,
    batch: Batch,
    questions: list[list[Question]],
    together: Tensor,
) -> None:
    """A conversation through the processor and `forward` gives the same logits, in all streams."""
    processor = VideoLlama2Processor.from_config(model.config, tokenizer, PIXELS)
    pixels = batch.frames.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0
    logits: list[Tensor] = []
    for row, asked in enumerate(questions):
        picture = None if batch.hide_video[row] else pixels[row]
        sound = None if batch.hide_audio[row] else batch.features[row]
        kind = "audio" if picture is None else "video"
        media = LoadedMedia(kind, picture, sound, MediaReport("clip", kind, 4.0, 8, 4.0))
        for question in asked:
            content = [{"type": kind, kind: media}, {"type": "text", "text": question.text}]
            inputs = processor.apply_chat_template(
                [
                    {"role": "user", "content": content},
                    {"role": "assistant", "content": question.answer},
                ],
                tokenize=True,
                return_dict=True,
            )
            answer = len(tokenizer(question.answer, add_special_tokens=False)["input_ids"]) + 1
            assert inputs["input_ids"][0, -1] == tokenizer.eos_token_id
            logits.append(model(**inputs).logits[0, -answer - 1 : -1])
    assert close(torch.cat(logits), together)


@torch.inference_mode()
def test_a_hidden_stream_is_not_seen_and_a_shown_one_is(
    model: VideoLlama2ForConditionalGeneration,
    tokenizer: Any,
    streams: Streams,
    batch: Batch,
    together: Tensor,
) -> None:
    wanted = batch.targets != IGNORED
    row_of = torch.arange(3)[:, None].expand_as(wanted)[wanted]
    no_picture = Streams(torch.zeros_like(streams.video), streams.audio)
    no_sound = Streams(streams.video, torch.zeros_like(streams.audio))
    for changed, untouched in ((no_picture, 1), (no_sound, 2)):
        logits, _ = answer_logits(model, changed, batch, tokenizer)
        for row in range(3):
            mine = row_of == row
            assert close(logits[mine], together[mine]) == (row == untouched)


# --- a run ---


def run_train(world: World, folder: Path, **changes: Any) -> Trainee | None:
    options: dict[str, Any] = {"device": "cpu", "workers": 0, "minutes": math.inf, **changes}
    return training.train(world, SHORT, Run(folder), **options)


def test_a_broken_run_ends_where_an_unbroken_one_does(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its fourth step, with the second saved; then legs of one step each."""
    whole = run_train(world, tmp_path / "whole")
    assert whole is not None

    class KilledError(Exception):
        pass

    untouched, calls = Trainee.loss, 0

    def loss(self: Trainee, *arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KilledError
        return untouched(self, *arguments)

    broken = tmp_path / "broken"
    monkeypatch.setattr(Trainee, "loss", loss)
    with pytest.raises(KilledError):
        run_train(world, broken, save_every=2)
    monkeypatch.undo()
    assert torch.load(broken / "checkpoint.pt", weights_only=True)["step"] == 2
    assert run_train(world, broken, minutes=0) is None
    resumed = run_train(world, broken, minutes=0)
    assert resumed is not None
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())
    fresh = Trainee(SHORT, world).state_dict()
    assert not all(torch.equal(value, expected[name]) for name, value in fresh.items())
    for run in (tmp_path / "whole", broken):
        assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == 4


def test_a_run_goes_on_with_its_own_settings_only(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.check_settings(SHORT)
    run.check_settings(SHORT)
    with pytest.raises(ValueError, match="other settings"):
        run.check_settings(replace(SHORT, seed=1))
    assert json.loads((tmp_path / "settings.json").read_text())["seed"] == SHORT.seed


def test_the_learning_rate_warms_up_holds_and_cools_down() -> None:
    settings = Settings(
        pretrain_steps=100,
        joint_steps=150,
        joint_horizon=200,
        practice_steps=50,
        warmup_steps=10,
        learning_rate=1.0,
        joint_learning_rate=0.5,
        practice_learning_rate=0.4,
    )
    rates = [learning_rate(settings, step) for step in range(settings.steps)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert set(rates[10:100]) == {1.0}
    assert rates[100:110] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert rates[110:201] == pytest.approx([0.5] * 91)
    for cooling in (rates[200:250], rates[250:]):
        assert all(later < sooner for sooner, later in pairwise(cooling))
    assert rates[249] > 0.5 * (0.01 + 0.99 / 2)  # not yet half way down the cosine
    assert rates[250] == pytest.approx(0.4)  # practice warms up no more
    assert rates[275] == pytest.approx(0.4 * (0.01 + 0.99 / 2))
    assert learning_rate(settings, settings.steps) == pytest.approx(0.004)


# --- what comes out ---


@pytest.mark.parametrize(("right", "asked"), [(0, 8), (8, 8), (1, 2), (37, 60), (999, 1000)])
def test_the_interval_is_wilsons(right: int, asked: int) -> None:
    expected = binomtest(right, asked).proportion_ci(0.95, method="wilson")
    interval = wilson(right, asked)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_nothing_asked_says_nothing() -> None:
    interval = wilson(0, 0)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_the_saved_folder_answers_about_a_clip(world: World, tmp_path: Path) -> None:
    trainee = Trainee(SHORT, world)
    folder, path = tmp_path / "starter", tmp_path / "clip.mp4"
    folder.mkdir()
    save_starter(trainee.model, trainee.tokenizer, folder, asdict(SHORT))
    scene = draw_scene(world, np.random.default_rng(2))
    write_clip(scene, world, path, fps=8)

    loaded = VideoLlama2.from_pretrained(folder, device="cpu")
    expected = trainee.model.state_dict()
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, expected[name].to(value.dtype)), name
    question = ask(scene, world, np.random.default_rng(3), count=1)[0]
    answer = loaded.ask(question.text, video=path, max_new_tokens=4)
    assert isinstance(answer, Answer)
    assert 0 <= answer.generated_tokens <= 4  # untrained, it may well say nothing
    (report,) = answer.media
    assert (report.kind, report.frames) == ("video", 8)
    assert report.sound_s == pytest.approx(4.0, abs=0.1)

    taken = loaded.processor.load_media(VideoInput(path))
    drawn = render_frames(scene, world, frame_times(8), FRAME_PIXELS)
    pixels = torch.from_numpy(drawn).permute(0, 3, 1, 2) / 127.5 - 1.0
    assert taken.pixels.shape == pixels.shape
    assert (taken.pixels - pixels).abs().mean() < 0.1  # of 2: the file is compressed
