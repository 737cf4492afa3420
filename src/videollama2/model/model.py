"""VideoLLaMA 2, the model that answers: trunk and output layer.

Shapes: B rows, L text positions, D language model width.
"""

import os
from typing import Any, Unpack, cast

import torch
from torch import Tensor, nn
from transformers import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from videollama2.model.config import VideoLlama2Config
from videollama2.model.encoded import Features
from videollama2.model.encoders import MEDIA_INPUTS
from videollama2.model.fusion import items_per_row, repeat_rows
from videollama2.model.narrow import NarrowKind, make_narrow
from videollama2.model.pretrained import (
    CACHE,
    LanguageModelOptions,
    VideoLlama2PreTrainedModel,
    can_return_tuple,
)
from videollama2.model.trunk import VideoLlama2Model

# Families whose output layer has a bias without saying so in their config.
_BIASED_HEADS = frozenset({"phi", "gptj", "codegen"})
IGNORED = -100  # the label of a token that is not learned


class VideoLlama2ForConditionalGeneration(VideoLlama2PreTrainedModel, GenerationMixin):
    """The model that answers: trunk and output layer."""

    _tied_weights_keys = {  # noqa: RUF012  (a plain dict is read)
        "lm_head.weight": "model.language_model.embed_tokens.weight"
    }
    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012

    def __init__(self, config: VideoLlama2Config) -> None:
        super().__init__(config)  # pyright: ignore[reportUnknownMemberType]
        text = config.text_config
        biased = text.model_type in _BIASED_HEADS or bool(getattr(text, "lm_head_bias", False))
        self.model = VideoLlama2Model(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=biased)
        if config.weight_only is not None:
            make_narrow(self, cast("NarrowKind", config.weight_only))
            self._keep_in_fp32_modules_strict = {"weight_scale"}
        words, untyped = self.model.get_input_embeddings(), cast("Any", self)
        name = next(name for name, module in untyped.named_modules() if module is words)
        self._tied_weights_keys = {"lm_head.weight": f"{name}.weight"}  # families name it apart
        self.post_init()

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> "VideoLlama2ForConditionalGeneration":
        """Our own layout or any released one, by folder or hub id; a trunk if its words are tied.

        Whoever asks for `output_loading_info` gets a trunk as transformers reads it, and is told
        what is missing.

        Raises:
            CheckpointError: released, or a trunk, and parameters are missing or do not fit.
        """
        from videollama2.checkpoints import load  # it builds this class, so it lies above

        name = pretrained_model_name_or_path
        told = bool(kwargs.get("output_loading_info"))
        if load.is_released_checkpoint(name, **kwargs) or (
            not told and load.holds_trunk(name, **kwargs)
        ):
            return load.load_released(name, **kwargs)
        parent: Any = super()
        return parent.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings."""
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the output layer."""
        self.lm_head = cast("nn.Linear", new_embeddings)

    def get_decoder(self, *_: Any, **__: Any) -> nn.Module:
        """The language model's trunk."""
        return self.model.language_model

    def get_video_features(self, pixel_values_videos: Features, **kwargs: Any) -> Any:
        """As `VideoLlama2Model.get_video_features`."""
        return self.model.get_video_features(pixel_values_videos, **kwargs)

    def get_image_features(self, pixel_values: Features, **kwargs: Any) -> Any:
        """As `VideoLlama2Model.get_image_features`."""
        return self.model.get_image_features(pixel_values, **kwargs)

    def get_audio_features(
        self, input_features: Tensor, input_features_mask: Tensor | None = None, **kwargs: Any
    ) -> Any:
        """As `VideoLlama2Model.get_audio_features`."""
        return self.model.get_audio_features(input_features, input_features_mask, **kwargs)

    def tag_sound(
        self, input_features: Tensor, input_features_mask: Tensor | None = None
    ) -> Tensor:
        """As `VideoLlama2Model.tag_sound`."""
        return self.model.tag_sound(input_features, input_features_mask)

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
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        cache: Any = None,
        **kwargs: Unpack[LanguageModelOptions],
    ) -> CausalLMOutputWithPast:
        """Next-token logits, and the loss where `labels` (B, L; -100 is left out) are given.

        `logits_to_keep` computes logits for that many last positions only (0: all), or for those
        where a mask (B, L) is true: logits are then (kept, vocabulary). The loss needs no others
        than `learned_positions(labels)`: media and questions are most of a row, and a row of
        logits is as long as the vocabulary. The output's `past_key_values` are called `cache` from
        transformers 5.24 on, and may be given under either name.

        Raises:
            ValueError, MediaTokenMismatchError: as `VideoLlama2Model.forward`.
        """
        options = cast("dict[str, Any]", kwargs)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            cache=cache,
            inputs_embeds=inputs_embeds,
            pixel_values_videos=pixel_values_videos,
            pixel_values=pixel_values,
            input_features=input_features,
            input_features_mask=input_features_mask,
            video_features=video_features,
            image_features=image_features,
            audio_features=audio_features,
            use_cache=use_cache,
            return_dict=True,
            **_without_loss_arguments(options),
        )
        hidden: Tensor = outputs.last_hidden_state
        if isinstance(logits_to_keep, Tensor) and logits_to_keep.dtype == torch.bool:
            kept_n = logits_to_keep.flatten().nonzero()[:, 0]
            logits = self.logits(hidden.flatten(0, 1).index_select(0, kept_n))
            if labels is not None:
                options["shift_labels"] = _next(labels).flatten().index_select(0, kept_n)
        else:
            last = isinstance(logits_to_keep, int)
            keep = slice(-logits_to_keep, None) if last else logits_to_keep
            logits = self.logits(hidden[:, keep])
        loss = None
        if labels is not None:
            untyped: Any = self
            loss = untyped.loss_function(
                logits=logits, labels=labels, vocab_size=logits.shape[-1], **options
            )
        output: Any = CausalLMOutputWithPast  # what it calls its cache depends on the release
        return output(
            loss=loss,
            logits=logits,
            hidden_states=getattr(outputs, "hidden_states", None),
            attentions=getattr(outputs, "attentions", None),
            **{CACHE: getattr(outputs, CACHE)},
        )

    def logits(self, hidden_BLD: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, vocabulary), with the scaling or soft cap of the family, if any."""
        text = self.config.text_config
        logits = self.lm_head(hidden_BLD)
        scale = getattr(text, "logit_scale", None)  # Cohere multiplies
        if scale is not None:
            logits = logits * scale
        divisor = getattr(text, "logits_scaling", None)  # Granite divides
        if divisor is not None:
            logits = logits / divisor
        cap = getattr(text, "final_logit_softcapping", None)  # Gemma 2
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def generate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, inputs: Tensor | None = None, generation_config: Any = None, **kwargs: Any
    ) -> Any:
        """As transformers' `generate`; the placeholders of media are never written."""
        config = self.generation_config if generation_config is None else generation_config
        given = kwargs.pop("suppress_tokens", None) or getattr(config, "suppress_tokens", None)
        words = self.config.text_config.vocab_size
        ours = {id_ for id_ in self.model.media_token_ids().values() if id_ < words}
        suppressed = sorted(ours.union(given or ())) or None
        parent: Any = super()
        return parent.generate(inputs, generation_config, suppress_tokens=suppressed, **kwargs)

    def prepare_inputs_for_generation(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input_ids: Tensor,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        is_first_iteration: bool | None = False,
        cache: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The inputs of one step: media until they are in the cache.

        An assistant's first step counts as none, but its cache is as empty: it gets them too.
        """
        media = {name: kwargs.pop(name) for name in MEDIA_INPUTS if name in kwargs}
        parent: Any = super()
        past_key_values = cache if past_key_values is None else past_key_values
        inputs: dict[str, Any] = parent.prepare_inputs_for_generation(
            input_ids,
            inputs_embeds=inputs_embeds,
            is_first_iteration=is_first_iteration,
            **{**kwargs, CACHE: past_key_values},
        )
        cached = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        return {**inputs, **media} if is_first_iteration or not cached else inputs

    def _expand_inputs_for_generation(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Each row `expand_size` times (beams, several answers), each with the row's own media.

        Media are encoded here, so that the encoders run once a medium and not once a beam.
        """
        media: dict[str, Any] = {}
        if expand_size > 1:
            given = {name: model_kwargs.pop(name, None) for name in MEDIA_INPUTS}
            features = self.model.encode_media(**given)
            ids = input_ids if input_ids is not None and input_ids.numel() else None
            places = self.model.placeholders(
                ids, model_kwargs.get("inputs_embeds"), tuple(features)
            )
            for kind, items in features.items():
                tokens = [item.shape[0] for item in items]
                counts = items_per_row(kind, places[kind].sum(1), tokens)
                media[f"{kind}_features"] = repeat_rows(counts, items, expand_size)
        parent: Any = super()
        input_ids, rest = parent._expand_inputs_for_generation(
            expand_size=expand_size,
            is_encoder_decoder=is_encoder_decoder,
            input_ids=input_ids,
            **model_kwargs,
        )
        return input_ids, {**rest, **media}


def learned_positions(labels_BL: Tensor) -> Tensor:
    """(B, L), true where the next token is learned."""
    return _next(labels_BL) != IGNORED


def _next(labels_bl: Tensor) -> Tensor:
    """The label of the token after each; of none after the last."""
    return nn.functional.pad(labels_bl[:, 1:], (0, 1), value=IGNORED)


def _without_loss_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name != "num_items_in_batch"}
