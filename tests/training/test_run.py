"""What a run leaves behind: the right parts changed, a model that loads at once, honest lists."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor

from videollama2 import VideoLlama2, VideoLlama2ForConditionalGeneration
from videollama2.training.errors import RecordsError, TooManySkippedError, TrainingError
from videollama2.training.parts import PREFIXES, part_of
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

Settings = Callable[..., list[str]]
FAST = ("optimizer.epochs=4", "batch.total=7", "batch.per_device=7")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]


def changed_parts(start: Path, model: Path) -> set[str]:
    before, after = (load_file(f / "model.safetensors") for f in (start, model))
    assert before.keys() == after.keys()
    return {part_of(name) for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("name", "more", "parts"),
    [
        ("video_pretrain", ("data.labels=answers",), {"connector"}),
        ("video_finetune", (), {"connector", "language_model"}),
        ("audio_finetune", ("train.audio=1e-3",), {"audio", "audio_projector"}),
        ("audio_visual_joint", (), set(PREFIXES.values()) - {"vision"}),
        ("lora", ("adapter.rank=2",), {"connector", "language_model"}),
        ("video_pretrain", ("data.labels=answers", "train.vision=1e-4"), {"vision", "connector"}),
        ("lora", ("adapter.kind=dora", "adapter.parts=[audio]", "adapter.rank=2"),
         {"connector", "audio"}),
    ],
)  # fmt: skip
def test_what_trains(
    name: str,
    more: tuple[str, ...],
    parts: set[str],
    tmp_path: Path,
    tiny_folder: Path,
    settings: Settings,
) -> None:
    """The chosen parts change and no other; the result is a model like any other."""
    steep = [f"train.{p}=1e-2" for p in load_recipe(name).train.rates()]
    if name == "lora":
        steep.append("adapter.learning_rate=1e-2")
    recipe = load_recipe(name, settings(tmp_path / "run", *FAST, *steep, *more))
    outcome = train(recipe)
    assert outcome.model is not None
    assert changed_parts(tiny_folder, outcome.model) == parts
    noted = losses(tmp_path / "run")
    assert noted[-1] < noted[0]
    loaded, said = VideoLlama2ForConditionalGeneration.from_pretrained(
        outcome.model, output_loading_info=True
    )
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    assert loaded.config.num_frames == 8


def test_rates_of_parts(tmp_path: Path, settings: Settings) -> None:
    """Each part at its own rate, under the cosine with its warm-up."""
    more = ("train.connector=1e-3", "train.language_model=1e-5", "optimizer.epochs=8")
    given = settings(tmp_path, "batch.total=7", "batch.per_device=7", "run.save_every=50", *more)
    train(load_recipe("video_finetune", given))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    connector = [line["learning_rate/connector"] for line in lines]
    language = [line["learning_rate/language_model"] for line in lines]
    steps, warm = 8, 1  # ceil(0.03 x 8)
    expected = [
        step / warm
        if step < warm
        else 0.5 * (1 + torch.cos(torch.tensor(torch.pi * (step - warm) / (steps - warm))).item())
        for step in range(steps)
    ]
    assert connector == pytest.approx([1e-3 * share for share in expected], abs=1e-9)
    assert language == pytest.approx([1e-5 * share for share in expected], abs=1e-11)


def test_accumulation_changes_nothing(tmp_path: Path, settings: Settings) -> None:
    """The same global batch in pieces: the same losses to rounding, whatever lies in a piece."""
    noted = []
    for size in (8, 4, 1):
        folder = tmp_path / str(size)
        more = ("batch.total=8", f"batch.per_device={size}", "optimizer.epochs=3")
        train(load_recipe("video_finetune", settings(folder, *more, "train.connector=1e-3")))
        noted.append(losses(folder))
    assert noted[1] == pytest.approx(noted[0], rel=1e-4)
    assert noted[2] == pytest.approx(noted[0], rel=1e-4)


def test_the_result_answers(tmp_path: Path, media_folder: Path, settings: Settings) -> None:
    """A few records learned by heart are answered so, through the public face."""
    more = (
        "train.connector=1e-2", "train.language_model=1e-2", "optimizer.epochs=40",
        "batch.total=7", "batch.per_device=7", "run.save_every=1000",
    )  # fmt: skip
    outcome = train(load_recipe("video_finetune", settings(tmp_path, *more)))
    assert outcome.model is not None
    processor = AutoProcessor.from_pretrained(outcome.model)
    assert processor.video_processor.geometry == "pad"
    assistant = VideoLlama2.from_pretrained(str(outcome.model))
    answer = assistant.ask("What is number 0?", video=media_folder / "clip.mp4")
    assert str(answer).startswith("It is 0.")


def test_other_settings_are_refused_once_a_run_has_begun(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that failed before its first step leaves its folder free for corrected settings."""
    first = load_recipe("video_finetune", settings(tmp_path, *FAST))
    other = load_recipe("video_finetune", settings(tmp_path, *FAST, "seed=7"))
    with monkeypatch.context() as patched:
        patched.setattr("videollama2.training.run.load_model", _cannot_load)
        with pytest.raises(OSError, match="no space"):
            train(first)
    assert (tmp_path / "recipe.yaml").is_file()
    train(other)
    with pytest.raises(TrainingError, match=r"other settings .*seed"):
        train(first)


