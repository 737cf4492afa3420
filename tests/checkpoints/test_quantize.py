"""Weights in fewer bits: read, saved, read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prompts
import pytest
import tiny
import torch
from torch import nn

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.load import load_model
from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.settings import SamplingSettings
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.narrow import NarrowLinear, narrowed


def logits_of(model: Any, tokenizer: Any) -> torch.Tensor:
    prompt = prompts.prompt(model, tokenizer, "what is ", prompts.image(model), "\nit?")
    with torch.no_grad():
        return model(
            input_ids=torch.tensor([prompt.input_ids]),
            image_features=[medium.features for medium in prompt.media],
        ).logits


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_a_row_is_off_by_half_a_step_at_most(kind: Any) -> None:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    weight[3, 0] = 1000
    narrow, scale = narrowed(weight, kind)
    assert narrow.element_size() == 1
    off = (narrow.float() * scale[:, None] - weight).abs()
    step = scale[:, None] * (0.5 if kind == "int8" else 16)  # e4m3: 3 bits behind the first
    assert bool((off <= step * 1.001).all())
    assert bool((narrow[2].float() == 0).all())


@pytest.mark.parametrize(
    ("outputs", "inputs", "rows"), [(64, 96, 1), (96, 64, 16), (64, 64, 17), (33, 50, 1)]
)
def test_few_rows_give_what_many_give(outputs: int, inputs: int, rows: int) -> None:
    made = torch.Generator().manual_seed(0)
    layer = NarrowLinear(inputs, outputs, True, "int8")
    narrow, scale = narrowed(torch.randn(outputs, inputs, generator=made), "int8")
    layer.weight.data, layer.weight_scale.data = narrow, scale
    assert layer.bias is not None
    layer.bias.data = torch.randn(outputs, generator=made)
    x = torch.randn(2, rows, inputs, generator=made).bfloat16()
    with torch.inference_mode():
        many = layer(x.expand(9, 2, rows, inputs).reshape(-1, inputs)).view(9, 2, rows, outputs)[0]
        found = torch.stack([layer(one) for one in x])
        exact = x.double() @ (narrow.double() * scale.double()[:, None]).T + layer.bias
    step = exact.abs().max() * 2**-7  # bfloat16 has 8 bits
    assert found.dtype == torch.bfloat16
    assert float((found - exact).abs().max()) <= step
    assert float((found - many).abs().max()) <= step


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_read_saved_and_read_again(
    tiny_folder: Path, tiny_tokenizer: Any, tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    wide = load_model(tiny_folder, dtype=dtype)
    narrow = load_model(tiny_folder, dtype=dtype, quantize=kind)
    assert isinstance(narrow.lm_head, NarrowLinear)
    layers = narrow.model.language_model.modules()
    assert not any(isinstance(layer, nn.Linear) for layer in layers)
    expected, found = logits_of(wide, tiny_tokenizer), logits_of(narrow, tiny_tokenizer)
    assert found.dtype == dtype
    assert not torch.equal(found, expected)
    narrow.save_pretrained(tmp_path)
    stored = (tmp_path / "model.safetensors").stat().st_size
    assert stored < (tiny_folder / "model.safetensors").stat().st_size
    again = load_model(tmp_path, dtype=dtype)
    torch.testing.assert_close(logits_of(again, tiny_tokenizer), found, rtol=0, atol=0)
    if kind == "int8":
        through = VideoLlama2ForConditionalGeneration.from_pretrained(tmp_path, dtype=dtype).eval()
        for name, value in narrow.state_dict().items():
            assert torch.equal(through.state_dict()[name], value), name


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_the_answer_is_that_of_the_rounded_weights(
    tiny_folder: Path, tiny_tokenizer: Any, kind: Any
) -> None:
    wide = load_model(tiny_folder, dtype=torch.float32)
    layers = dict(wide.model.language_model.named_modules()) | {"output": wide.lm_head}
    for layer in layers.values():
        if isinstance(layer, nn.Linear):
            narrow, scale = narrowed(layer.weight.data, kind)
            layer.weight.data = narrow.float() * scale[:, None]
    found = logits_of(load_model(tiny_folder, dtype=torch.float32, quantize=kind), tiny_tokenizer)
    torch.testing.assert_close(found, logits_of(wide, tiny_tokenizer))


def test_narrow_weights_answer_alike_plain_and_compiled(
    tiny_folder: Path, tiny_tokenizer: Any
) -> None:
    model = load_model(tiny_folder, quantize="int8")
    prompt = prompts.prompt(model, tiny_tokenizer, "what is ", prompts.image(model), "\nit?")
    answers: list[list[int]] = []
    for backend in (None, "eager"):
        batch = ContinuousBatch(model, compile_backend=backend)
        row = BatchRow(prompt, SamplingSettings(max_new_tokens=6))
        batch.join([row])
        while batch.step():
            pass
        answers.append(row.tokens)
    assert answers[0] == answers[1]


def test_a_tied_output_layer_stays_wide(tiny_tokenizer: Any, tmp_path: Path) -> None:
    config = tiny.build_config(tiny_tokenizer, tie_word_embeddings=True)
    model = tiny.build_model(config)
    model.save_pretrained(tmp_path)
    narrow = load_model(tmp_path, quantize="int8")
    assert isinstance(narrow.lm_head, nn.Linear)
    assert narrow.lm_head.weight is narrow.get_input_embeddings().weight


@pytest.mark.parametrize(
    ("kind", "words"),
    [("int4", "needs a GPU.*int8 or nf4"), ("int3", "none of int8, fp8, int4, nf4")],
)
def test_what_does_not_run_here_is_refused(tiny_folder: Path, kind: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        load_model(tiny_folder, device="cpu", quantize=kind)


def test_narrow_weights_are_not_narrowed_again(tiny_folder: Path, tmp_path: Path) -> None:
    load_model(tiny_folder, quantize="int8").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="int8 already"):
        load_model(tmp_path, quantize="fp8")
