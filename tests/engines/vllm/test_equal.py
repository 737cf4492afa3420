"""vLLM writes the tokens that our own generation writes: every layout, kind of medium and mix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vllm_engines import ours

from videollama2.engine import user_message
from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import AudioInput, ImageInput, Part, VideoInput

GREEDY = SamplingSettings(12)
SILENT = [
    "mistral-clip-linear",
    "mistral-clip-mlp2x_gelu",
    "mistral-clip-spatial_conv",
    "mistral-clip-spatial_pool",
    "mistral-clip-stc",
    "mistral-clip-stp_connector",
    "mixtral-clip-stc",
    "qwen2-siglip-stc_v35",
]
HEARS = "qwen2-siglip-stc_v35-beats"


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


@pytest.mark.parametrize("name", [*SILENT, HEARS])
def test_released_layouts(
    name: str, remake: Callable[..., Path], engine: Callable[..., Any], media_folder: Path
) -> None:
    folder = remake(name)
    asked = questions(media_folder, hears=name == HEARS)
    expected = answers(ours(folder), asked)
    assert len(set(expected)) > len(expected) // 2, "the media make no difference"
    vllm = engine(folder)
    assert answers(vllm, asked) == expected
    assert answers(vllm, asked) == expected  # from the caches: prefixes, prepared and encoded media


def test_the_starter(starter: str, engine: Callable[..., Any], media_folder: Path) -> None:
    clips = sorted((Path(__file__).parents[2] / "starter" / "clips").glob("*.mp4"))[:4]
    asked: list[list[Part]] = [
        [VideoInput(clip, sound=heard)] for clip in clips for heard in (True, False)
    ]
    asked += questions(media_folder, hears=True)
    expected = answers(ours(starter), asked)
    vllm = engine(starter)
    assert answers(vllm, asked) == expected
    cached = vllm.write([_prompt(vllm, asked[0])], [GREEDY])[0]
    assert cached.reused_tokens > 0
    assert cached.token_ids == expected[0]


def _prompt(engine: Any, parts: list[Part]) -> Any:
    media = engine.take_in(parts)
    return engine.prompt([user_message("What is this?", media)], media)
