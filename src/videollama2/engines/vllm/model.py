"""The model in vLLM: our encoders and connectors, vLLM's own language model.

Shapes: T frames, F filter bank frames, D language model width.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUntypedBaseClass=false, reportUntypedClassDecorator=false
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from vllm.model_executor.models.interfaces import SupportsLoRA, SupportsMultiModal, SupportsPP
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.modules import stored_names, tensors_held
from videollama2.checkpoints.names import canonical, to_native
from videollama2.checkpoints.unused import known_unused
from videollama2.engines.vllm.processor import (
    FEATURES,
    PIXELS,
    DummyMedia,
    MediaInfo,
    MediaProcessor,
)
from videollama2.model.encoders import VideoLlama2Encoders
from videollama2.processing.chat import MEDIA_TOKENS
from videollama2.processing.tokens import config_token_ids

_ENCODERS = (
    "model.vision_tower.",
    "model.connector.",
    "model.audio_tower.",
    "model.audio_projector.",
)
_LANGUAGE = "model.language_model."
_STACKED = re.compile(r"^(.*\.experts\.)(gate_up_proj|down_proj)$")

_LoRA: Any = SupportsLoRA
_MultiModal: Any = SupportsMultiModal
_Pipeline: Any = SupportsPP


@MULTIMODAL_REGISTRY.register_processor(MediaProcessor, info=MediaInfo, dummy_inputs=DummyMedia)
class VideoLlama2ForVllm(nn.Module, _MultiModal, _LoRA, _Pipeline):
    """VideoLLaMA 2 of any family. Encoders stand whole on every device; the language model is
    split as vLLM splits it.
    """

    # What an adapter's modules are called, ours and released -> vLLM's.
    hf_to_vllm_mapper: Any = WeightsMapper(
        orig_to_new_prefix={
            "model.language_model.": "language_model.model.",
            "model.layers.": "language_model.model.layers.",
            "lm_head.": "language_model.lm_head.",
        }
    )
    packed_modules_mapping: dict[str, list[str]] = {  # noqa: RUF012  (vLLM reads a plain dict)
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """What stands for a medium in a text."""
        return MEDIA_TOKENS[modality]

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__()
        self.config: Any = vllm_config.model_config.hf_config
        text = self.config.text_config
        text.tie_word_embeddings = self.config.tie_word_embeddings
        self.configure_mm_token_handling(text.vocab_size, list(self._media_ids()))
        with self._mark_tower_model(vllm_config, {"image", "video", "audio"}):
            self.encoders: Any = VideoLlama2Encoders(self.config)
        with self._mark_language_model(vllm_config):
            self.language_model: Any = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=text,
                prefix=maybe_prefix(prefix, "language_model"),
                architectures=[MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[text.model_type]],
            )
        self.packed_modules_mapping = getattr(
            self.language_model, "packed_modules_mapping", self.packed_modules_mapping
        )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors
        self._banned = [id_ for id_ in self._media_ids() if id_ < text.vocab_size]

    def _media_ids(self) -> Iterable[int]:
        return config_token_ids(self.config).values()

    # --- media ---

    def embed_multimodal(self, **fields: Any) -> list[Tensor]:
        """The tokens (tokens, D) of each item: encoders run once an item, whatever the batch."""
        if fields.get(PIXELS["image"]) is not None:
            return [self._image(item) for item in fields[PIXELS["image"]]]
        if fields.get(PIXELS["video"]) is not None:
            sounds = fields[FEATURES["video"]]
            return [
                self._video(pixels, sound)
                for pixels, sound in zip(fields[PIXELS["video"]], sounds, strict=True)
            ]
        return [self._sound(item) for item in fields.get(FEATURES["audio"], ())]

    def _image(self, pixels: Tensor) -> Tensor:
        return self.encoders.get_image_features(pixels[None], return_dict=True).pooler_output[0]

    def _video(self, pixels: Tensor, sound: Tensor) -> Tensor:
        tokens = self.encoders.get_video_features(pixels[None], return_dict=True).pooler_output[0]
        return torch.cat([tokens, self._sound(sound)]) if len(sound) else tokens

    def _sound(self, features: Tensor) -> Tensor:
        return self.encoders.get_audio_features(features[None], return_dict=True).pooler_output[0]

    # --- the language model ---

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **_: object,
    ) -> Any:
        """Hidden states of the language model's trunk."""
        if intermediate_tensors is not None:
            inputs_embeds = None
        return self.language_model.model(
            input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds
        )

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Next-token logits; the placeholders of media are never written."""
        logits: Tensor | None = self.language_model.compute_logits(hidden_states)
        if logits is not None and self._banned:
            logits[..., self._banned] = float("-inf")
        return logits

    def get_mm_mapping(self) -> Any:
        """Which modules adapters may change."""
        return MultiModelKeys.from_string_field(
            language_model="language_model", tower_model="encoders", connector="encoders.connector"
        )

    # --- weights ---

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Take in a checkpoint's tensors, under our names or released ones.

        Raises:
            CheckpointError: a parameter is missing, unexpected or wrongly shaped.
        """
        waiting = self._encoder_slots()
        unused = known_unused(self.config)
        unexpected: list[str] = []

        def language(named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
            for given, tensor in named:
                name = canonical(to_native(given))
                if not name.startswith(_ENCODERS):
                    yield from self._language_tensors(name, tensor)
                elif name in waiting:
                    _fill(given, waiting.pop(name), tensor)
                elif not unused(name, tensor):  # pyright: ignore[reportArgumentType]
                    unexpected.append(given)

        loaded: set[str] = self.language_model.load_weights(language(weights))
        parameters = {name for name, _ in self.language_model.named_parameters()}
        missing = sorted({*waiting, *(parameters - loaded)})
        if missing or unexpected:
            raise CheckpointError(
                "the checkpoint",
                f"lacks {_listed(missing)} and has {_listed(unexpected)} too much",
                "Load it with videollama2 ask first, which says what is wrong with it",
            )
        return {name for name, _ in self.named_parameters()}

    def _encoder_slots(self) -> dict[str, list[Tensor]]:
        """By our name, everything of the encoders that a checkpoint holds; shared ones once."""
        stored = stored_names(self.encoders)
        slots: dict[str, list[Tensor]] = {}
        seen: set[int] = set()
        for held in tensors_held(self.encoders):
            if held.name in stored and id(held.value) not in seen:
                seen.add(id(held.value))
                slots[canonical(f"model.{held.name}")] = [held.value]
        return slots

    def _language_tensors(self, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Under the names that vLLM's language models read: those of the families' own files."""
        if name.startswith(_LANGUAGE):
            name = f"model.{name.removeprefix(_LANGUAGE)}"
        if self.config.text_config.model_type != "mixtral":
            yield name, tensor
            return
        name = name.replace(".mlp.", ".block_sparse_moe.", 1)
        stacked = _STACKED.match(name)
        if stacked is None:
            yield name, tensor
            return
        for number, expert in enumerate(tensor):
            parts = {"w2": expert}
            if stacked[2] == "gate_up_proj":
                parts = dict(zip(("w1", "w3"), expert.chunk(2), strict=True))
            for part, matrix in parts.items():
                yield f"{stacked[1]}{number}.{part}.weight", matrix


def _fill(name: str, slots: Sequence[Tensor], tensor: Tensor) -> None:
    for slot in slots:
        if slot.shape != tensor.shape:
            raise CheckpointError(
                name, f"is {tuple(tensor.shape)} and should be {tuple(slot.shape)}"
            )
        with torch.no_grad():
            slot.copy_(tensor)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "nothing"
