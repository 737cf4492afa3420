"""The audio tower: BEATs as a model of transformers, built from its config."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from videollama2.model.beats import Beats, BeatsTrace, WeightNormConv
from videollama2.model.config import BeatsConfig


def beats_settings(config: BeatsConfig) -> dict[str, Any]:
    """What `Beats` is built from, as its config says."""
    return {
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "input_patch_size": config.input_patch_size,
        "patch_embedding_size": config.patch_embedding_size,
        "conv_pos": config.conv_pos,
        "conv_pos_groups": config.conv_pos_groups,
        "num_buckets": config.num_buckets,
        "max_distance": config.max_distance,
        "layer_norm_eps": config.layer_norm_eps,
        "deep_norm": config.deep_norm,
        "num_sound_classes": config.num_sound_classes,
        "layer_drop": config.layer_drop,
        "layerwise_gradient_decay": config.layerwise_gradient_decay,
        "fbank_mean": config.fbank_mean,
        "fbank_std": config.fbank_std,
    }


def beats_from_config(config: BeatsConfig) -> Beats:
    """Plain BEATs, as the config describes it."""
    return Beats(**beats_settings(config))


@torch.no_grad()
def init_module(module: nn.Module, std: float) -> None:
    """Draw the parameters of one module of ours: BEATs, connectors, projectors, output layer."""
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


class AudioTower(Beats, PreTrainedModel):
    """BEATs with its config: which attention it runs with can be chosen and seen there.

    Its bias differs from query to query, which of the fused kernels torch's own takes alone:
    whatever the language model is asked to run with, BEATs runs "eager" or "sdpa".
    """

    config_class = BeatsConfig
    config: BeatsConfig
    main_input_name = "fbank_BFM"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    _no_split_modules = ["BeatsLayer"]  # noqa: RUF012  (a plain list is read)
    _supports_sdpa = True

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__(**beats_settings(config), config=config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        init_module(module, self.config.initializer_range)

    def get_correct_attn_implementation(
        self, requested_attention: str | None, is_init_check: bool = False
    ) -> str:
        """What BEATs runs with where `requested_attention` is asked for.

        Raises:
            ValueError: transformers knows no such implementation.
        """
        if requested_attention not in (None, "eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()):
            return super().get_correct_attn_implementation(requested_attention, is_init_check)
        return "eager" if requested_attention == "eager" else "sdpa"

    def trace(
        self,
        fbank_BFM: Tensor,
        mask_BF: Tensor | None = None,
        *,
        fused: bool = True,
        hidden_states: bool = False,
        attentions: bool = False,
    ) -> BeatsTrace:
        """As `Beats.trace`, with the attention that the config chooses."""
        fused = fused and self.config._attn_implementation != "eager"  # pyright: ignore[reportPrivateUsage]
        return super().trace(
            fbank_BFM, mask_BF, fused=fused, hidden_states=hidden_states, attentions=attentions
        )
