"""Media in vLLM's requests: read by our own processor, counted, and put in their places."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUntypedBaseClass=false, reportUnknownParameterType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
)

from videollama2.engines.vllm.parsing import PartsParser
from videollama2.engines.vllm.tokenizer import placeholder_ids, processor_of
from videollama2.media.sampling import MAX_FRAMES
from videollama2.processing.chat import MEDIA_TOKENS
from videollama2.processing.fbank import num_fbank_frames
from videollama2.processing.options import with_frames
from videollama2.processing.parts import AudioInput, ImageInput, LoadedMedia, Part, VideoInput
from videollama2.processing.processor import VideoLlama2Processor
from videollama2.processing.tokens import KINDS

_Info: Any = BaseProcessingInfo
_Dummies: Any = BaseDummyInputsBuilder
_Processor: Any = BaseMultiModalProcessor

PIXELS = {"video": "pixel_values_videos", "image": "pixel_values"}
FEATURES = {"video": "soundtrack_features", "audio": "input_features"}
"""The fields of an item of each kind. A silent video has a soundtrack of no frames."""


@dataclass(frozen=True)
class MediaOptions:
    """What a request's `mm_processor_kwargs` may say."""

    use_audio_in_video: bool = False
    num_frames: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> MediaOptions:
        """From the request's dict.

        Raises:
            ValueError: an option is unknown, or of another type.
        """
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"mm_processor_kwargs has {', '.join(unknown)}; it may have {known}")
        frames: Any = values.get("num_frames")
        if not isinstance(values.get("use_audio_in_video", False), bool):
            raise ValueError("use_audio_in_video is true or false")
        if frames is not None and (type(frames) is not int or frames < 1):
            raise ValueError(f"num_frames is {frames!r}; it is a number from 1 on")
        return cls(**values)

    def applied(self, part: Part) -> Part:
        """The part as it is read with these options."""
        if not isinstance(part, VideoInput):
            return part
        if self.use_audio_in_video:
            part = replace(part, sound=True)
        return part if self.num_frames is None else with_frames(part, self.num_frames)


class MediaInfo(_Info):
    """What vLLM asks about our media before it sees any."""

    def get_hf_processor(self, **_: object) -> VideoLlama2Processor:
        """Our processor, of whatever layout the checkpoint is."""
        model = self.ctx.model_config
        return processor_of(model.model, model.revision)

    def get_data_parser(self) -> PartsParser:
        """What turns a request's media into our parts."""
        return PartsParser(
            expected_hidden_size=self._get_expected_hidden_size(),
            allow_missing_mm_embeddings=self.allow_missing_mm_embeddings,
        )

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Any number of each kind; no sounds where the model has no ears."""
        kinds = KINDS if self.get_hf_processor().has_audio else ("video", "image")
        return dict.fromkeys(kinds)

    def get_mm_max_tokens_per_item(
        self, seq_len: int, mm_counts: Mapping[str, int]
    ) -> Mapping[str, int]:
        """The most tokens of one item: 32 frames and 30 s of sound, or what a prompt has room for.

        vLLM keeps as much room in its encoder cache: longer items are refused.
        """
        processor = self.get_hf_processor()
        counter, loader = processor.counter, processor.loader
        longest = loader.samples_heard(int(loader.max_audio_s * 16_000))
        sound = counter.audio(num_fbank_frames(longest)) if processor.has_audio else 0
        video = counter.video(max(MAX_FRAMES, loader.num_frames))
        tokens = {"video": video + sound, "image": counter.image(), "audio": sound}
        return {kind: min(tokens[kind], seq_len) for kind in self.get_supported_mm_limits()}


class DummyMedia(_Dummies):
    """Media of the usual size, with which vLLM measures how much memory encoders take."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """A placeholder for each."""
        return "".join(MEDIA_TOKENS[kind] * mm_counts.get(kind, 0) for kind in KINDS)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]
    ) -> dict[str, list[Part]]:
        """Grey pictures and silence, the model's own number of frames and seconds."""
        loader = self.info.get_hf_processor().loader
        height, width = loader.video_settings.size
        frame = np.full((height, width, 3), 127, np.uint8)
        silence = np.zeros(int(loader.max_audio_s * 16_000), np.float32)
        dummies: dict[str, Part] = {
            "video": VideoInput(np.stack([frame] * min(loader.num_frames, MAX_FRAMES))),
            "image": ImageInput(frame),
            "audio": AudioInput(silence),
        }
        return {kind: [dummies[kind]] * mm_counts[kind] for kind in KINDS if mm_counts.get(kind, 0)}


