"""What transformers asks of each of our models: weights, dtypes, devices, attention."""

import os
from collections.abc import Callable
from inspect import signature
from typing import Any, TypedDict, TypeVar, cast

from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.utils import generic

from videollama2.model.config import VideoLlama2Config
from videollama2.model.hearing import init_module

Method = TypeVar("Method", bound=Callable[..., Any])
_generic: Any = generic  # it is untyped
_mixin: Any = GenerationMixin
_taken = signature(_mixin.prepare_inputs_for_generation).parameters
CACHE = "cache" if "cache" in _taken else "past_key_values"
"""What transformers calls the keys and values of what was read before: `cache` from 5.24 on."""


class LanguageModelOptions(TypedDict, total=False):
    """What `forward` hands on to the language model, among whatever else that takes."""

    output_attentions: bool
    output_hidden_states: bool
    num_items_in_batch: Tensor


def can_return_tuple(method: Method) -> Method:
    """With `return_dict=False`, passed or in the config, the method's output as a tuple."""
    return cast("Method", _generic.can_return_tuple(method))


class VideoLlama2PreTrainedModel(PreTrainedModel):
    """Weights, dtypes and devices: what transformers does for every model."""

    config_class = VideoLlama2Config
    config: VideoLlama2Config
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ["image", "video", "audio", "text"]  # noqa: RUF012  (plain lists are read)
    supports_gradient_checkpointing = True
    _no_split_modules = ["Bottleneck"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values", "cache"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        init_module(module, float(getattr(self.config.text_config, "initializer_range", 0.02)))

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> None:
        """As transformers' own, but parts keep the names that they have in memory.

        transformers would spell them as each family's first files did; of the many such spellings
        our own reading knows those of the released checkpoints and of experts alone.
        """
        kwargs.setdefault("save_original_format", False)
        parent: Any = super()
        parent.save_pretrained(save_directory, *args, **kwargs)

    def set_attn_implementation(
        self, attn_implementation: str | dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        """As transformers' own, which would warn that it found no model of the connector's config.

        The connector has no attention; what its config says of it is set here, for nobody.

        Raises:
            ValueError: a part cannot run with what it is asked to.
        """
        config: Any = self.config.connector_config
        before = config._attn_implementation
        if isinstance(attn_implementation, dict):
            config._attn_implementation = attn_implementation.get("connector_config", before)
        else:
            config._attn_implementation = attn_implementation
        parent: Any = super()
        try:
            parent.set_attn_implementation(attn_implementation, *args, **kwargs)
        except ValueError:
            config._attn_implementation = before
            raise
