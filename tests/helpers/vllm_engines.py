"""vLLM in this process, our own generation of the same checkpoint, and what both are asked."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

# vLLM reads these when it is imported.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # else rank 1 wants a second NUMA node
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from videollama2.assistant import VideoLlama2
from videollama2.engine import Engine, user_message
from videollama2.engines.vllm.offline import OfflineEngine
from videollama2.engines.vllm.settings import EngineOptions
from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import AudioInput, ImageInput, Part, VideoInput

GREEDY = SamplingSettings(12)
HEARS = "qwen2-siglip-stc_v35-beats"  # the recorded variant with ears

SMALL = {
    "max_num_batched_tokens": 2048,
    "max_num_seqs": 8,
    "block_size": 32,  # as little as a cached prefix must have in common
    "distributed_executor_backend": "uni",
}


def start(folder: Path | str, **more: Any) -> OfflineEngine:
    """vLLM without processes of its own, in float32."""
    options = EngineOptions(dtype="float32", eager=True, more={**SMALL, **more})
    return OfflineEngine(str(folder), options)


def stop(engine: OfflineEngine) -> None:
    """End it, so that another can start."""
    from vllm.distributed import cleanup_dist_env_and_memory

    engine.close()
    gc.collect()
    cleanup_dist_env_and_memory()


def ours(folder: Path | str) -> Engine:
    """Our own generation."""
    assistant = VideoLlama2.from_pretrained(folder, dtype="float32", device="cpu")
    return Engine(assistant.model, assistant.processor)


def questions(media: Path, *, hears: bool) -> list[list[Part]]:
    """Media of one question each: none, one, several, sound alone and with pictures."""
    clip, image = VideoInput(media / "clip.mp4", sound=False), ImageInput(media / "picture.png")
    asked: list[list[Part]] = [[], [clip], [image], [clip, image, clip]]
    if hears:
        seen = VideoInput(media / "clip.mp4", sound=True)
        sound = AudioInput(media / "tone.wav")
        asked += [[sound], [seen], [seen, seen], [seen, sound, image, clip]]
    return asked


def answers(engine: Any, asked: list[list[Part]]) -> list[tuple[int, ...]]:
    prompts = []
    for parts in asked:
        media = engine.take_in(parts)
        prompts.append(engine.prompt([user_message("What is this?", media)], media))
    return [one.token_ids for one in engine.write(prompts, [GREEDY] * len(prompts))]
