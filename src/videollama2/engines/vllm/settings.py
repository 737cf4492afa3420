"""Our settings in vLLM's words: how an engine is built, how an answer is chosen."""

# pyright: reportAttributeAccessIssue=false
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from transformers import GenerationConfig

from videollama2.checkpoints.locate import HubOptions, find_folder
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.stops import stop_token_ids


@dataclass(frozen=True)
class EngineOptions:
    """How vLLM's engine is built; what is None is left to vLLM.

    `eager` compiles and captures nothing; None is eager on a CPU. `adapters` lets answers be asked
    of LoRA adapters, of ranks up to `highest_rank`. Without `shared_caches` no request is answered
    sooner because another held the same. `more` are vLLM's own engine arguments, by its names.
    """

    dtype: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    memory_share: float | None = None
    tensor_parallel: int = 1
    eager: bool | None = None
    adapters: bool = False
    highest_rank: int = 16
    shared_caches: bool = True
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def arguments(self) -> dict[str, Any]:
        """vLLM's engine arguments."""
        given: dict[str, Any] = {
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "gpu_memory_utilization": self.memory_share,
            "enforce_eager": (_on_cpu() or None) if self.eager is None else self.eager,
        }
        arguments = {name: value for name, value in given.items() if value is not None}
        if self.adapters:
            arguments |= {"enable_lora": True, "max_lora_rank": self.highest_rank}
        if not self.shared_caches:  # encoded media, too, are then each request's own
            arguments |= {"enable_prefix_caching": False, "mm_processor_cache_gb": 0}
        return {
            **arguments,
            "tensor_parallel_size": self.tensor_parallel,
            **self.more,
        }


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def sampling_params(
    settings: SamplingSettings, stop_ids: Iterable[int], *, stream: bool = False, **more: Any
) -> Any:
    """vLLM's `SamplingParams` for ours; `stream` gives pieces rather than the whole each time.

    One thing differs: vLLM's repetition penalty counts the prompt's tokens as well.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    kind = RequestOutputKind.DELTA if stream else RequestOutputKind.FINAL_ONLY
    drawn = {} if settings.greedy else {"top_p": settings.top_p, "top_k": settings.top_k}
    return SamplingParams(
        max_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        repetition_penalty=settings.repetition_penalty,
        seed=settings.seed,
        stop=list(settings.stop_strings),
        stop_token_ids=sorted(stop_ids),
        output_kind=kind,
        **drawn,
        **more,
    )


def stop_ids(model: str, config: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer of this checkpoint, as our own generation has them."""
    generation: Any = config
    folder = find_folder(model, HubOptions(weights=False))
    if (folder / "generation_config.json").is_file():
        defaults: Any = GenerationConfig
        generation = defaults.from_pretrained(folder)
    return stop_token_ids(SimpleNamespace(generation_config=generation, config=config), tokenizer)
