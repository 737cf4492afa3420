"""Eyes, ears and the language model's trunk, composed: everything but the output layer.

Shapes: B rows, L text positions, D language model width; media come as items (over the whole
batch, in the order of their runs in `input_ids`), T frames, F filter bank frames, M mel bins.
"""

import os
from collections.abc import Sequence
from inspect import signature
from typing import Any, Unpack, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel

from videollama2.model.config import VideoLlama2Config
from videollama2.model.encoded import Features
from videollama2.model.encoders import VideoLlama2Encoders
from videollama2.model.fusion import fuse
from videollama2.model.packing import flash_arguments, is_packed
from videollama2.model.pretrained import CACHE, LanguageModelOptions, can_return_tuple

MEDIA_KINDS = ("video", "image", "audio")
_MASKED = frozenset({"eager", "sdpa", "flex_attention"})  # transformers masks these by positions


def _check_attends(language_model: nn.Module) -> None:
    """Whether a language model can be written with: it takes embeddings, and keeps keys and values.

    Raises:
        ValueError: it cannot.
    """
    config: Any = cast("Any", language_model).config
    taken = signature(language_model.forward).parameters
    lacking = [name for name in ("inputs_embeds", CACHE) if name not in taken]
    if not lacking and not hasattr(config, "num_attention_heads"):
        lacking = ["keys and values"]  # a state may go by the cache's name
    if lacking:
        raise ValueError(
            f"{config.model_type} takes no {' and no '.join(lacking)}: a language model that keeps "
            "a state of its own instead of keys and values is not supported; take one with "
            "attention"
        )


class VideoLlama2Model(VideoLlama2Encoders):
    """Everything but the output layer: encoders, connectors, fusion, the language model's trunk."""

    def __init__(self, config: VideoLlama2Config) -> None:
        super().__init__(config)
        auto: Any = AutoModel  # it is untyped
        self.language_model: Any = auto.from_config(config.text_config)
        _check_attends(self.language_model)
        self.post_init()

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """A trunk, or that of a whole model of any layout, by folder or hub id.

        A whole one is read as what it is: transformers would take BEATs' `weight_g` and
        `weight_v` for names of its own where a prefix is to be dropped too, and draw them anew.

        Raises:
            CheckpointError: as `load_model`, of a released layout.
        """
        from videollama2.checkpoints import load  # it builds this class, so it lies above
        from videollama2.model.model import VideoLlama2ForConditionalGeneration

        name = pretrained_model_name_or_path
        if load.holds_whole(name, **kwargs):
            reader: Any = VideoLlama2ForConditionalGeneration
            whole = reader.from_pretrained(name, *args, **kwargs)
            if kwargs.get("output_loading_info"):
                model, told = whole
                return model.model, told
            return whole.model
        parent: Any = super()
        return parent.from_pretrained(name, *args, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_decoder(self, *_: Any, **__: Any) -> nn.Module:
        """The language model's trunk."""
        return self.language_model

    def media_token_ids(self) -> dict[str, int]:
        """The placeholder id of each kind of medium."""
        return {kind: int(getattr(self.config, f"{kind}_token_id")) for kind in MEDIA_KINDS}

    def placeholders(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None = None,
        kinds: Sequence[str] = MEDIA_KINDS,
    ) -> dict[str, Tensor]:
        """A mask (B, L) for each kind of medium: where its placeholders stand.

        Without ids, where `inputs_embeds` holds the embedding of the placeholder's id.

        Raises:
            ValueError: without ids, and the placeholder's id has no embedding.
        """
        token_ids = {kind: id_ for kind, id_ in self.media_token_ids().items() if kind in kinds}
        if input_ids is not None:
            return {kind: input_ids == token_id for kind, token_id in token_ids.items()}
        table = cast("nn.Embedding", self.get_input_embeddings())
        given = cast("Tensor", inputs_embeds)
        places: dict[str, Tensor] = {}
        for kind, token_id in token_ids.items():
            if token_id >= table.num_embeddings:
                raise ValueError(
                    f"<{kind}> is id {token_id}, past the {table.num_embeddings} embeddings: it "
                    f"cannot be found in inputs_embeds. Give input_ids, or inputs_embeds with the "
                    f"{kind} tokens already in them"
                )
            embedding = table(torch.full((), token_id, device=given.device))
            places[kind] = (given == embedding).all(-1)
        return places

    def embed(self, input_ids: Tensor, features: dict[str, Sequence[Tensor]]) -> Tensor:
        """(B, L) ids and the media's tokens -> (B, L, D); placeholders are never looked up."""
        places = self.placeholders(input_ids)
        nowhere = torch.zeros_like(input_ids, dtype=torch.bool)
        media = sum(places.values(), start=nowhere)
        text = self.get_input_embeddings()(input_ids.masked_fill(media, 0))
        return fuse(text, places, features)

    @can_return_tuple
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
        cache: Any = None,
        **kwargs: Unpack[LanguageModelOptions],
    ) -> Any:
        """Run the encoders on what is given, fuse, run the language model's trunk.

        `video_features`, `image_features`, `audio_features` are the outputs of `get_*_features`,
        given instead of pixels and filter banks so that a clip's encoders run once.
        `encoded_videos` (items, T, patches, C), `encoded_images` (items, patches, C) and
        `encoded_sounds` (items, tokens, C) are what frozen encoders made, before the connector
        and the projector, which run here.
        Given with `inputs_embeds`, media take the places of their placeholders' embeddings.

        `cache` is `past_key_values` by the name that transformers gives it from 5.24 on.

        Where `position_ids` (B, L) begin again within a row, and neither `attention_mask` nor
        `past_key_values` is given, the row holds several sequences that do not see each other.

        Raises:
            ValueError: not exactly one of `input_ids` and `inputs_embeds` is given, a cache is
                asked for with several sequences in a row, or as in `placeholders`.
            MediaTokenMismatchError: placeholders and media tokens differ in number.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        features = self.encode_media(
            pixel_values_videos,
            pixel_values,
            input_features,
            input_features_mask,
            video_features,
            image_features,
            audio_features,
            encoded_videos,
            encoded_images,
            encoded_sounds,
        )
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, features)
        elif inputs_embeds is not None and features:
            places = self.placeholders(None, inputs_embeds, tuple(features))
            inputs_embeds = fuse(inputs_embeds, places, features)
        options = cast("dict[str, Any]", kwargs)
        past_key_values = cache if past_key_values is None else past_key_values
        if attention_mask is None and past_key_values is None and is_packed(position_ids):
            if use_cache:
                raise ValueError("several sequences in a row leave no cache: give use_cache=False")
            use_cache = False  # with a cache, transformers reads no sequences from positions
            options |= self._packed_arguments(cast("Tensor", position_ids))
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            return_dict=True,
            **{**options, CACHE: past_key_values},
        )

    def _packed_arguments(self, position_ids: Tensor) -> dict[str, Any]:
        """What attention needs besides positions: flash attention has no mask to be made for it."""
        attention = self.language_model.config._attn_implementation
        return {} if attention in _MASKED else flash_arguments(position_ids)
