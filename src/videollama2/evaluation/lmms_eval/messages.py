"""lmms-eval's messages and generation settings as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import AudioInput, ImageInput, Part, VideoInput

_KNOWN = {"max_new_tokens", "max_gen_toks", "until", "do_sample", "temperature", "top_p", "top_k"}
# They change nothing of how we answer at these values.
_HARMLESS = {"num_beams": {None, 1}, "image_aspect_ratio": {None, "original"}}


def taken_apart(
    messages: Sequence[Mapping[str, Any]], num_frames: int | None = None
) -> tuple[list[dict[str, Any]], list[Part]]:
    """Messages whose media are replaced by None, to be filled in, and the media in their order.

    Raises:
        ValueError: a content block is of no known type.
    """
    parts: list[Part] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        content: Any = message["content"]
        blocks: list[Any] = [{"type": "text", "text": content}]
        blocks = blocks if isinstance(content, str) else list(content)
        kept: list[dict[str, Any] | None] = []
        for block in blocks:
            if block["type"] == "text":
                kept.append({"type": "text", "text": block["text"]})
            else:
                parts.append(_part(block, num_frames))
                kept.append(None)
        turns.append({"role": message["role"], "content": kept})
    return turns, parts


def filled_in(
    turns: Sequence[Mapping[str, Any]], media: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The messages again, with `media` (content blocks of ours) where they were."""
    left = iter(media)
    return [
        {
            "role": turn["role"],
            "content": [next(left) if block is None else block for block in turn["content"]],
        }
        for turn in turns
    ]


def _part(block: Mapping[str, Any], num_frames: int | None) -> Part:
    kind, source = block["type"], block["url"]
    if kind == "image":
        return ImageInput(source)
    if kind == "video":
        start, end = block.get("start_time"), block.get("end_time")
        if isinstance(source, Mapping):
            inside = cast(Mapping[str, Any], source)
            start, end = inside.get("video_start", start), inside.get("video_end", end)
            source = inside.get("video") or inside.get("url") or inside.get("path")
        return VideoInput(source, start, end, num_frames, sound=block.get("sound"))
    if kind == "audio":
        return _audio(source)
    raise ValueError(f"a content block of type {kind!r}: it is text, image, video or audio")


def _audio(source: Any) -> AudioInput:
    """A path, a mapping of samples and their rate, or a decoder as `datasets` gives it."""
    if isinstance(source, Mapping):
        sound = cast(Mapping[str, Any], source)
        if sound.get("array") is not None:
            return AudioInput(sound["array"], sampling_rate=int(sound["sampling_rate"]))
        return AudioInput(sound.get("path") or sound.get("url"))
    if hasattr(source, "get_all_samples"):
        samples: Any = source.get_all_samples()
        mono: Any = samples.data.float().mean(0)
        return AudioInput(mono.numpy(), sampling_rate=int(samples.sample_rate))
    return AudioInput(source)


def sampling_settings(wanted: Mapping[str, Any], longest: int) -> SamplingSettings:
    """How an answer is to be decoded: greedy unless `do_sample` or a temperature says otherwise.

    Raises:
        ValueError: a value is out of its range.
    """
    temperature = float(wanted.get("temperature") or 0.0)
    if wanted.get("do_sample") is False:
        temperature = 0.0
    until = wanted.get("until") or ()
    stops: tuple[str, ...] = (until,) if isinstance(until, str) else tuple(until)
    return SamplingSettings(
        int(wanted.get("max_new_tokens") or wanted.get("max_gen_toks") or longest),
        temperature,
        float(wanted.get("top_p") or 0.9) if temperature else 0.9,
        int(wanted.get("top_k") or 0),
        seed=0,
        stop_strings=tuple(stop for stop in stops if stop),
    )


def passed_over(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Generation settings that are not followed here."""
    return {
        name: value
        for name, value in wanted.items()
        if name not in _KNOWN and value not in _HARMLESS.get(name, ())
    }
