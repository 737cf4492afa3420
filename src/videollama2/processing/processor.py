"""`VideoLlama2Processor`: conversations with media -> the model's inputs, in transformers' form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.processing_utils import ProcessorMixin

from videollama2.media.limits import DEFAULT_LIMITS, MediaLimits

from .batch import (
    PaddingSide,
    Piece,
    VideoLlama2Inputs,
    encode_row,
    media_tensors,
    pad_rows,
    token_type_ids,
)
from .building import parts_of
from .chat import (
    AUDIO_TOKEN,
    IMAGE_TOKEN,
    VIDEO_TOKEN,
    Conversation,
    is_conversation,
)
from .counts import PlaceholderCounts, TokenCounter
from .feature_extractor import BeatsFeatureExtractor
from .image_processor import VideoLlama2ImageProcessor
from .loader import MediaLoader
from .options import as_images, as_sounds, check_options, row_lengths, unnested, with_frames
from .parts import LoadedMedia, Part, as_part, part_from_message
from .pixels import Geometry
from .rendering import fill, render
from .tokens import KINDS, add_media_tokens
from .video_processor import VideoLlama2VideoProcessor, as_videos

_CLASSES: dict[str, type[Any]] = {
    "image_processor": VideoLlama2ImageProcessor,
    "video_processor": VideoLlama2VideoProcessor,
    "feature_extractor": BeatsFeatureExtractor,
    "tokenizer": PreTrainedTokenizerBase,
}
_EXTRAS = ("return_mm_token_type_ids", "return_text_replacement_offsets")
_CALL_OPTIONS = ("return_tensors", "num_frames", "sampling_rate", "add_special_tokens", *_EXTRAS)


class VideoLlama2Processor(PlaceholderCounts, ProcessorMixin):
    """Text with placeholders, images, videos and sounds -> `VideoLlama2Inputs`.

    In a text, `<video>`, `<image>` and `<audio>` stand for the media in their order. Each becomes
    as many placeholder ids as it gives tokens, counted before any encoder runs; a video whose
    soundtrack is heard becomes its video run followed by its audio run.

    `connector_type`, `downsample` and `patch_size` say how many tokens a video gives,
    `image_frames` as how many equal frames an image runs. `has_audio`: whether the model has an
    audio branch. `system_text` is put first in conversations without a system message.
    The token ids are those of the config; None adds the placeholders to the tokenizer.
    """

    def __init__(
        self,
        image_processor: VideoLlama2ImageProcessor | None = None,
        video_processor: VideoLlama2VideoProcessor | None = None,
        feature_extractor: BeatsFeatureExtractor | None = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        connector_type: str = "stc_connector_v35",
        downsample: list[int] | None = None,
        patch_size: int = 14,
        image_frames: int | None = None,
        has_audio: bool = False,
        system_text: str | None = None,
        video_token_id: int | None = None,
        image_token_id: int | None = None,
        audio_token_id: int | None = None,
    ) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            image_processor or VideoLlama2ImageProcessor(),
            video_processor or VideoLlama2VideoProcessor(),
            feature_extractor or BeatsFeatureExtractor(),
            tokenizer,
            chat_template=chat_template,
        )
        self.connector_type = connector_type
        self.downsample = None if downsample is None else [int(step) for step in downsample]
        self.patch_size = patch_size
        self.image_frames = image_frames or self.video_processor.num_frames
        self.has_audio = has_audio
        self.system_text = system_text
        given = (video_token_id, image_token_id, audio_token_id)
        if any(token_id is None for token_id in given):
            added = add_media_tokens(tokenizer)
            given = tuple(added[kind] for kind in KINDS)
        self.video_token_id, self.image_token_id, self.audio_token_id = given
        self.video_token, self.image_token, self.audio_token = VIDEO_TOKEN, IMAGE_TOKEN, AUDIO_TOKEN
        self.limits: MediaLimits = DEFAULT_LIMITS

    @classmethod
    def from_config(
        cls,
        config: Any,
        tokenizer: Any,
        image_settings: object,
        *,
        chat_template: str | None = None,
        geometry: Geometry = "square",
    ) -> VideoLlama2Processor:
        """The processor of a model: `config` is its `VideoLlama2Config`.

        `image_settings` is what `PixelSettings.from_processor` takes, or a `PixelSettings`. A
        released checkpoint (`config.media_mode`) gets the released sound windows, and the released
        chat template where its tokenizer has none. Raises `ValueError` where they do not fit.
        """
        return cls(**parts_of(config, tokenizer, image_settings, chat_template, geometry))

    # --- what the parts say ---

    @property
    def media_mode(self) -> str:
        """ "native" or "released": how sound is windowed and short clips are filled up."""
        return self.feature_extractor.media_mode

    @property
    def token_ids(self) -> dict[str, int]:
        """The placeholder ids by kind."""
        return {kind: cast(int, getattr(self, f"{kind}_token_id")) for kind in KINDS}

    @property
    def counter(self) -> TokenCounter:
        """Sizes -> numbers of tokens."""
        height, width = self.video_processor.settings.size
        return TokenCounter.of(
            self.connector_type,
            self.downsample,
            (height // self.patch_size, width // self.patch_size),
            self.image_frames,
            self.feature_extractor.feature_size,
            self.feature_extractor.patch,
        )

    @property
    def loader(self) -> MediaLoader:
        """How media are read for this model."""
        return MediaLoader(
            self.image_processor.settings,
            self.video_processor.settings,
            num_frames=self.video_processor.num_frames,
            min_frames=self.counter.shape.min_frames,
            mode=self.feature_extractor.media_mode,
            has_audio=self.has_audio,
            num_mel_bins=self.feature_extractor.feature_size,
            patch=self.feature_extractor.patch,
            max_audio_s=self.feature_extractor.chunk_length,
            limits=self.limits,
        )

    # --- media ---

    def load_media(self, part: Part | Mapping[str, Any]) -> LoadedMedia:
        """Read one medium once; the result can stand in any number of conversations.

        `part`: a `VideoInput`, `ImageInput`, `AudioInput`, or a content part of a message. Raises
        `media.MediaError` for what cannot be read.
        """
        return self.loader.load(part_from_message(part) if isinstance(part, Mapping) else part)

    def pieces(
        self, texts: Sequence[str], media: Mapping[str, Sequence[Part]]
    ) -> list[list[Piece]]:
        """Texts cut at their placeholders, each placeholder replaced by its medium, loaded.

        `media` gives the parts of each kind in the texts' order. Raises `ValueError` that says of
        which kind there are too few or too many.
        """
        return fill(texts, media, self.loader.load)

    # --- batches ---

    def prepare(
        self,
        rows: Sequence[Sequence[Piece]],
        padding_side: PaddingSide = "left",
        *,
        at_least: int = 0,
        at_most: int | None = None,
        return_mm_token_type_ids: bool = False,
        return_text_replacement_offsets: bool = False,
    ) -> VideoLlama2Inputs:
        """Rows of text and loaded media -> one batch.

        Gives `input_ids` and `attention_mask` (B, L), `pixel_values_videos`, `pixel_values`,
        `input_features` and `input_features_mask` as `batch.media_tensors` says; `reports` on the
        result tells what was taken in. L is `at_least` so many; raises `ValueError` for a row that
        is longer than `at_most`.
        """
        counter, ids = self.counter, self.token_ids
        encoded = [encode_row(row, self._encode, counter.runs, ids) for row in rows]
        media = [piece for row in rows for piece in row if isinstance(piece, LoadedMedia)]
        input_ids, mask = pad_rows(
            [row.input_ids for row in encoded], self._pad_id(), padding_side, at_least, at_most
        )
        data = {"input_ids": input_ids, "attention_mask": mask, **media_tensors(media)}
        if return_mm_token_type_ids:
            data["mm_token_type_ids"] = token_type_ids(input_ids, ids)
        if return_text_replacement_offsets:
            data["text_replacement_offsets"] = [row.replacements for row in encoded]
        inputs = VideoLlama2Inputs(data)
        inputs.reports = tuple(item.report for item in media)
        return inputs

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _pad_id(self) -> int:
        # As released: a tokenizer without a padding token pads with its unknown token.
        for name in ("pad_token_id", "unk_token_id", "eos_token_id"):
            token_id: int | None = getattr(self.tokenizer, name, None)
            if token_id is not None:
                return token_id
        return 0

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        audio: Any = None,
        *,
        padding_side: PaddingSide = "left",
        return_tensors: Any = "pt",
        add_special_tokens: bool = False,
        num_frames: int | None = None,
        sampling_rate: int | None = None,
        **kwargs: Any,
    ) -> VideoLlama2Inputs:
        """Texts with placeholders and their media, over the whole batch in the texts' order.

        `videos`, `images`, `audio`: one or a list (nested lists are flattened) of whatever
        `VideoInput`, `ImageInput`, `AudioInput` take as source, or of these themselves.
        `num_frames` is for videos that do not say it, `sampling_rate` for sounds given as samples.
        Rows are padded to the longest, or with `padding="max_length"` to `max_length`; nothing is
        truncated, but with `truncation` a row longer than `max_length` is a `ValueError`.
        Raises `ValueError` for a mismatch, `TypeError` for an unknown option, `media.MediaError`
        for unreadable media.
        """
        options = unnested(kwargs)
        wants = {name: bool(options.pop(name, False)) for name in _EXTRAS}
        at_least, at_most = row_lengths(options)
        check_options(options, options.pop("return_tensors", return_tensors))
        rate = {} if sampling_rate is None else {"sampling_rate": sampling_rate}
        media: dict[str, list[Part]] = {
            "video": [as_part("video", one) for one in as_videos(videos)],
            "image": [as_part("image", one) for one in as_images(images)],
            "audio": [as_part("audio", one, rate) for one in as_sounds(audio)],
        }
        if num_frames is not None:
            media["video"] = [with_frames(part, num_frames) for part in media["video"]]
        if text is None:
            loaded = [self.load_media(part) for parts in media.values() for part in parts]
            if not loaded:
                raise ValueError("neither text nor media were given")
            inputs = VideoLlama2Inputs(media_tensors(loaded))
            inputs.reports = tuple(item.report for item in loaded)
            return inputs
        texts = [text] if isinstance(text, str) else list(text)
        rows = self.pieces(texts, media)
        bos: str | None = self.tokenizer.bos_token
        if add_special_tokens and bos:
            rows = [row if texts[i].startswith(bos) else [bos, *row] for i, row in enumerate(rows)]
        return self.prepare(rows, padding_side, at_least=at_least, at_most=at_most, **wants)

    # --- conversations ---

    def apply_chat_template(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        conversation: Conversation | Sequence[Conversation],
        chat_template: str | None = None,
        *,
        tokenize: bool = False,
        return_dict: bool = False,
        add_generation_prompt: bool = False,
        padding_side: PaddingSide = "left",
        processor_kwargs: Mapping[str, Any] | None = None,
        **template_kwargs: Any,
    ) -> Any:
        """One conversation or a batch of them -> text, ids or the model's inputs.

        Messages hold text or a list of parts: `{"type": "text", "text": ...}`, `{"type": "video",
        "path" | "url" | "video": ..., "start":, "end":, "num_frames":, "sound":}`, `{"type":
        "image", ...}`, `{"type": "audio", ...}`; a source may be a `LoadedMedia`. Without
        `tokenize` the rendered text (nothing is read); with it `input_ids`, or with `return_dict`
        everything. The call's own options go to the call, all other names to the template.
        Raises `ValueError` for a placeholder written out in a text.
        """
        single = is_conversation(cast(Sequence[Any], conversation))
        conversations = cast(Sequence[Conversation], [conversation] if single else conversation)
        options = dict(processor_kwargs or {})
        for name in _CALL_OPTIONS:
            if name in template_kwargs:
                options[name] = template_kwargs.pop(name)
        texts: list[str] = []
        media: dict[str, list[Part]] = {kind: [] for kind in KINDS}
        for one in conversations:
            rendered, parts = self.render(
                one, chat_template, add_generation_prompt=add_generation_prompt, **template_kwargs
            )
            texts.append(rendered)
            for kind in KINDS:
                media[kind] += parts[kind]
        if not tokenize:
            return texts[0] if single else texts
        inputs = self(
            text=texts,
            videos=media["video"] or None,
            images=media["image"] or None,
            audio=media["audio"] or None,
            padding_side=padding_side,
            **options,
        )
        return inputs if return_dict else inputs["input_ids"]

    def render(
        self,
        conversation: Conversation,
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = True,
        **template_kwargs: Any,
    ) -> tuple[str, dict[str, list[Part]]]:
        """A conversation's text with placeholders, and its media by kind; nothing is read.

        Raises `ValueError` without any template, and where the template drops a medium.
        """
        return render(
            conversation,
            chat_template or cast("str | None", self.chat_template),
            self.tokenizer,
            self.system_text,
            add_generation_prompt=add_generation_prompt,
            **template_kwargs,
        )

    # --- saving and loading ---

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> VideoLlama2Processor:
        """The processor of our own layout or of any released one, by folder or hub id.

        Raises `CheckpointError` where a released one has no tokenizer or unknown image settings.
        """
        from videollama2.checkpoints import load  # it builds this class, so it lies above

        if load.is_released_checkpoint(pretrained_model_name_or_path, **kwargs):
            hub = ("revision", "cache_dir", "token", "local_files_only")
            options = {name: kwargs[name] for name in hub if name in kwargs}
            return load.load_processor(pretrained_model_name_or_path, **options)
        return cls.from_saved(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def from_saved(cls, folder: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """The processor that `save_pretrained` left in a folder or hub repository."""
        base: Any = super()
        return base.from_pretrained(folder, *args, **kwargs)

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> type[Any]:
        """Our own classes are wanted: transformers' own check asks for torchvision.

        Raises `TypeError` for an object of another class.
        """
        wanted = _CLASSES[argument_name]
        if not isinstance(argument, wanted):
            raise TypeError(
                f"{argument_name} is a {type(argument).__name__}; a {wanted.__name__} is wanted"
            )
        return wanted

    @classmethod
    def _get_arguments_from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        processor_dict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        """The three sub-processors from `processor_config.json`, the tokenizer from its files."""
        values = processor_dict or {}
        parts: list[Any] = []
        for name, wanted in _CLASSES.items():
            if name == "tokenizer":
                break
            if not isinstance(values.get(name), dict):
                raise ValueError(
                    f"{pretrained_model_name_or_path}: processor_config.json says nothing of its "
                    f"{name}: it is not a processor saved by this project"
                )
            parts.append(wanted(**values[name]))
        tokenizers = cast(Any, AutoTokenizer)
        return [*parts, tokenizers.from_pretrained(pretrained_model_name_or_path, **kwargs)]

    @property
    def model_input_names(self) -> list[str]:
        """Names of what the model takes."""
        names = ["input_ids", "attention_mask"]
        for part in (self.image_processor, self.video_processor, self.feature_extractor):
            names += part.model_input_names
        return names
