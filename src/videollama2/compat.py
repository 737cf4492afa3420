"""The released package's two calls, with their meaning: `model_init` and `mm_infer`.

Scripts written for it run unchanged:

```python
from videollama2 import model_init, mm_infer

model, processor, tokenizer = model_init("DAMO-NLP-SG/VideoLLaMA2-7B-16F")
clip = processor["video"]("clip.mp4")
mm_infer(clip, "What happens?", model=model, tokenizer=tokenizer, modal="video", do_sample=False)
```

What the released code left to chance is settled: a long sound is not cropped at random, and device
and dtype are the model's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from videollama2.assistant import best_device, best_dtype, resolve
from videollama2.checkpoints.load import load_model
from videollama2.checkpoints.processor import load_processor
from videollama2.generation.encode import encode_medium
from videollama2.generation.prompt import MediumTokens, Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.writing import Writer
from videollama2.processing.chat import (
    MEDIA_TOKENS,
    released_system_text,
    released_template,
    takes_system_text,
    with_system_text,
)
from videollama2.processing.parts import AudioInput, ImageInput, VideoInput

DEFAULT_MODEL = "DAMO-NLP-SG/VideoLLaMA2-7B"
MODALS = ("video", "image", "audio", "text")
# The released sampler cut to transformers' default of then, unless the checkpoint says otherwise.
RELEASED_TOP_K = 50

Preprocessors = dict[str, Callable[..., Any]]
Tensors = Tensor | Mapping[str, Tensor]


def model_init(
    model_path: str | os.PathLike[str] | None = None, **kwargs: Any
) -> tuple[Any, Preprocessors, Any]:
    """Load a checkpoint: (model, processor, tokenizer).

    `processor` has a function for each kind of medium: `processor["video"](path, s=None, e=None,
    num_frames=..., aspect_ratio=None, va=False)` gives (T, 3, H, W), or with `va` {"video":
    (T, 3, H, W), "audio": (1, frames, 128)}; `processor["image"](path)` gives (1, 3, H, W);
    `processor["audio"](path)` (1, frames, 128), where the model has ears. `kwargs`: `model_base`
    (where the language model comes from), `use_flash_attn`, `torch_dtype`, and those of
    `checkpoints.load.load_model`.

    Raises:
        CheckpointError: as `load_model`.
        ValueError: `load_8bit` or `load_4bit`, which are not done here.
    """
    path = resolve(DEFAULT_MODEL if model_path is None else model_path)
    options = _load_options(kwargs)
    model = load_model(path, **options)
    parts = {name: options[name] for name in _PROCESSOR_OPTIONS if name in options}
    processor = load_processor(path, **parts)
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None and tokenizer.unk_token is not None:
        tokenizer.pad_token = tokenizer.unk_token
    if tokenizer.chat_template is None:
        tokenizer.chat_template = processor.chat_template
    functions: Preprocessors = {
        "image": partial(_process_image, processor),
        "video": partial(_process_video, processor, num_frames=model.config.num_frames),
    }
    if processor.has_audio:
        functions["audio"] = partial(_process_audio, processor)
    return model, functions, tokenizer


def mm_infer(
    image_or_video: Tensors | None,
    instruct: str | Sequence[Mapping[str, str]],
    model: Any,
    tokenizer: Any,
    modal: str = "video",
    **kwargs: Any,
) -> str:
    """Answer an instruction about one medium, as the released `mm_infer` does.

    `image_or_video`: what `processor[modal]` gave; None for `modal` "text". `instruct`: a string,
    or a list of messages, of which the first gets the medium. `kwargs`: `do_sample` (False),
    `temperature` (0.2 when sampling), `top_p` (0.9), `max_new_tokens` (2048); others have no
    effect, as released. Sampling follows `torch.manual_seed`.

    Raises:
        ValueError: an unknown `modal`, or no medium where it needs one.
    """
    if modal not in MODALS:
        raise ValueError(f"modal is {modal!r}: choose one of {', '.join(MODALS)}")
    media = [] if modal == "text" else _encode(model, image_or_video, modal)
    token = "" if modal == "text" else MEDIA_TOKENS[modal]
    text = _render(model, tokenizer, instruct, token)
    ids = _token_ids(model, tokenizer, text, token, media)
    settings = _settings(model, kwargs)
    writing = Writer(model, tokenizer).write([Prompt(tuple(ids), tuple(media))], [settings])
    for _ in writing:
        pass
    tokens = list(writing.results()[0].token_ids)
    return tokenizer.decode(tokens, skip_special_tokens=True).strip()


# --- preprocessing, as the released functions of the same names ---


def _process_image(processor: Any, image_path: Any, aspect_ratio: str | None = None) -> Tensor:
    loader = _loader(processor, aspect_ratio)
    return loader.load(ImageInput(image_path)).pixels[None]


def _process_video(
    processor: Any,
    video_path: Any,
    s: float | None = None,
    e: float | None = None,
    aspect_ratio: str | None = None,
    num_frames: int | None = None,
    va: bool = False,
) -> Any:
    part = VideoInput(
        video_path,
        s,
        e,
        num_frames,
        sound=None if va else False,
        sampling="fps" if num_frames is None else "uniform",
    )
    loaded = _loader(processor, aspect_ratio).load(part)
    if not va:
        return loaded.pixels
    if loaded.features is None:  # a model without ears, or (native) a clip without a soundtrack
        return {"video": loaded.pixels}
    return {"video": loaded.pixels, "audio": loaded.features[None]}


def _process_audio(processor: Any, wav_path: Any) -> Tensor:
    return processor.loader.load(AudioInput(wav_path)).features[None]


def _loader(processor: Any, aspect_ratio: str | None) -> Any:
    loader = processor.loader
    if aspect_ratio is None:
        return loader
    geometry: Any = "pad" if aspect_ratio == "pad" else "square"
    return replace(
        loader,
        image_settings=replace(loader.image_settings, geometry=geometry),
        video_settings=replace(loader.video_settings, geometry=geometry),
    )


# --- inference ---


def _encode(model: Any, given: Tensors | None, modal: str) -> list[MediumTokens]:
    if given is None:
        raise ValueError(f'modal is {modal!r}, but there is no medium: pass it, or modal="text"')
    if isinstance(given, Mapping):
        # As the released scripts choose a stream: a tower set to None neither sees nor hears.
        towers = {"video": model.model.vision_tower, "audio": model.model.audio_tower}
        streams = [kind for kind in towers if kind in given and towers[kind] is not None]
        return [encode_medium(model, kind, _item(given[kind], kind)) for kind in streams]
    return [encode_medium(model, modal, _item(given, modal))]


def _item(tensor: Tensor, kind: str) -> Tensor:
    return tensor if kind == "video" else tensor[0]


def _render(
    model: Any, tokenizer: Any, instruct: str | Sequence[Mapping[str, str]], token: str
) -> str:
    if isinstance(instruct, str):
        messages = [{"role": "user", "content": f"{token}\n{instruct}"}]
    else:
        messages = [dict(message) for message in instruct]
        messages[0]["content"] = f"{token}\n{messages[0]['content']}"
    text_type = str(model.config.text_config.model_type)
    released = model.config.media_mode == "released"
    template = tokenizer.chat_template or (released_template(text_type) if released else None)

    def render(conversation: list[dict[str, Any]]) -> str:
        return tokenizer.apply_chat_template(
            conversation, chat_template=template, tokenize=False, add_generation_prompt=True
        )

    system_text = released_system_text(text_type) if released else None
    if system_text is not None and takes_system_text(render):
        messages = with_system_text(cast("list[dict[str, Any]]", messages), system_text)
    return render(messages)


def _token_ids(
    model: Any, tokenizer: Any, text: str, token: str, media: Sequence[MediumTokens]
) -> list[int]:
    """The text's ids, with a run of placeholders for each stream where the modal token stands."""
    placeholders: dict[str, int] = model.model.media_token_ids()
    runs = [placeholders[item.kind] for item in media for _ in range(len(item.features))]
    ids: list[int] = []
    for place, chunk in enumerate(text.split(token) if token else [text]):
        ids += runs if place else []
        ids += tokenizer.encode(chunk, add_special_tokens=False)
    return ids


