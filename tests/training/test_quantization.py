"""Training with adapters on a language model that is kept in 4 bits."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from videollama2 import VideoLlama2ForConditionalGeneration
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.four_bit import FourBit, share
from videollama2.checkpoints.load import load_model
from videollama2.training import run as run_module
from videollama2.training.errors import TrainingError
from videollama2.training.parts import part_of
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train
from videollama2.training.trainer import StageTrainer, StopWhenAsked

Settings = Callable[..., list[str]]
Linear4bit = bitsandbytes.nn.Linear4bit
NARROW = 2 * 6
"""Layers that 4 bits hold: not the way down, as its rows of 48 are no whole blocks."""
FAST = (
    "optimizer.epochs=5", "batch.total=7", "batch.per_device=7", "adapter.rank=2",
    "adapter.learning_rate=1e-2", "train.connector=1e-2", "run.save_every=2",
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def four_bit_layers(model: nn.Module) -> dict[str, Any]:
    return {name: m for name, m in model.named_modules() if isinstance(m, Linear4bit)}


def dequantized(layer: Any) -> Tensor:
    return bitsandbytes.functional.dequantize_4bit(layer.weight, layer.weight.quant_state)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]


@pytest.mark.parametrize("kept", [FourBit(), FourBit("fp4", double=False)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_in_four_bits(kept: FourBit, dtype: torch.dtype, tiny_folder: Path) -> None:
    """All linear layers of the language model, and nothing else; the rest is as it was."""
    plain = load_model(tiny_folder, dtype=dtype)
    model = load_model(tiny_folder, dtype=dtype, four_bit=kept)
    layers = four_bit_layers(model)
    assert len(layers) == NARROW
    linear = sum(2 * layer.weight.numel() for layer in layers.values())
    words = sum(value.numel() for value in plain.model.language_model.parameters())
    assert share(model) == pytest.approx(linear / words)
    for name, layer in layers.items():
        assert name.startswith("model.language_model.layers.")
        weight = layer.weight
        before = plain.get_submodule(name).weight
        assert weight.dtype == torch.uint8
        assert not weight.requires_grad
        assert weight.numel() == before.numel() // 2
        assert weight.quant_state.quant_type == kept.kind
        assert weight.quant_state.nested == kept.double
        # Half the widest gap between two levels is 0.152 of a block's largest weight (NF4) and
        # 1/6 of it (FP4); scales in 8 bits and bfloat16 add a little.
        block = 32  # the tiny model's rows hold no whole blocks of 64
        assert weight.quant_state.blocksize == (64 if before.shape[1] % 64 == 0 else block)
        largest = before.float().reshape(-1, block).abs().amax(1, keepdim=True)
        apart = (dequantized(layer).float() - before.float()).reshape(-1, block).abs()
        assert bool((apart <= 0.19 * largest).all())
    others = dict(model.state_dict())
    for name, value in plain.state_dict().items():
        if name.removesuffix(".weight") not in layers:
            assert torch.equal(others[name], value), name


def test_the_same_as_the_weights_they_stand_for(tiny_folder: Path) -> None:
    """A forward pass and the adapters' way back, beside plain layers of the same values."""
    model = load_model(tiny_folder, four_bit=FourBit())
    plain = load_model(tiny_folder)
    for name, layer in four_bit_layers(model).items():
        plain.get_submodule(name).weight.data.copy_(dequantized(layer))
    inputs = {
        "inputs_embeds": torch.randn(2, 9, 32, requires_grad=True),
        "labels": torch.randint(0, 250, (2, 9)),
    }
    gradients = []
    for one in (model, plain):
        loss = one(**inputs).loss
        (gradient,) = torch.autograd.grad(loss, inputs["inputs_embeds"])
        gradients.append((loss, gradient))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


