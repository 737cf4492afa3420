"""Adapters that a run leaves behind: peft reads them, and so does our loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import tiny
import torch

from videollama2 import VideoLlama2ForConditionalGeneration
from videollama2.checkpoints.load import load_model, load_processor
from videollama2.training.errors import TrainingError
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

Settings = Callable[..., list[str]]
FAST = ("optimizer.epochs=4", "batch.total=7", "batch.per_device=7", "adapter.rank=2")


@pytest.mark.parametrize(
    "more",
    [
        ("train.connector=1e-2",),
        ("train.connector=null", "adapter.parts=[language_model,connector,audio]"),
        ("adapter.parts=[audio]", "train.connector=1e-2", "train.language_model=1e-3"),
        ("adapter.kind=dora",),
    ],
)
def test_peft_reads_the_adapter(
    more: tuple[str, ...], tmp_path: Path, settings: Settings, tiny_folder: Path
) -> None:
    """peft, upon the checkpoint that the run began with, gives the model that the run left."""
    fast = (*FAST, "adapter.learning_rate=1e-2", *more)
    outcome = train(load_recipe("lora", settings(tmp_path, *fast)))
    assert outcome.model is not None
    start = load_model(tiny_folder)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    adapted = peft.PeftModel.from_pretrained(start, str(tmp_path / "adapter"))
    merged = adapted.merge_and_unload(safe_merge=True).state_dict()
    left = load_model(outcome.model).state_dict()
    assert merged.keys() == left.keys()
    assert not [name for name in left if not torch.equal(left[name], merged[name])]
    assert [name for name in left if not torch.equal(left[name], before[name])]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_our_loader_reads_the_adapter(kind: str, tmp_path: Path, settings: Settings) -> None:
    more = ("adapter.learning_rate=1e-2", "model.num_frames=4", f"adapter.kind={kind}")
    given = settings(tmp_path, *FAST, *more)
    outcome = train(load_recipe("lora", given))
    assert outcome.model is not None
    adapted = VideoLlama2ForConditionalGeneration.from_pretrained(tmp_path / "adapter")
    merged = load_model(outcome.model)
    assert adapted.config.num_frames == 4
    torch.testing.assert_close(dict(adapted.state_dict()), dict(merged.state_dict()))
    processor = load_processor(tmp_path / "adapter")
    assert processor.video_processor.num_frames == 4
    assert processor.video_processor.geometry == "pad"


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_matrices_that_are_kept_transposed(kind: str, tmp_path: Path, settings: Settings) -> None:
    """GPT-2's linear layers are (in, out): adapters find them, and both results are one model."""
    gpt2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 1024,
            "vocab_size": len(tiny.build_tokenizer())}  # fmt: skip
    start = tiny.save(tmp_path / "start", text_config=gpt2)
    more = (f"model.start={start}", "adapter.learning_rate=1e-2", f"adapter.kind={kind}")
    outcome = train(load_recipe("lora", settings(tmp_path / "run", *FAST, *more)))
    assert outcome.model is not None
    adapted, merged = load_model(tmp_path / "run" / "adapter"), load_model(outcome.model)
    torch.testing.assert_close(dict(adapted.state_dict()), dict(merged.state_dict()))
    weight = "model.language_model.h.0.attn.c_attn.weight"
    assert not torch.equal(merged.state_dict()[weight], load_model(start).state_dict()[weight])
    both = settings(tmp_path / "vision", *more, "adapter.parts=[vision,language_model]")
    with pytest.raises(TrainingError, match="as GPT-2 does"):
        train(load_recipe("lora", both))