def _settings(model: Any, kwargs: Mapping[str, Any]) -> SamplingSettings:
    defaults = model.generation_config
    penalty = getattr(defaults, "repetition_penalty", None) or 1.0
    longest = int(kwargs.get("max_new_tokens", 2048))
    if not kwargs.get("do_sample", False):
        return SamplingSettings(longest, repetition_penalty=penalty)
    seed = int(torch.randint(2**62, (1,)).item())
    return SamplingSettings(
        longest,
        float(kwargs.get("temperature", 0.2)),
        float(kwargs.get("top_p", 0.9)),
        getattr(defaults, "top_k", None) or RELEASED_TOP_K,
        penalty,
        seed,
    )


# --- loading ---

_PROCESSOR_OPTIONS = (
    "language_model",
    "vision_tower",
    "revision",
    "cache_dir",
    "token",
    "local_files_only",
)


def _load_options(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(kwargs)
    for name in ("load_8bit", "load_4bit"):
        if options.pop(name, False):
            raise ValueError(f"{name} is not done here: load without it, in bfloat16")
    options.pop("model_name", None)
    if (base := options.pop("model_base", None)) is not None:
        options["language_model"] = base
    if options.pop("use_flash_attn", False):
        options["attn_implementation"] = "flash_attention_2"
    if "torch_dtype" in options:
        options.setdefault("dtype", options.pop("torch_dtype"))
    if options.get("device_map") is None:
        options["device"] = options.get("device") or best_device()
    options.setdefault("dtype", best_dtype(options.get("device")))
    return options
