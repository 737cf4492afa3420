"""Draw docs/architecture.svg: the model of VideoLLaMA2.1-7B-AV, every number asked of the code.

python scripts/draw_architecture.py
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import torch

from videollama2.checkpoints.towers import KNOWN_TOWERS
from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tokens import (
    config_connector_shape,
    num_audio_tokens,
    num_video_tokens,
    vision_grid,
)

OUT = Path(__file__).parent.parent / "docs" / "architecture.svg"
QWEN2_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
INK, SEE, HEAR, SAY, PAPER = "#1d2733", "#2f6fb5", "#b5632f", "#3c7d4a", "#ffffff"


def released_av_config() -> VideoLlama2Config:
    """VideoLLaMA2.1-7B-AV."""
    return VideoLlama2Config(
        vision_config=dict(KNOWN_TOWERS["siglip-so400m-patch14-384"]),
        text_config=QWEN2_7B,
        audio_config={},
        connector_config={"connector_type": "stc_connector_v35"},
        num_frames=16,
        media_mode="released",
    )


def millions(module: torch.nn.Module) -> str:
    """Parameters in words."""
    count = sum(p.numel() for p in module.parameters())
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


def box(x: int, y: int, width: int, colour: str, title: str, lines: list[str]) -> str:
    """A rounded box with a title and lines below it."""
    height = 34 + 18 * len(lines)
    parts = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{PAPER}" '
        f'stroke="{colour}" stroke-width="2"/>',
        f'<text x="{x + width / 2}" y="{y + 22}" class="title" fill="{colour}">{escape(title)}</text>',
    ]
    parts += [
        f'<text x="{x + width / 2}" y="{y + 42 + 18 * i}" class="line">{escape(line)}</text>'
        for i, line in enumerate(lines)
    ]
    return "\n".join(parts)


def arrow(x1: int, y1: int, x2: int, y2: int, label: str = "") -> str:
    """An arrow with a label beside its middle."""
    line = (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{INK}" stroke-width="1.6" '
        'marker-end="url(#head)"/>'
    )
    text = f'<text x="{(x1 + x2) / 2 + 8}" y="{(y1 + y2) / 2 + 4}" class="shape">{escape(label)}</text>'
    return line + (text if label else "")


def draw() -> str:
    """The whole picture."""
    config = released_av_config()
    with torch.device("meta"):
        model = VideoLlama2ForConditionalGeneration(config)
    trunk, vision, audio = model.model, config.vision_config, config.audio_config
    rows, columns = vision_grid(config)
    frames, side = config.num_frames, vision.image_size
    time, high, wide = config_connector_shape(config.connector_config).output_grid(
        frames, rows, columns
    )
    video, sound = num_video_tokens(config, frames), num_audio_tokens(audio, audio.max_fbank_frames)
    width, seen = config.text_config.hidden_size, vision.hidden_size
    layers = len(trunk.vision_tower.encoder.layers)
    conv = config_connector_shape(config.connector_config).downsample
    parts = [
        box(30, 20, 300, SEE, "video", [f"{frames} frames of 3 x {side} x {side}"]),
        arrow(180, 72, 180, 112),
        box(30, 112, 300, SEE, f"SigLIP · {millions(trunk.vision_tower)}",
            [f"{layers} of {vision.num_hidden_layers} layers run", f"patches of {vision.patch_size} px"]),
        arrow(180, 182, 180, 232, f"{frames} x {rows} x {columns} x {seen}"),
        box(30, 232, 300, SEE, f"STC connector · {millions(trunk.connector)}",
            [f"RegStage x 4 per frame, {seen} to {width}",
             f"Conv3d {conv[0]} x {conv[1]} x {conv[2]} over time and space", "RegStage x 4, MLP"]),
        arrow(180, 320, 180, 380, f"{time} x {high} x {wide} = {video} tokens"),
        box(390, 20, 300, HEAR, "soundtrack",
            [f"{audio.max_seconds:.0f} s at {audio.sampling_rate // 1000} kHz"]),
        arrow(540, 72, 540, 112, f"{audio.max_fbank_frames} x {audio.num_mel_bins} filter bank"),
        box(390, 112, 300, HEAR, f"BEATs · {millions(trunk.audio_tower)}",
            [f"{audio.num_hidden_layers} layers, patches of {audio.input_patch_size} x {audio.input_patch_size}",
             f"{audio.num_sound_classes} sound classes besides"]),
        arrow(540, 182, 540, 232, f"{sound} x {audio.hidden_size}"),
        box(390, 232, 300, HEAR, f"projector · {millions(trunk.audio_projector)}",
            [f"MLP, {audio.hidden_size} to {width}"]),
        arrow(540, 284, 540, 380, f"{sound} tokens"),
        box(30, 380, 660, SAY, f"language model (Qwen2) · {millions(trunk.language_model)}",
            [f"[ text | {video} video tokens | {sound} audio tokens | question ], each {width} wide",
             f"{config.text_config.num_hidden_layers} layers, vocabulary {config.text_config.vocab_size}"]),
        arrow(360, 450, 360, 490),
        f'<text x="360" y="512" class="title" fill="{SAY}">the answer, word by word</text>',
    ]  # fmt: skip
    style = (
        "text{font-family:Helvetica,Arial,sans-serif;text-anchor:middle}"
        ".title{font-size:15px;font-weight:600}"
        f".line{{font-size:13px;fill:{INK}}}.shape{{font-size:12px;fill:{INK};text-anchor:start}}"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="530" viewBox="0 0 720 530" '
        'role="img" aria-label="How a clip becomes an answer">\n'
        f"<style>{style}</style>\n"
        '<defs><marker id="head" markerWidth="9" markerHeight="9" refX="7" refY="4" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>\n'
        f'<rect width="720" height="530" fill="{PAPER}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    OUT.write_text(draw())
