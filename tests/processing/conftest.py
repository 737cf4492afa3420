"""A tiny tokenizer, clips made on the spot, and processors for both modes."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from videollama2.model.config import VideoLlama2Config
from videollama2.processing.pixels import PixelSettings
from videollama2.processing.processor import VideoLlama2Processor

TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}[end]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
SETTINGS = PixelSettings((56, 56), "squash", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def make_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Byte-level, one id a byte, with the usual special tokens in front."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {token: n for n, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    fast.chat_template = template
    return fast


def make_config(**changes: Any) -> VideoLlama2Config:
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    text = {
        "model_type": "qwen2",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 260,
    }
    audio = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    values: dict[str, Any] = {
        "vision_config": vision,
        "text_config": text,
        "audio_config": audio,
        "connector_config": {"connector_type": "stc_connector_v35"},
        "num_frames": 4,
        "media_mode": "native",
    }
    return VideoLlama2Config(**{**values, **changes})


@pytest.fixture(name="make_config")
def _make_config() -> Callable[..., VideoLlama2Config]:
    return make_config


@pytest.fixture(name="make_tokenizer")
def _make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    return make_tokenizer


@pytest.fixture(name="write_video")
def _write_video() -> Callable[..., Path]:
    return write_video


@pytest.fixture
def make_processor() -> Callable[..., VideoLlama2Processor]:
    def make(template: str | None = TEMPLATE, **changes: Any) -> VideoLlama2Processor:
        config = make_config(**changes)
        return VideoLlama2Processor.from_config(config, make_tokenizer(template), SETTINGS)

    return make


@pytest.fixture
def processor(make_processor: Callable[..., VideoLlama2Processor]) -> VideoLlama2Processor:
    return make_processor()


@pytest.fixture
def released(make_processor: Callable[..., VideoLlama2Processor]) -> VideoLlama2Processor:
    return make_processor(media_mode="released")


def write_video(path: Path, seconds: float, sound_s: float | None, size: int = 64) -> Path:
    """A clip of moving grey at 10 frames a second, with a tone of `sound_s` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        track = None
        if sound_s is not None:
            track = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for n in range(int(seconds * 10)):
            picture = np.full((size, size, 3), (n * 9) % 256, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
        if track is not None and sound_s is not None:
            tone = tone_of(sound_s)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.sample_rate = 16_000
            for packet in [*track.encode(frame), *track.encode()]:
                container.mux(packet)
    return path


def tone_of(seconds: float, hertz: float = 440.0, rate: int = 16_000) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (np.sin(2 * np.pi * hertz * t) * 8000).astype(np.int16)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """2 s of picture and sound."""
    return write_video(tmp_path / "clip.mkv", 2.0, 2.0)


@pytest.fixture
def silent_clip(tmp_path: Path) -> Path:
    """2 s of picture, no soundtrack."""
    return write_video(tmp_path / "silent.mkv", 2.0, None)


@pytest.fixture
def sound_file(tmp_path: Path) -> Path:
    """1.5 s of tone."""
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone_of(1.5).tobytes())
    return path
