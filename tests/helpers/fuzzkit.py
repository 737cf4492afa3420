"""One harness for each parser of ours that strangers' bytes reach, and files to begin with.

A harness takes any bytes; what it lets out, beside nothing, is a bug. `scripts/run_fuzz.py` drives
them by coverage, `tests/fuzz` over their seeds and simple changes of them.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from faultkit.seeds import all_seeds


@dataclass(frozen=True)
class Harness:
    """`run` takes an input, `seeds` gives whole ones, coverage is followed in `rooms`."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    rooms: tuple[str, ...]


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="videollama2-fuzz-"))


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _media(*names: str) -> list[bytes]:
    return [seed.data for seed in all_seeds() if not names or seed.name in names]


def _packed(*values: Any) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


# --- media ---


def gif_blocks(data: bytes) -> None:
    """A frame takes bytes of its own, so there are never more than bytes."""
    from videollama2.media.blocks import gif_frames
    from videollama2.media.errors import MediaError
    from videollama2.media.limits import DEFAULT_LIMITS

    with suppress(MediaError):
        frames, _ = gif_frames(io.BytesIO(data), "fuzz", DEFAULT_LIMITS)
        if not 0 <= frames <= len(data):
            raise AssertionError(f"{frames} frames in {len(data)} bytes")


def png_blocks(data: bytes) -> None:
    from videollama2.media.blocks import png_frames
    from videollama2.media.errors import MediaError
    from videollama2.media.limits import DEFAULT_LIMITS

    with suppress(MediaError):
        png_frames(io.BytesIO(data), "fuzz", DEFAULT_LIMITS)


def lengths(data: bytes) -> None:
    """RIFF, EBML, MP4 boxes, Ogg, AIFF, transport streams, Xing."""
    from videollama2.media.integrity import shortfall
    from videollama2.media.source import Source

    shortfall(Source("fuzz", data=data))


# --- requests ---


def request_body(data: bytes) -> None:
    """A body, its content parts, and the sources that they name."""
    from videollama2.media.errors import MediaError
    from videollama2.serving.errors import ApiError
    from videollama2.serving.intake import address_of, check_source, find
    from videollama2.serving.protocol import ChatCompletionRequest, TextPart, parse
    from videollama2.serving.settings import MediaRules

    rules = MediaRules(local_root=_folder())
    with suppress(ApiError, MediaError):
        request = parse(ChatCompletionRequest, data)
        for message in request.messages:
            for part in message.content:
                if not isinstance(part, TextPart):
                    check_source(part, "fuzz", rules)
                    find(address_of(part), "fuzz", rules)


def data_uri(data: bytes) -> None:
    from videollama2.media.errors import MediaError
    from videollama2.media.limits import DEFAULT_LIMITS
    from videollama2.media.source import open_source

    text = "data:" + data.decode("utf-8", "surrogateescape")
    with suppress(MediaError):
        found = open_source(text, limits=DEFAULT_LIMITS)
        if not found.data:
            raise AssertionError("no bytes, and no error")


def reader_reply(data: bytes) -> None:
    """What a reading process sends that was taken over by the bytes it read."""
    from videollama2.media.errors import MediaError
    from videollama2.reading.task import unpack

    with suppress(MediaError, ValueError):
        unpack(data)


def _replies() -> list[bytes]:
    import torch
    from safetensors.torch import save

    from videollama2.processing.parts import MediaReport

    report = asdict(MediaReport("clip", "video", 1.0, 4, 0.0))
    heads = (
        {"kind": "video", "report": report},
        {"duration_s": 1.0, "window_s": 1.0},
        {"error": "TruncatedMediaError", "name": "n", "reason": "r", "remedy": "m"},
    )
    tensors = save({"0": torch.zeros(2, 2)})
    words = _packed(*heads)
    return [len(word).to_bytes(8, "little") + word + tensors for word in words]


# --- conversations and records ---


def conversation(data: bytes) -> None:
    """Messages of a chat, as they come to the template."""
    from videollama2.processing.chat import flatten, is_conversation

    with suppress(ValueError, RecursionError):  # JSON's own
        value = json.loads(data)
        if isinstance(value, list) and all(isinstance(one, dict) for one in value):
            with suppress(ValueError):
                is_conversation(value)
                _as_error_of_values(flatten, value)


def _as_error_of_values(call: Callable[[Any], Any], value: Any) -> None:
    try:
        call(value)
    except RecursionError as error:
        raise AssertionError("it recurses without an end") from error


def records(data: bytes) -> None:
    """A list of records, JSON or JSON Lines: an error in the place of each that is wrong."""
    from videollama2.training.records import iterate_records

    for _ in iterate_records(_file("records.json", data)):
        pass


def recipe(data: bytes) -> None:
    from videollama2.training.errors import TrainingError
    from videollama2.training.recipe_file import load_recipe

    with suppress(TrainingError):
        load_recipe(str(_file("recipe.yaml", data)))


def shard_list(data: bytes) -> None:
    from videollama2.training.errors import RecordError
    from videollama2.training.shard_index import parse_index

    with suppress(RecordError):
        parse_index(data, "folder/shards.json")


