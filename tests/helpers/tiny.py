"""A model of the real architecture, random and very small, with a tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration

SPECIAL = ("<pad>", "<|im_start|>", "<|im_end|>")
MEDIA = ("<video>", "<image>", "<audio>")
IMAGE_SIZE = 28
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def build_tokenizer(*, media_tokens: bool = True) -> PreTrainedTokenizerFast:
    """Every byte is a token, so that a character may take several."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    special = (*SPECIAL, *MEDIA) if media_tokens else SPECIAL
    inner.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<|im_end|>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_config(tokenizer: PreTrainedTokenizerFast, **changes: object) -> VideoLlama2Config:
    """Two layers of everything; 8 frames of 28 x 28 pixels become 16 tokens."""
    ids = {f"{kind}_token_id": tokenizer.convert_tokens_to_ids(f"<{kind}>") for kind in KINDS}
    settings: dict[str, object] = {
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": IMAGE_SIZE,
            "patch_size": 7,
        },
        "text_config": {
            "model_type": "qwen2",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 2048,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "initializer_range": 0.3,
        },
        "audio_config": {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "patch_embedding_size": 16,
            "conv_pos": 8,
            "conv_pos_groups": 4,
            "num_sound_classes": 7,
        },
        "connector_config": {"connector_type": "stc_connector_v35", "depth": 1},
        "num_frames": 8,
        **ids,
    }
    return VideoLlama2Config(**{**settings, **changes})


KINDS = ("video", "image", "audio")


def build_model(config: VideoLlama2Config, seed: int = 0) -> VideoLlama2ForConditionalGeneration:
    """Random weights, in evaluation mode."""
    torch.manual_seed(seed)
    return VideoLlama2ForConditionalGeneration(config).eval()


def save(folder: Path, **changes: object) -> Path:
    """A checkpoint folder in our own layout, with processor and tokenizer."""
    from videollama2.processing.processor import VideoLlama2Processor

    tokenizer = build_tokenizer()
    model = build_model(build_config(tokenizer, **changes))
    model.save_pretrained(folder)
    settings = {
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 3,
    }
    processor = VideoLlama2Processor.from_config(model.config, tokenizer, settings)
    processor.save_pretrained(folder)
    return folder
