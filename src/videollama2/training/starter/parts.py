"""What the starter is made of: its tokenizer and its configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from videollama2.model.config import VideoLlama2Config
from videollama2.processing.pixels import PixelSettings

PAD, END, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"
VIDEO, IMAGE, AUDIO = "<video>", "<image>", "<audio>"
NUM_FRAMES = 8
FRAME_PIXELS = 96
PIXELS = PixelSettings(
    size=(FRAME_PIXELS, FRAME_PIXELS),
    resize="squash",
    image_mean=(0.5, 0.5, 0.5),
    image_std=(0.5, 0.5, 0.5),
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    + ASSISTANT
    + "{{ message['content'] }}"
    + END
    + "{% else %}"
    + USER
    + "{{ message['content'] }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which each word of `texts` is one token; any other text still encodes.

    Text is lower-cased and line breaks become spaces, so a word has one form only.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=8192,  # never reached: merging ends when every word is whole
        special_tokens=[PAD, END, USER, ASSISTANT, VIDEO, IMAGE, AUDIO],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(texts)), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, VIDEO, IMAGE, AUDIO],
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=2048,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    return cast("int", tokenizer.convert_tokens_to_ids(token))


@dataclass(frozen=True)
class Size:
    """Width, layers and heads of the language model, and of both encoders; layers of BEATs."""

    text: tuple[int, int, int]
    vision: tuple[int, int, int]
    audio_layers: int


SIZES = {
    "small": Size(text=(160, 4, 5), vision=(128, 4, 4), audio_layers=3),  # 3.6 million; ships
    "medium": Size(text=(256, 6, 8), vision=(192, 4, 6), audio_layers=3),  # for a GPU
}


def build_config(
    tokenizer: PreTrainedTokenizerFast,
    size: str = "small",
    connector: Mapping[str, Any] | None = None,
    **text_changes: Any,
) -> VideoLlama2Config:
    """A model of a size of `SIZES`: ViT, STC v35, BEATs-style encoder, MLP, Qwen2-style model.

    `connector` is another connector's configuration.

    Raises:
        ValueError: there is no such size.
    """
    if size not in SIZES:
        raise ValueError(f"size {size!r} is none of {', '.join(SIZES)}")
    chosen = SIZES[size]
    width, layers, heads = chosen.text
    text = {
        "model_type": "qwen2",
        "hidden_size": width,
        "intermediate_size": width * 14 // 5,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 2048,
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": True,
        "initializer_range": 0.03,
        "bos_token_id": None,
        "eos_token_id": _token_id(tokenizer, END),
        "pad_token_id": _token_id(tokenizer, PAD),
        **text_changes,
    }
    return VideoLlama2Config(
        vision_config=_vision(chosen),
        text_config=text,
        audio_config=_audio(chosen),
        connector_config=dict(connector or {"connector_type": "stc_connector_v35", "depth": 1}),
        vision_feature_layer=-1,
        num_frames=NUM_FRAMES,
        media_mode="native",
        video_token_id=_token_id(tokenizer, VIDEO),
        image_token_id=_token_id(tokenizer, IMAGE),
        audio_token_id=_token_id(tokenizer, AUDIO),
    )


def _vision(size: Size) -> dict[str, Any]:
    width, layers, heads = size.vision
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": FRAME_PIXELS,
        "patch_size": 16,
        "vision_use_head": False,
    }


def _audio(size: Size) -> dict[str, Any]:
    width, _, heads = size.vision
    return {
        "hidden_size": width,
        "num_hidden_layers": size.audio_layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "input_patch_size": 32,
        "patch_embedding_size": 128,
        "conv_pos": 16,
        "conv_pos_groups": 4,
        "num_buckets": 64,
        "max_distance": 256,
        "num_sound_classes": 0,
        "layer_drop": 0.0,
        "layerwise_gradient_decay": 1.0,
        "initializer_range": 0.03,
    }