def braces(data: bytes) -> None:
    from videollama2.training.errors import RecordError
    from videollama2.training.shard_index import expand_braces

    with suppress(RecordError):
        for _ in expand_braces(data.decode("utf-8", "replace")):
            pass


def _recipes() -> list[bytes]:
    from importlib.resources import files

    folder = files("videollama2.training") / "recipes"
    return [one.read_bytes() for one in folder.iterdir() if one.name.endswith(".yaml")]


# --- evaluation and checkpoints ---


def subtitles(data: bytes) -> None:
    from videollama2.evaluation.errors import EvaluationError
    from videollama2.evaluation.subtitles import subtitles_text
    from videollama2.evaluation.task import MediaFile

    clip = _folder() / "clip.gif"
    if not clip.exists():
        clip.write_bytes(_media("gif")[0])
    with suppress(EvaluationError):
        subtitles_text(_file("words.srt", data), MediaFile("video", "clip.gif", clip), 4)


def released_config(data: bytes) -> None:
    """A checkpoint's own `config.json` as ours."""
    from videollama2.checkpoints.errors import CheckpointError
    from videollama2.checkpoints.layouts import is_released, upgrade_config
    from videollama2.checkpoints.towers import read_json

    with suppress(CheckpointError):
        config = read_json(_file("config.json", data))
        if is_released(config):
            upgrade_config(config, None)


def beats_file(data: bytes) -> None:
    from videollama2.checkpoints.beats_file import read_beats_config
    from videollama2.checkpoints.errors import CheckpointError

    path = _file("beats.pt", data)
    with suppress(CheckpointError):
        read_beats_config(str(path), None)


def _beats_files() -> list[bytes]:
    import torch

    files: list[bytes] = []
    for content in ({"cfg": {"encoder_layers": 2, "conv_bias": False}, "model": {}}, {"model": {}}):
        file = io.BytesIO()
        torch.save(content, file)
        files.append(file.getvalue())
    return files


_ASKED = {
    "model": "starter",
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [
            {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}, "start": 1.0},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "image_url", "image_url": {"url": "file:///picture.png"}},
            {"type": "text", "text": "What is it?"}]},
    ],
    "max_tokens": 4, "stop": ["x"], "response_format": {"type": "json_object"},
}  # fmt: skip
_NO_SIZE = b"\x1a\x45\xdf\xa3" + bytes(40)
_SUBTITLES = (
    b"1\n00:00:00,000 --> 00:00:01,000\nHello\\Nthere\n\n2\n00:00:01,000 --> 00:00:02,000\nYou\n",
    b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n",
    b"WEBVTT\n\n00W\n00:00.082 :00:01.000\n",  # found: a time without hours
)
_RELEASED = {
    "model_type": "videollama2_qwen2", "hidden_size": 64, "vocab_size": 100, "num_frames": 16,
    "mm_vision_tower": "google/siglip-so400m-patch14-384", "mm_hidden_size": 1152,
    "mm_projector_type": "stc_connector_v35", "mm_vision_select_layer": -2,
    "mm_audio_tower": "audio_tower.bin", "torch_dtype": "bfloat16",
}  # fmt: skip
_RECORDS = [
    {"id": 1, "video": "a.mp4", "conversations": [
        {"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "A cat."}]},
    {"id": 2, "messages": [
        {"role": "user", "content": [{"type": "audio", "path": "a.wav"}, "Say"]},
        {"role": "assistant", "content": "Rain."}]},
]  # fmt: skip
_SHARDS = {
    "format": "videollama2-shards", "version": 1,
    "shards": [{"name": "a-0.tar", "records": 3, "bytes": 10, "sha256": "ff"}],
}  # fmt: skip

HARNESSES = {
    harness.name: harness
    for harness in (
        Harness("gif_blocks", gif_blocks, lambda: _media("gif"), ("media",)),
        Harness("png_blocks", png_blocks, lambda: _media("png", "apng"), ("media",)),
        Harness("lengths", lengths, lambda: [*_media(), _NO_SIZE], ("media",)),
        Harness("request_body", request_body, lambda: _packed(_ASKED), ("serving", "media")),
        Harness(
            "data_uri",
            data_uri,
            lambda: [b"video/mp4;base64,AAAA", b"text/plain,a%20b", b";base64,AA%3D%3D"],
            ("media",),
        ),
        Harness("reader_reply", reader_reply, _replies, ("reading",)),
        Harness(
            "conversation", conversation, lambda: _packed(_RECORDS[1]["messages"]), ("processing",)
        ),
        Harness(
            "records",
            records,
            lambda: [*_packed(_RECORDS), b"\n".join(_packed(*_RECORDS))],
            ("training", "processing"),
        ),
        Harness("recipe", recipe, _recipes, ("training",)),
        Harness("shard_list", shard_list, lambda: _packed(_SHARDS), ("training",)),
        Harness("braces", braces, lambda: [b"a-{00..02}.tar", b"{a,b}{1..3}"], ("training",)),
        Harness("subtitles", subtitles, lambda: list(_SUBTITLES), ("evaluation",)),
        Harness(
            "released_config",
            released_config,
            lambda: _packed(_RELEASED, {**_RELEASED, "mm_audio_tower": "/"}),
            ("checkpoints",),
        ),
        Harness("beats_file", beats_file, _beats_files, ("checkpoints",)),
    )
}