def test_never_the_whole_model_in_full(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a weight is quantised, every other one is in 4 bits already or not yet read."""
    full: list[int] = []
    kept: dict[str, Any] = {}
    prepare, quantized = FourBit.prepare, FourBit.quantized

    def watch(self: FourBit, model: nn.Module, dtype: torch.dtype) -> None:
        prepare(self, model, dtype)
        kept["layers"] = four_bit_layers(model)

    def count(self: FourBit, value: Tensor, layer: nn.Module) -> nn.Parameter:
        weights = [layer.weight for layer in kept["layers"].values()]
        full.append(sum(not w.is_meta and w.dtype != torch.uint8 for w in weights))
        return quantized(self, value, layer)

    monkeypatch.setattr(FourBit, "prepare", watch)
    monkeypatch.setattr(FourBit, "quantized", count)
    load_model(tiny_folder, four_bit=FourBit())
    assert full == [0] * NARROW


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("adapter.kind=dora",),
        ("adapter.parts=[language_model, audio]", "data.packing=true"),
        ("optimizer.precision=bfloat16", "quantization.double=false", "quantization.kind=fp4"),
    ],
)
def test_a_run(
    more: tuple[str, ...],
    tmp_path: Path,
    tiny_folder: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It learns; 4-bit weights stay what they are; the result stands on the checkpoint's own."""
    seen: dict[str, Any] = {}
    compute_loss = StageTrainer.compute_loss

    def watch(self: Any, model: Any, *others: Any, **named: Any) -> Any:
        layers = four_bit_layers(model)
        seen.setdefault("first", {n: m.weight.data.clone() for n, m in layers.items()})
        seen["last"] = {name: layer.weight.data for name, layer in layers.items()}
        seen["dtypes"] = {p.dtype for p in model.parameters() if p.requires_grad}
        return compute_loss(self, model, *others, **named)

    monkeypatch.setattr(StageTrainer, "compute_loss", watch)
    outcome = train(load_recipe("qlora", settings(tmp_path / "run", *FAST, *more)))
    assert outcome.model is not None
    noted = losses(tmp_path / "run")
    assert noted[-1] < 0.9 * noted[0]
    assert len(seen["first"]) == NARROW
    assert all(torch.equal(seen["last"][name], value) for name, value in seen["first"].items())
    assert seen["dtypes"] == {torch.float32}
    left, said = VideoLlama2ForConditionalGeneration.from_pretrained(
        outcome.model, output_loading_info=True
    )
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    assert not four_bit_layers(left)
    before, after = (load_file(f / "model.safetensors") for f in (tiny_folder, outcome.model))
    assert before.keys() == after.keys()
    changed = {
        part_of(name)
        for name, value in before.items()
        if not torch.equal(value.to(after[name].dtype), after[name])
    }
    assert changed == {"connector", *load_recipe("qlora", more).adapter.parts}


def test_merged_into_the_unquantized_weights(tmp_path: Path, settings: Settings) -> None:
    """By hand, from the adapter's own file: W + alpha / r x B A, W as the checkpoint has it."""
    given = settings(tmp_path / "run", *FAST, "optimizer.epochs=2")
    outcome = train(load_recipe("qlora", given))
    assert outcome.model is not None
    start = load_recipe("qlora", given).model.start
    before = load_file(Path(str(start)) / "model.safetensors")
    after = load_file(outcome.model / "model.safetensors")
    adapter = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    downs = [name for name in adapter if name.endswith(".lora_A.weight")]
    assert len(downs) == 14
    for name in downs:
        up = adapter[name.replace("lora_A", "lora_B")]
        weight = name.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
        expected = before[weight] + 256 / 2 * up @ adapter[name]
        torch.testing.assert_close(after[weight], expected, rtol=1e-5, atol=1e-6)


def test_a_stopped_run_goes_on_bit_for_bit(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(StopWhenAsked):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.asked = state.global_step == 2

    more = (
        *FAST,
        "optimizer.epochs=4",
        "adapter.dropout=0.3",
        "data.packing=true",
        "data.pack_tokens=150",
    )
    whole = train(load_recipe("qlora", settings(tmp_path / "whole", *more)))
    recipe = load_recipe("qlora", settings(tmp_path / "run", *more))
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "StopWhenAsked", Stopped)
        assert train(recipe).step == 3
    outcome = train(recipe)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert outcome.model is not None
    assert whole.model is not None
    ours, theirs = (load_file(o / "model.safetensors") for o in (outcome.model, whole.model))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_bitsandbytes(
    tmp_path: Path, tiny_folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    said = r"^4-bit weights: need bitsandbytes\. pip install 'videollama2\[quant\]'$"
    with pytest.raises(CheckpointError, match=said):
        train(load_recipe("qlora", settings(tmp_path / "run")))
    assert not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError, match=said):
        load_model(tiny_folder, four_bit=FourBit())
    load_model(tiny_folder)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("adapter=null", "quantization is for training with adapters and there are none"),
        ("train.language_model=1e-5", "would train with adapters and without"),
        ("parallel.kind=fsdp2", "weights in 4 bits cannot be shared out"),
        ("quantization.bits=4", "quantization.bits is no setting"),
        ("quantization.kind=nf3", "quantization.kind is 'nf3'"),
        ("quantisation.kind=nf4", "did you mean quantization"),
    ],
)
def test_wrong_settings_are_one_line(setting: str, said: str) -> None:
    with pytest.raises(TrainingError) as caught:
        load_recipe("qlora", [setting])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    thawed = ["adapter.parts=[audio]", "train.language_model=1e-5"]
    with pytest.raises(TrainingError, match="weights in 4 bits cannot train"):
        load_recipe("qlora", thawed)
