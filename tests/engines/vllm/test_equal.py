"""vLLM writes the tokens that our own generation writes: every layout, kind of medium and mix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import clips as made
import pytest
from vllm_engines import GREEDY, HEARS, answers, ours, questions

from videollama2.engine import user_message
from videollama2.processing.fbank import num_fbank_frames
from videollama2.processing.parts import AudioInput, Part, VideoInput

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
    if name != HEARS:
        from vllm.exceptions import VLLMClientError

        heard = {"mm_processor_kwargs": {"use_audio_in_video": True}}
        for kind, file, more in (("audio", "tone.wav", {}), ("video", "clip.mp4", heard)):
            wrong = {"prompt": f"<{kind}>?", "multi_modal_data": {kind: [media_folder / file]}}
            with pytest.raises((ValueError, VLLMClientError), match="audio"):
                vllm.llm.generate({**wrong, **more}, use_tqdm=False)


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


def test_media_split_over_several_steps(
    starter: str, engine: Callable[..., Any], media_folder: Path
) -> None:
    """Where a step takes fewer tokens than a medium has, next to others that are in mid-answer."""
    asked = [*questions(media_folder, hears=True), [AudioInput(made.tone(20.0))]]
    own, vllm = ours(starter), engine(starter, max_num_batched_tokens=32)
    assert own.processor.counter.audio(num_fbank_frames(20 * 16_000)) > 7 * 32
    expected = answers(own, asked)
    assert answers(vllm, asked) == expected
    assert answers(vllm, asked[::-1]) == expected[::-1]
    clip = Path(__file__).parents[2] / "starter" / "clips" / "scene-003.mp4"
    medium = vllm.take_in([VideoInput(clip, num_frames=200, sound=False)])
    tokens = vllm.processor.counter.runs(medium[0].loaded)[0][1]
    assert vllm.room.largest < tokens < vllm.room.longest
    with pytest.raises(ValueError, match=f"{tokens} tokens long and this engine takes"):
        vllm.prompt([user_message("?", medium)], medium)


def _prompt(engine: Any, parts: list[Part]) -> Any:
    media = engine.take_in(parts)
    return engine.prompt([user_message("What is this?", media)], media)
