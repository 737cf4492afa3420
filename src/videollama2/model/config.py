"""What a model is made of: vision tower, connector, audio tower and language model, nested."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from videollama2.checkpoints.layouts import RELEASED_MODEL_TYPES, is_released, upgrade_config
from videollama2.model.narrow import NARROW_KINDS

FEATURE_SELECTIONS = ("patch", "cls_patch")
MEDIA_MODES = ("native", "released")
_any_config: Any = AutoConfig  # it is untyped


class ConnectorConfig(PreTrainedConfig):
    """How frame features become tokens of the language model (paper, section 2.2).

    `downsample` is (time, height, width); `depth` is the number of RegStage blocks before and
    after the sampler; `readout_depth` the number of linear layers at the end.
    Left at None, the last three take the connector type's released values.
    """

    model_type = "videollama2_connector"

    def __init__(
        self,
        connector_type: str = "stc_connector_v35",
        vision_hidden_size: int = 1152,
        hidden_size: int = 3584,
        downsample: list[int] | None = None,
        depth: int | None = None,
        readout_depth: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.connector_type = connector_type
        self.vision_hidden_size = vision_hidden_size
        self.hidden_size = hidden_size
        self.downsample = list(downsample) if downsample is not None else None
        self.depth = depth
        self.readout_depth = readout_depth
        super().__init__(**kwargs)


class BeatsConfig(PreTrainedConfig):
    """The BEATs audio encoder (official `model/beats/BEATs.py`, fine-tuned iter3+ defaults).

    `mask_padding` says whether padded time is hidden from the encoder. The released system heard
    its zero padding like sound, so released checkpoints carry False.
    """

    model_type = "beats"

    def __init__(
        self,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        input_patch_size: int = 16,
        patch_embedding_size: int = 512,
        num_mel_bins: int = 128,
        conv_pos: int = 128,
        conv_pos_groups: int = 16,
        num_buckets: int = 320,
        max_distance: int = 800,
        layer_norm_eps: float = 1e-5,
        deep_norm: bool = True,
        num_sound_classes: int = 527,
        layer_drop: float = 0.05,
        layerwise_gradient_decay: float = 0.6,
        mask_padding: bool = True,
        fbank_mean: float = 15.41663,
        fbank_std: float = 6.55582,
        sampling_rate: int = 16000,
        max_seconds: float = 30.0,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.input_patch_size = input_patch_size
        self.patch_embedding_size = patch_embedding_size
        self.num_mel_bins = num_mel_bins
        self.conv_pos = conv_pos
        self.conv_pos_groups = conv_pos_groups
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.layer_norm_eps = layer_norm_eps
        self.deep_norm = deep_norm
        self.layer_drop = layer_drop
        self.layerwise_gradient_decay = layerwise_gradient_decay
        self.mask_padding = mask_padding
        self.fbank_mean = fbank_mean
        self.fbank_std = fbank_std
        self.sampling_rate = sampling_rate
        self.max_seconds = max_seconds
        self.num_sound_classes = num_sound_classes
        self.initializer_range = initializer_range
        super().__init__(**kwargs)

    @property
    def max_fbank_frames(self) -> int:
        """Frames of a filter bank of `max_seconds` (25 ms windows every 10 ms, edges snipped)."""
        window, shift = self.sampling_rate // 40, self.sampling_rate // 100
        return 1 + (int(self.max_seconds * self.sampling_rate) - window) // shift

    @property
    def max_source_positions(self) -> int:
        """The most audio tokens that one sound can become."""
        patch = self.input_patch_size
        return (self.max_fbank_frames // patch) * (self.num_mel_bins // patch)


def _nested(value: Any, default: str) -> PreTrainedConfig | None:
    """A sub-config from a dict with its `model_type`, or as it is."""
    if value is None or isinstance(value, PreTrainedConfig):
        return value
    fields = dict(value)
    return _any_config.for_model(fields.pop("model_type", default), **fields)


def _beats(value: Mapping[str, Any] | BeatsConfig | None) -> BeatsConfig | None:
    if value is None or isinstance(value, BeatsConfig):
        return value
    return BeatsConfig(**{name: field for name, field in value.items() if name != "model_type"})


class VideoLlama2Config(PreTrainedConfig):
    """A VideoLLaMA 2 model: image, video, audio and audio-visual input into one language model.

    `vision_config` is any transformers vision encoder's, `text_config` any causal language
    model's, `audio_config` a `BeatsConfig` or None (no ears). `vision_feature_layer` counts as
    `hidden_states` does: -2 leaves the last layer out. `media_mode` "released" reads media as the
    released code does; "native" hears the whole soundtrack, unpadded.

    `weight_only` "int8" or "fp8" says that the language model's weights are in 8 bits.

    The three media token ids stand for media in `input_ids`, one id per token that a medium
    becomes. They are never looked up in the embedding table.

    Raises:
        ValueError: a value is not one of those named here.
    """

    model_type = "videollama2"
    sub_configs = {  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]  (a plain dict is read)
        "vision_config": AutoConfig,
        "audio_config": BeatsConfig,
        "text_config": AutoConfig,
        "connector_config": ConnectorConfig,
    }

    def __init__(
        self,
        vision_config: Mapping[str, Any] | PreTrainedConfig | None = None,
        text_config: Mapping[str, Any] | PreTrainedConfig | None = None,
        audio_config: Mapping[str, Any] | BeatsConfig | None = None,
        connector_config: Mapping[str, Any] | ConnectorConfig | None = None,
        audio_projector_type: str = "mlp2x_gelu",
        vision_feature_layer: int = -2,
        vision_feature_select: str = "patch",
        num_frames: int = 16,
        media_mode: str = "native",
        video_token_id: int | None = None,
        image_token_id: int | None = None,
        audio_token_id: int | None = None,
        weight_only: str | None = None,
        **kwargs: Any,
    ) -> None:
        if weight_only not in (None, *NARROW_KINDS):
            raise ValueError(
                f"weight_only is {weight_only!r}: choose one of {', '.join(NARROW_KINDS)}"
            )
        self.weight_only = weight_only
        if vision_feature_select not in FEATURE_SELECTIONS:
            raise ValueError(
                f"vision_feature_select is {vision_feature_select!r}: choose one of "
                f"{', '.join(FEATURE_SELECTIONS)}"
            )
        if media_mode not in MEDIA_MODES:
            raise ValueError(
                f"media_mode is {media_mode!r}: choose one of {', '.join(MEDIA_MODES)}"
            )
        vision = _nested(vision_config, "siglip_vision_model")
        text = _nested(text_config, "qwen2")
        self.vision_config: Any = vision or _any_config.for_model("siglip_vision_model")
        self.text_config: Any = text or _any_config.for_model("qwen2")
        self.audio_config = _beats(audio_config)
        if isinstance(connector_config, ConnectorConfig):
            self.connector_config = connector_config
        else:
            widths = {
                "vision_hidden_size": self.vision_config.hidden_size,
                "hidden_size": self.text_config.hidden_size,
            }
            fields = {**widths, **dict(connector_config or {})}
            fields.pop("model_type", None)
            self.connector_config = ConnectorConfig(**fields)
        self.audio_projector_type = audio_projector_type
        self.vision_feature_layer = vision_feature_layer
        self.vision_feature_select = vision_feature_select
        self.num_frames = num_frames
        self.media_mode = media_mode
        vocab_size = int(self.text_config.vocab_size)
        self.video_token_id = vocab_size if video_token_id is None else video_token_id
        self.image_token_id = vocab_size + 1 if image_token_id is None else image_token_id
        self.audio_token_id = vocab_size + 2 if audio_token_id is None else audio_token_id
        kwargs.setdefault(
            "tie_word_embeddings", bool(getattr(self.text_config, "tie_word_embeddings", False))
        )
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            kwargs.setdefault(name, getattr(self.text_config, name, None))
        super().__init__(**kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The config as a dict of ours; a flat released one is upgraded."""
        parent: Any = super()
        config, rest = parent.get_config_dict(pretrained_model_name_or_path, **kwargs)
        return _upgraded(config, pretrained_model_name_or_path), rest

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """A config from our dict or a released flat one (AutoConfig reads the file by itself)."""
        config = _upgraded(config_dict, kwargs.get("name_or_path"))
        parent: Any = super()
        return parent.from_dict(config, **kwargs)


def _upgraded(config: dict[str, Any], place: str | os.PathLike[str] | None) -> dict[str, Any]:
    """`config` nested; `place` is the checkpoint's folder or config file, or a hub id."""
    if not is_released(config):
        return config
    path = None if place is None else Path(place)
    if path is not None and path.is_file():
        path = path.parent
    return upgrade_config(config, path if path is not None and path.is_dir() else None)


def register_released_model_types() -> None:
    """Let AutoConfig take the released families' `model_type`s; it then gives configs of ours."""

    def from_dict(_: type, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        return VideoLlama2Config.from_dict(config_dict, **kwargs)

    for model_type in RELEASED_MODEL_TYPES:
        if model_type == VideoLlama2Config.model_type:
            continue
        members: dict[str, Any] = {"model_type": model_type, "from_dict": classmethod(from_dict)}
        alias = type("VideoLlama2Config", (VideoLlama2Config,), members)
        _any_config.register(model_type, alias, exist_ok=True)
