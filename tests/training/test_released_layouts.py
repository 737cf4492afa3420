"""Results of training in the released layouts: each stage's files, read back to the same bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM

from videollama2 import VideoLlama2ForConditionalGeneration
from videollama2.checkpoints.compose import Assembly, Parts, compose
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.export import convert
from videollama2.checkpoints.gather import Elsewhere
from videollama2.checkpoints.load import load_model, load_processor
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

Settings = Callable[..., list[str]]
FAST = ("optimizer.epochs=4", "batch.total=2", "batch.per_device=2", "run.save_every=9")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's kind of parts as plain models: a language model and an encoder."""
    import tiny

    root = tmp_path_factory.mktemp("plain")
    tokenizer = tiny.build_tokenizer()
    config = tiny.build_config(tokenizer)
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(config.text_config).save_pretrained(root / "words")
    tokenizer.save_pretrained(root / "words")
    AutoModel.from_config(config.vision_config).save_pretrained(root / "eyes")
    return root


@pytest.fixture
def fresh(plain: Path, tmp_path: Path) -> Path:
    parts = Parts(language_model=str(plain / "words"), vision=str(plain / "eyes"))
    return compose(tmp_path / "fresh", parts, Assembly(num_frames=8, depth=1)).folder


@pytest.fixture
def settings(settings: Settings, media_folder: Path, tmp_path: Path) -> Settings:
    """As everywhere, upon records that a model without ears takes too."""
    talk = [{"from": "human", "value": "<video>\nWhat is it?"}, {"from": "gpt", "value": "It is."}]
    rows = [{"video": name, "conversations": talk} for name in ("silent.mp4", "clip.mp4")]
    (tmp_path / "records.json").write_text(json.dumps(rows))
    seen = f"data.files=[{{path: {tmp_path / 'records.json'}, folder: {media_folder}}}]"
    return lambda folder, *more: settings(folder, seen, *more)


def stage(name: str, start: Path, folder: Path, settings: Settings, *more: str) -> Path:
    given = settings(folder, *FAST, f"model.start={start}", *more)
    outcome = train(load_recipe(name, given))
    assert outcome.model is not None
    return outcome.model


def assert_equal(one: Path, other: Path, **places: Any) -> None:
    left = VideoLlama2ForConditionalGeneration.from_pretrained(one, **places).state_dict()
    right = load_model(other).state_dict()
    assert left.keys() == right.keys()
    assert not [name for name, value in right.items() if not torch.equal(left[name], value)]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix in (".bin", ".safetensors")}


def test_first_stage_as_base(fresh: Path, plain: Path, tmp_path: Path, settings: Settings) -> None:
    more = ("train.connector=1e-2", "data.labels=answers")
    model = stage("video_pretrain", fresh, tmp_path / "run", settings, *more)
    base = convert(model, tmp_path / "base", "released", layout="base")
    assert files(base) == {"mm_projector.bin"}
    names = torch.load(base / "mm_projector.bin", weights_only=True)
    assert all(name.startswith("model.mm_projector.") for name in names)
    config = json.loads((base / "config.json").read_text())
    assert config["tune_mm_mlp_adapter"] is True
    assert config["_name_or_path"] == str(plain / "words")
    assert config["mm_projector_type"] == "stc_connector_v35"
    assert_equal(base, model)
    moved = shutil.copytree(plain / "words", tmp_path / "moved")
    assert_equal(base, model, language_model=moved)
    assert load_processor(base).video_processor.num_frames == 8
    again = compose(tmp_path / "again", Parts(model=str(fresh), connector=str(base)))
    assert_equal(again.folder, model)


def test_what_base_would_lose(fresh: Path, plain: Path, tmp_path: Path, settings: Settings) -> None:
    more = ("train.language_model=1e-2", "train.vision=1e-2")
    model = stage("video_finetune", fresh, tmp_path / "run", settings, *more)
    with pytest.raises(CheckpointError, match=r"leaves its language model out.*--layout full"):
        convert(model, tmp_path / "base", "released", layout="base")
    claimed = Elsewhere(plain / "words", plain / "eyes")
    with pytest.raises(CheckpointError, match="language model is another than"):
        convert(model, tmp_path / "base", "released", layout="base", elsewhere=claimed)
    assert_equal(convert(model, tmp_path / "full", "released"), model)
    assert not (tmp_path / "base").exists()


