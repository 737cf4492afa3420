"""What vLLM calls in each of its processes: our models, and how they are read, under its names."""

# pyright: reportAttributeAccessIssue=false
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false
from __future__ import annotations

from videollama2 import auto
from videollama2.engines.vllm.names import ARCHITECTURES, MODE, VIDEO_PROCESSOR

_HERE = "videollama2.engines.vllm"


def register() -> None:
    """Make our checkpoints known to vLLM; again does no harm."""
    from vllm import ModelRegistry
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP
    from vllm.multimodal.video import VIDEO_LOADER_REGISTRY
    from vllm.renderers.registry import RENDERER_REGISTRY
    from vllm.tokenizers.registry import TokenizerRegistry

    auto.register()
    if MODE in TokenizerRegistry.tokenizers:
        return
    from videollama2.engines.vllm.adapters import mend_cpu_lora
    from videollama2.engines.vllm.loading import CheckpointLoader, Defaults
    from videollama2.engines.vllm.sound import register_sounds
    from videollama2.engines.vllm.video import UndecodedVideo

    TokenizerRegistry.register(MODE, f"{_HERE}.tokenizer", "VideoLlama2Tokenizer")
    RENDERER_REGISTRY.register(MODE, f"{_HERE}.renderer", "VideoLlama2Renderer")
    VIDEO_LOADER_REGISTRY.register(MODE, video_processor=VIDEO_PROCESSOR)(UndecodedVideo)
    register_sounds()
    mend_cpu_lora()
    register_model_loader(MODE)(CheckpointLoader)
    for architecture in ARCHITECTURES:
        ModelRegistry.register_model(architecture, f"{_HERE}.model:VideoLlama2ForVllm")
        MODELS_CONFIG_MAP[architecture] = Defaults
