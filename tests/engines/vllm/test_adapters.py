"""LoRA adapters of the language model, put on at run time, beside the same merged by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from vllm_engines import ours

from videollama2.engine import user_message
from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import VideoInput

RANK, ALPHA = 4, 16
TARGETS = ("q_proj", "v_proj", "down_proj")


def make_adapter(model: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """An adapter's tensors by our names, and the changes of the model's own weights."""
    torch.manual_seed(1)
    tensors: dict[str, torch.Tensor] = {}
    changes: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        of_layer = "language_model.layers" in name and name.endswith(".weight")
        if not of_layer or name.split(".")[-2] not in TARGETS:
            continue
        rows, columns = parameter.shape
        down, up = torch.randn(RANK, columns) * 0.2, torch.randn(rows, RANK) * 0.2
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        tensors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
        changes[name] = up @ down * (ALPHA / RANK)
    return tensors, changes


def write_adapter(tensors: dict[str, torch.Tensor], folder: Path) -> str:
    """The adapter in peft's files."""
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": list(TARGETS),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return str(folder)


def test_adapters_at_run_time(starter: str, engine: Callable[..., Any], tmp_path: Path) -> None:
    """Under our names and released ones, in a batch with answers that ask for none."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    clip = VideoInput(Path(__file__).parents[2] / "starter" / "clips" / "scene-003.mp4")
    own = ours(starter)
    plain = _answer(own, clip)
    tensors, changes = make_adapter(own.model)
    with torch.no_grad():
        for name, change in changes.items():
            own.model.get_parameter(name).add_(change)
    own.forget()  # what the model read before it was changed
    adapted = _answer(own, clip)
    assert adapted != plain

    vllm = engine(starter, enable_lora=True, max_lora_rank=8, max_loras=2)
    media = vllm.take_in([clip])
    prompt = vllm.prompt([user_message("What is heard?", media)], media).inputs
    released = {name.replace(".language_model.", "."): one for name, one in tensors.items()}
    one = LoRARequest("ours", 1, write_adapter(tensors, tmp_path / "ours"))
    two = LoRARequest("released", 2, write_adapter(released, tmp_path / "released"))
    for wanted in ([None], [None, one, two, None], [one, None], [two], [None]):
        outputs = vllm.llm.generate(
            [prompt] * len(wanted),
            SamplingParams(temperature=0.0, max_tokens=12),
            lora_request=wanted,
            use_tqdm=False,
        )
        expected = [plain if request is None else adapted for request in wanted]
        found = [tuple(output.outputs[0].token_ids) for output in outputs]
        # vLLM counts the stop token as part of an answer.
        assert [ids[: len(one)] for ids, one in zip(found, expected, strict=True)] == expected


def _answer(own: Any, clip: VideoInput) -> tuple[int, ...]:
    media = own.take_in([clip])
    prompt = own.prompt([user_message("What is heard?", media)], media)
    return own.write([prompt], [SamplingSettings(12)])[0].token_ids