def _cannot_load(*_: object, **__: object) -> None:
    raise OSError("no space")


def test_sound_for_a_model_without_ears_is_refused_before_its_weights_are_read(
    tmp_path: Path, tiny_folder: Path, settings: Settings
) -> None:
    deaf = tmp_path / "deaf"
    shutil.copytree(tiny_folder, deaf)
    config = json.loads((deaf / "config.json").read_text())
    (deaf / "config.json").write_text(json.dumps({**config, "audio_config": None}))
    (deaf / "model.safetensors").unlink()
    given = settings(tmp_path / "run", *FAST, f"model.start={deaf}")
    with pytest.raises(RecordsError, match="sound for a model without ears: start from one"):
        train(load_recipe("video_finetune", given))


def test_too_many_unreadable(tmp_path: Path, media_folder: Path, settings: Settings) -> None:
    rows = [
        {"id": n, "video": name, "conversations": [
            {"from": "human", "value": "<video>\n?"}, {"from": "gpt", "value": "Yes."}]}
        for n, name in enumerate(["clip.mp4", "garbage.mp4", "empty.mp4", "silent.mp4"])
    ]  # fmt: skip
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(rows))
    bad = f"data.files=[{{path: {file}, folder: {media_folder}}}]"
    given = settings(tmp_path / "run", bad)
    with pytest.raises(TooManySkippedError, match=r"2 of 4 records.*skipped\.jsonl"):
        train(load_recipe("video_finetune", given))
    patient = settings(tmp_path / "patient", bad, "data.max_skipped=0.5")
    outcome = train(load_recipe("video_finetune", patient))
    assert outcome.model is not None
    listed = [json.loads(line) for line in (tmp_path / "patient" / "skipped.jsonl").open()]
    assert len(listed) == 2 * outcome.steps
    assert {line["id"] for line in listed} == {"1", "2"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.start=null", "no model to start from"),
        ("model.start=./nowhere", "no such folder"),
        ("data.files=[]", "nothing to learn from"),
        ("data.files=none.json", "no such file"),
        ("batch.per_device=3", "no multiple"),
        ("data.labels=plain", "plain labels take a medium"),
    ],
)
def test_bad_input_before_any_work(
    setting: str, said: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights were read")

    monkeypatch.setattr("videollama2.training.run.load_model", loads)
    recipe = load_recipe("video_finetune", settings(tmp_path / "run", setting))
    with pytest.raises(TrainingError, match=said) as caught:
        train(recipe)
    if not isinstance(caught.value, RecordsError):
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_part_that_is_not_there(
    tmp_path: Path, settings: Settings, records_file: Path, media_folder: Path
) -> None:
    import tiny

    deaf = tmp_path / "deaf"
    tokenizer = tiny.build_tokenizer()
    model = tiny.build_model(tiny.build_config(tokenizer, audio_config=None))
    model.save_pretrained(deaf)
    from videollama2.processing.processor import VideoLlama2Processor

    picture = {"size": {"height": 28, "width": 28}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    VideoLlama2Processor.from_config(model.config, tokenizer, picture).save_pretrained(deaf)
    unheard = tmp_path / "unheard.json"
    records = json.loads(records_file.read_text())
    unheard.write_text(json.dumps([record for record in records if "audio" not in record]))
    data = f"data.files=[{{path: {unheard}, folder: {media_folder}}}]"
    given = settings(tmp_path / "run", f"model.start={deaf}", data)
    with pytest.raises(TrainingError, match="no audio and no audio_projector to train"):
        train(load_recipe("audio_finetune", given))


def test_frozen_parts_run_without_gradients(tiny_folder: Path) -> None:
    from videollama2.checkpoints.load import load_model
    from videollama2.training.parts import choose, recompute_layers, rest_frozen_encoders

    model = load_model(tiny_folder).train()
    choose(model, load_recipe("video_pretrain"))
    recompute_layers(model)
    rest_frozen_encoders(model)
    assert not model.model.vision_tower.training
    assert model.model.language_model.training
    pixels = torch.randn(1, 8, 3, 28, 28)
    assert model.model.encode_frames(pixels).grad_fn is None
    assert model.get_video_features(pixels).pooler_output.grad_fn is not None
    assert model.get_audio_features(torch.randn(1, 64, 128)).pooler_output.grad_fn is None
