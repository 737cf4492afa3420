"""Eyes, ears and the language model's trunk, composed: everything but the output layer.

Shapes: B rows, L text positions, D language model width; media come as items (over the whole
batch, in the order of their runs in `input_ids`), T frames, F filter bank frames, M mel bins.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from videollama2.model.beats import Beats, WeightNormConv
from videollama2.model.config import BeatsConfig, VideoLlama2Config
from videollama2.model.connector import build_audio_projector, build_connector
from videollama2.model.fusion import fuse
from videollama2.model.packing import flash_arguments, is_packed
from videollama2.model.tensors import integers, unflatten
from videollama2.model.tokens import num_audio_tokens
from videollama2.model.vision import build_vision_tower, patch_features

Features = Tensor | Sequence[Tensor]
MEDIA_KINDS = ("video", "image", "audio")
_MASKED = frozenset({"eager", "sdpa", "flex_attention"})  # transformers masks these by positions


def beats_from_config(config: BeatsConfig) -> Beats:
    """The audio tower that the config describes."""
    return Beats(
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.intermediate_size,
        input_patch_size=config.input_patch_size,
        patch_embedding_size=config.patch_embedding_size,
        conv_pos=config.conv_pos,
        conv_pos_groups=config.conv_pos_groups,
        num_buckets=config.num_buckets,
        max_distance=config.max_distance,
        layer_norm_eps=config.layer_norm_eps,
        deep_norm=config.deep_norm,
        num_sound_classes=config.num_sound_classes,
        layer_drop=config.layer_drop,
        layerwise_gradient_decay=config.layerwise_gradient_decay,
        fbank_mean=config.fbank_mean,
        fbank_std=config.fbank_std,
    )


class VideoLlama2PreTrainedModel(PreTrainedModel):
    """Weights, dtypes and devices: what transformers does for every model."""

    config_class = VideoLlama2Config
    config: VideoLlama2Config
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ["image", "video", "audio", "text"]  # noqa: RUF012  (plain lists are read)
    supports_gradient_checkpointing = True
    _no_split_modules = ["BeatsLayer", "Bottleneck"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        std = float(getattr(self.config.text_config, "initializer_range", 0.02))
        if isinstance(module, WeightNormConv):
            module.reset_parameters()
        elif isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=std)
            bias: Tensor | None = getattr(module, "bias", None)
            if bias is not None:
                nn.init.zeros_(bias)
        elif isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class VideoLlama2Model(VideoLlama2PreTrainedModel):
    """Everything but the output layer: encoders, connectors, fusion, the language model's trunk."""

    def __init__(self, config: VideoLlama2Config) -> None:
        super().__init__(config)  # pyright: ignore[reportUnknownMemberType]
        connector = config.connector_config
        downsample = connector.downsample
        self.vision_tower = build_vision_tower(config.vision_config, config.vision_feature_layer)
        self.connector = build_connector(
            connector.connector_type,
            connector.vision_hidden_size,
            connector.hidden_size,
            downsample=None
            if downsample is None
            else cast("tuple[int, int, int]", tuple(downsample)),
            depth=connector.depth,
            readout_depth=connector.readout_depth,
        )
        audio = config.audio_config
        self.audio_tower = None if audio is None else beats_from_config(audio)
        self.audio_projector = (
            None
            if audio is None
            else build_audio_projector(
                config.audio_projector_type, audio.hidden_size, config.text_config.hidden_size
            )
        )
        auto: Any = AutoModel  # it is untyped
        self.language_model: Any = auto.from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_decoder(self, *_: Any, **__: Any) -> nn.Module:
        """The language model's trunk."""
        return self.language_model

    def encode_frames(self, pixels: Tensor) -> Tensor:
        """(items, T, 3, H, W) -> (items, T, patches, C): the vision tower's selected features."""
        parameter = next(self.vision_tower.parameters())
        flat = pixels.flatten(0, 1).to(parameter.device, parameter.dtype)
        features = patch_features(
            self.vision_tower,
            flat,
            int(self.config.vision_config.patch_size),
            self.config.vision_feature_select,
        )
        return unflatten(features, 0, tuple(pixels.shape[:2]))

    def join_frames(self, encoded: Features) -> Features:
        """(items, T, patches, C) from `encode_frames` -> (items, tokens, D), as the connector does.

        From a list of (T, patches, C) whose T differs comes a list of (tokens, D).
        """
        parameter = next(self.connector.parameters(), None)
        if isinstance(encoded, Tensor):
            return self.connector(encoded if parameter is None else encoded.to(parameter))
        return _stack_if_equal(
            [cast("Tensor", self.join_frames(clip[None]))[0] for clip in encoded]
        )

    def project_sounds(self, encoded: Features) -> Features:
        """(items, tokens, C) from the audio tower, or a list -> (items, tokens, D), or a list."""
        _, _, projector = self._audio_branch()
        parameter = next(projector.parameters())
        if isinstance(encoded, Tensor):
            return projector(encoded.to(parameter))
        return _stack_if_equal([projector(sound[None].to(parameter))[0] for sound in encoded])

    def get_video_features(self, pixel_values_videos: Features, **_: Any) -> Any:
        """(items, T, 3, H, W) -> `.pooler_output` (items, tokens, D).

        From a list of (T, 3, H, W) whose T differ comes a list of (tokens, D).
        """
        if isinstance(pixel_values_videos, Tensor):
            return _pooled(self.connector(self.encode_frames(pixel_values_videos)))
        items = [self.connector(self.encode_frames(clip[None]))[0] for clip in pixel_values_videos]
        return _pooled(_stack_if_equal(items))

    def get_image_features(self, pixel_values: Features, **_: Any) -> Any:
        """(items, 3, H, W) or a list of (3, H, W) -> `.pooler_output` (items, tokens, D).

        An image runs as `config.num_frames` equal frames, as released; the tower sees it once.
        """
        images = pixel_values if isinstance(pixel_values, Tensor) else torch.stack([*pixel_values])
        features = self.encode_frames(images[:, None])
        frames = features.expand(-1, self.config.num_frames, -1, -1)
        return _pooled(self.connector(frames))

    def get_audio_features(
        self, input_features: Tensor, input_features_mask: Tensor | None = None, **_: Any
    ) -> Any:
        """(items, F, M), mask (items, F) -> `.pooler_output` (items, tokens, D).

        Where the mask gives items different lengths, a list of (tokens, D).

        Raises:
            ValueError: the model has no audio branch.
        """
        config, tower, projector = self._audio_branch()
        mask = input_features_mask.bool() if input_features_mask is not None else None
        if mask is None or not config.mask_padding or bool(mask.all()):
            return _pooled(projector(tower(input_features)))
        tokens = projector(tower(input_features, mask))
        counts = [num_audio_tokens(config, frames) for frames in integers(mask.sum(1))]
        items = [row[:count] for row, count in zip(tokens, counts, strict=True)]
        return _pooled(_stack_if_equal(items))

    def tag_sound(
        self, input_features: Tensor, input_features_mask: Tensor | None = None
    ) -> Tensor:
        """(items, F, M) -> (items, labels): the probability of each sound class.

        Raises:
            ValueError: the model has no audio branch, or its encoder no tag head.
        """
        config, tower, _ = self._audio_branch()
        mask = input_features_mask.bool() if input_features_mask is not None else None
        return tower.tag(input_features, mask if config.mask_padding else None)

    def _audio_branch(self) -> tuple[BeatsConfig, Beats, nn.Module]:
        config = self.config.audio_config
        if config is None or self.audio_tower is None or self.audio_projector is None:
            raise ValueError(
                "this model has no audio branch: use a checkpoint with one (VideoLLaMA2.1-7B-AV)"
            )
        return config, self.audio_tower, self.audio_projector

    def media_token_ids(self) -> dict[str, int]:
        """The placeholder id of each kind of medium."""
        return {kind: int(getattr(self.config, f"{kind}_token_id")) for kind in MEDIA_KINDS}

    def embed(self, input_ids: Tensor, features: dict[str, Sequence[Tensor]]) -> Tensor:
        """(B, L) ids and the media's tokens -> (B, L, D); placeholders are never looked up."""
        token_ids = self.media_token_ids()
        placeholders = torch.zeros_like(input_ids, dtype=torch.bool)
        for token_id in token_ids.values():
            placeholders |= input_ids == token_id
        text = self.get_input_embeddings()(input_ids.masked_fill(placeholders, 0))
        return fuse(text, input_ids, features, token_ids)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        pixel_values_videos: Features | None = None,
        pixel_values: Features | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        video_features: Features | None = None,
        image_features: Features | None = None,
        audio_features: Features | None = None,
        encoded_videos: Features | None = None,
        encoded_images: Tensor | None = None,
        encoded_sounds: Features | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the encoders on what is given, fuse, run the language model's trunk.

        `video_features`, `image_features`, `audio_features` are the outputs of `get_*_features`,
        given instead of pixels and filter banks so that a clip's encoders run once.
        `encoded_videos` (items, T, patches, C), `encoded_images` (items, patches, C) and
        `encoded_sounds` (items, tokens, C) are what frozen encoders made, before the connector
        and the projector, which run here.

        Where `position_ids` (B, L) begin again within a row, and neither `attention_mask` nor
        `past_key_values` is given, the row holds several sequences that do not see each other.

        Raises:
            ValueError: not exactly one of `input_ids` and `inputs_embeds` is given, or a cache is
                asked for with several sequences in a row.
            MediaTokenMismatchError: placeholders and media tokens differ in number.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if input_ids is not None:
            if video_features is None and encoded_videos is not None:
                video_features = self.join_frames(encoded_videos)
            if image_features is None and encoded_images is not None:
                frames = encoded_images[:, None].expand(-1, self.config.num_frames, -1, -1)
                image_features = self.join_frames(frames)
            if audio_features is None and encoded_sounds is not None:
                audio_features = self.project_sounds(encoded_sounds)
            if video_features is None and pixel_values_videos is not None:
                video_features = self.get_video_features(pixel_values_videos).pooler_output
            if image_features is None and pixel_values is not None:
                image_features = self.get_image_features(pixel_values).pooler_output
            if audio_features is None and input_features is not None:
                audio_features = self.get_audio_features(
                    input_features, input_features_mask
                ).pooler_output
            given = {"video": video_features, "image": image_features, "audio": audio_features}
            items: dict[str, Sequence[Tensor]] = {
                kind: list(value) for kind, value in given.items() if value is not None
            }
            inputs_embeds = self.embed(input_ids, items)
        if attention_mask is None and past_key_values is None and is_packed(position_ids):
            if use_cache:
                raise ValueError("several sequences in a row leave no cache: give use_cache=False")
            use_cache = False  # with a cache, transformers reads no sequences from positions
            kwargs |= self._packed_arguments(cast("Tensor", position_ids))
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )

    def _packed_arguments(self, position_ids: Tensor) -> dict[str, Any]:
        """What attention needs besides positions: flash attention has no mask to be made for it."""
        attention = self.language_model.config._attn_implementation
        return {} if attention in _MASKED else flash_arguments(position_ids)


def _stack_if_equal(items: list[Tensor]) -> Features:
    return torch.stack(items) if len({item.shape for item in items}) == 1 else items


def _pooled(features: Features) -> BaseModelOutputWithPooling:
    return BaseModelOutputWithPooling(pooler_output=cast("Any", features))