def test_audio_stages(fresh: Path, recorded: Path, tmp_path: Path, settings: Settings) -> None:
    """Ears for a video checkpoint, tuned; their files alone, upon the video checkpoint."""
    ears = Parts(model=str(fresh), audio=str(recorded / "beats_tiny.pt"))
    hearing = compose(tmp_path / "hearing", ears).folder
    more = ("train.audio=1e-2", "train.audio_projector=1e-2")
    model = stage("audio_finetune", hearing, tmp_path / "run", settings, *more)
    seeing = Elsewhere(language_model=fresh)
    small = convert(model, tmp_path / "small", "released", layout="audio", elsewhere=seeing)
    assert files(small) == {"audio_tower.bin", "mm_projector_a.bin"}
    tower = torch.load(small / "audio_tower.bin", weights_only=True)
    assert all(name.startswith("model.audio_tower.") for name in tower)
    assert sum("relative_attention_bias" in name for name in tower) == 1
    projector = torch.load(small / "mm_projector_a.bin", weights_only=True)
    assert {name.rpartition("projector_a.")[0] for name in projector} == {"model.mm_"}
    assert_equal(small, model)
    with pytest.raises(CheckpointError, match="has no audio branch"):
        convert(fresh, tmp_path / "deaf", "released", layout="audio", elsewhere=seeing)
    ears = Parts(str(fresh), audio=str(small / "audio_tower.bin"), audio_projector=str(small))
    whole = compose(tmp_path / "whole", ears)
    assert_equal(whole.folder, model)


@pytest.mark.parametrize("upon", ["fresh", "words"])
def test_lora(upon: str, fresh: Path, plain: Path, tmp_path: Path, settings: Settings) -> None:
    """The adapter upon the checkpoint that it was trained on, or upon the plain language model."""
    more = ("train.connector=1e-2", "adapter.learning_rate=1e-2", "adapter.rank=2")
    stage("lora", fresh, tmp_path / "run", settings, *more)
    place = Elsewhere() if upon == "fresh" else Elsewhere(language_model=plain / "words")
    adapter = tmp_path / "run" / "adapter"
    lora = convert(adapter, tmp_path / "lora", "released", layout="lora", elsewhere=place)
    assert files(lora) == {"adapter_model.bin", "non_lora_trainables.bin"}
    low = torch.load(lora / "adapter_model.bin", weights_only=True)
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in low
    beside = torch.load(lora / "non_lora_trainables.bin", weights_only=True)
    assert all(name.startswith("base_model.model.model.mm_projector.") for name in beside)
    assert json.loads((lora / "config.json").read_text())["model_type"] == "videollama2_qwen2"
    assert_equal(lora, adapter)
    with pytest.raises(CheckpointError, match=r"holds no adapter. Convert .*run/adapter"):
        convert(tmp_path / "run" / "model", tmp_path / "x", "released", layout="lora")


def test_peft_reads_the_released_lora(
    fresh: Path, plain: Path, tmp_path: Path, settings: Settings
) -> None:
    """peft puts the exported adapter on the plain language model, whose names are the released."""
    import peft

    more = ("train.connector=null", "adapter.learning_rate=1e-2", "adapter.rank=2")
    model = stage("lora", fresh, tmp_path / "run", settings, *more)
    lora = convert(tmp_path / "run" / "adapter", tmp_path / "lora", "released", layout="lora")
    words = AutoModelForCausalLM.from_pretrained(plain / "words")
    merged: Any = peft.PeftModel.from_pretrained(words, str(lora)).merge_and_unload()
    trained = load_model(model).model.language_model.state_dict()
    for name, value in merged.model.state_dict().items():
        torch.testing.assert_close(value, trained[name])


def test_a_small_layout_is_released(fresh: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--to released"):
        convert(fresh, tmp_path / "out", layout="base")
