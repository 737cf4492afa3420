"""Names under which vLLM knows us."""

MODE = "videollama2"
"""Of the tokenizer and renderer, of what loads videos, sounds and weights."""

VIDEO_PROCESSOR = "VideoLlama2VideoProcessor"

ARCHITECTURES = (
    "VideoLlama2ForConditionalGeneration",
    "Videollama2LlamaForCausalLM",
    "Videollama2MistralForCausalLM",
    "Videollama2MixtralForCausalLM",
    "Videollama2Qwen2ForCausalLM",
    "Videollama2Gemma2ForCausalLM",
    "Videollama2Phi3ForCausalLM",
)
"""What a `config.json` may say under `architectures`: ours, and the released families'."""

LEFT_OPEN = 32
"""The number of frames that vLLM asks a loader for where nobody chose one."""