class MediaProcessor(_Processor):
    """Prompts with one placeholder a medium -> as many ids as it becomes tokens, and its tensors.

    A video whose soundtrack is heard is one item: its video run, directly followed by its sound's.
    """

    def apply(self, inputs: Any, timing_ctx: Any) -> Any:
        """As vLLM's own.

        Raises:
            ValueError: the prompt has more or fewer placeholders of a kind than media are given.
            MediaError: a medium cannot be read.
        """
        check_counts(
            inputs.prompt,
            {kind: len(items) for kind, items in inputs.mm_data_items.items()},
            placeholder_ids(self.info.get_tokenizer()),
        )
        return super().apply(inputs, timing_ctx)

    def _apply_hf_processor_main(self, mm_items: Any, hf_kwargs: Mapping[str, Any]) -> BatchFeature:
        options = MediaOptions.of(
            self.info.ctx.get_mm_config().merge_mm_processor_kwargs(hf_kwargs)
        )
        processor = self.info.get_hf_processor()
        dtype: torch.dtype = self.info.ctx.model_config.dtype
        fields: dict[str, list[torch.Tensor]] = {}
        for kind, items in mm_items.items():
            for part in items.get_all():
                loaded = processor.loader.load(options.applied(part))
                for name, tensor in tensors_of(kind, loaded, processor).items():
                    fields.setdefault(name, []).append(tensor.to(dtype))
        return BatchFeature(fields)

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Any:
        kinds = {name: kind for names in (FEATURES, PIXELS) for kind, name in names.items()}
        return {
            name: MultiModalFieldConfig.batched(kind)
            for name, kind in kinds.items()
            if name in hf_inputs
        }

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        processor = self.info.get_hf_processor()
        written = placeholder_ids(self.info.get_tokenizer())
        run_ids = in_vocabulary(processor.token_ids, self.info.ctx.model_config.get_vocab_size())

        def replacement(kind: str) -> Any:
            def of(index: int) -> list[int]:
                item = out_mm_kwargs[kind][index].get_data()
                return [
                    run_ids[run] for run, n in run_lengths(kind, item, processor) for _ in range(n)
                ]

            return of

        return [
            PromptReplacement(kind, target=[written[kind]], replacement=replacement(kind))
            for kind in mm_items
        ]


def tensors_of(
    kind: str, loaded: LoadedMedia, processor: VideoLlama2Processor
) -> dict[str, torch.Tensor]:
    """The fields of an item: pixels (T, 3, H, W) or (3, H, W), log mel energies (frames, bins).

    What would fail within the engine, or stay in its caches as NaN, is refused before.

    Raises:
        ValueError: it is encoded already, or was not prepared for this model.
    """
    loader, tensors = processor.loader, dict[str, torch.Tensor]()
    if kind in PIXELS:
        if loaded.pixels is None:
            raise ValueError(f"this {kind} has no pixels: vLLM runs the encoders itself")
        settings = loader.video_settings if kind == "video" else loader.image_settings
        items = loaded.pixels if kind == "video" else loaded.pixels[None]
        _check_fits(kind, items, (3, *settings.size), loader.min_frames if kind == "video" else 1)
        tensors[PIXELS[kind]] = loaded.pixels
    if kind in FEATURES:
        features = loaded.features
        if features is None and kind == "audio":
            raise ValueError("this sound has no filter bank: vLLM runs the encoders itself")
        if features is None:
            features = torch.zeros(0, loader.num_mel_bins)
        else:
            _check_fits("filter bank", features, (loader.num_mel_bins,), loader.patch)
        tensors[FEATURES[kind]] = features
    return tensors


def _check_fits(what: str, items: torch.Tensor, shape: tuple[int, ...], least: int) -> None:
    if tuple(items.shape[1:]) != shape or len(items) < least or not items.isfinite().all():
        raise ValueError(
            f"this {what} of shape {tuple(items.shape)} was not prepared for this model, which "
            f"takes {least} or more finite {shape}: load it with the model's own processor"
        )


def run_lengths(
    kind: str, item: Mapping[str, Any], processor: VideoLlama2Processor
) -> list[tuple[str, int]]:
    """(kind of placeholder, tokens) of each run that an item's fields become."""
    counter = processor.counter
    if kind == "image":
        return [("image", counter.image())]
    sound = ("audio", counter.audio(len(item[FEATURES[kind]])))
    if kind == "audio":
        return [sound]
    return [("video", counter.video(len(item[PIXELS[kind]]))), sound]


def in_vocabulary(token_ids: Mapping[str, int], vocabulary: int) -> dict[str, int]:
    """The ids that stand for media in what vLLM's engine gets.

    The model's own, or 0 where the model knows them by ids past its vocabulary: vLLM counts ids of
    prompts for its penalties, in a table as long as the vocabulary. They are never embedded.
    """
    return {kind: id_ if id_ < vocabulary else 0 for kind, id_ in token_ids.items()}


def check_counts(prompt: Sequence[int], given: Mapping[str, int], ids: Mapping[str, int]) -> None:
    """See that there is one placeholder for each medium.

    Raises:
        ValueError: there are more or fewer of a kind.
    """
    for kind, token_id in ids.items():
        written = list(prompt).count(token_id)
        if written != given.get(kind, 0):
            raise ValueError(
                f"{kind}: {given.get(kind, 0)} given, but the prompt holds {written} "
                f"{MEDIA_TOKENS[kind]}: write one placeholder for each"
            )
