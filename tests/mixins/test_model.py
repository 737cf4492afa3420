"""transformers' ModelTesterMixin and ConfigTester on a tiny model that sees and hears.

One video, one image and one sound a row. Left out, for a reason:

- `test_generation_tester_mixin_inheritance`: the mixin that it asks for is not in the source
  distribution; `tests/model/test_generate.py` checks what it checks.

With another config, for a reason (`OTHER_CONFIGS`):

- `test_training_gradient_checkpointing*`, without the tag head: it is no part of the way to an
  answer (`tag_sound` reads it), so that no loss of the language model reaches it.
- `test_model_rope_scaling_from_config*`, with placeholders past the vocabulary, as they are
  without a tokenizer: the test draws any word of the vocabulary, and gives no media.
- `test_base_model_prefix_loads_base_weights`, without ears: transformers renames every parameter
  called `weight_g` or `weight_v` to what torch's own weight norm has now, and takes that back
  only where the name is in the model as it stands, not where the base model's prefix is missing
  too. The names are the released ones.
"""

from __future__ import annotations

import copy
import unittest
from typing import Any

import torch
from transformers.models.auto import modeling_auto
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor

from videollama2 import VideoLlama2Config, VideoLlama2ForConditionalGeneration, VideoLlama2Model
from videollama2.model.tokens import num_audio_tokens, num_image_tokens, num_video_tokens

# The mixin looks into the tables of names that transformers' own models stand in.
modeling_auto.MODEL_MAPPING_NAMES["videollama2"] = "VideoLlama2Model"
modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES["videollama2"] = (
    "VideoLlama2ForConditionalGeneration"
)

MEDIA_IDS = {"video_token_id": 3, "image_token_id": 4, "audio_token_id": 5}
TEXT = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 99,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Two of three layers are read, as the released configs read all but the last.
VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
}
AUDIO = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "patch_embedding_size": 16,
    "num_mel_bins": 32,
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "num_buckets": 8,
    "max_distance": 16,
    "layer_drop": 0.0,
    "num_sound_classes": 5,
}
SETTINGS: dict[str, Any] = {
    "text_config": TEXT,
    "vision_config": VISION,
    "audio_config": AUDIO,
    "connector_config": {"connector_type": "stc_connector_v35", "depth": 1},
    "num_frames": 4,
    **MEDIA_IDS,
}

OTHER_CONFIGS: dict[str, dict[str, Any]] = {
    "test_training_gradient_checkpointing": {"audio_config": {**AUDIO, "num_sound_classes": 0}},
    "test_model_rope_scaling_from_config": dict.fromkeys(MEDIA_IDS),
    "test_base_model_prefix_loads_base_weights": {"audio_config": None},
}


class ModelTester:
    """The config and inputs that the mixin asks for."""

    batch_size = 7  # rows that the mixin would add by itself hold no media
    num_hidden_layers = 2
    num_attention_heads = 4
    hidden_size = 32
    vocab_size = 99
    is_training = True

    def __init__(self, test_name: str) -> None:
        changed = [other for name, other in OTHER_CONFIGS.items() if test_name.startswith(name)]
        self.settings = {**SETTINGS, **(changed[0] if changed else {})}
        config = self.get_config()
        self.runs = [
            (config.video_token_id, num_video_tokens(config, 4)),
            (config.image_token_id, num_image_tokens(config)),
        ]
        if config.audio_config is not None:
            self.runs.append((config.audio_token_id, num_audio_tokens(config.audio_config, 64)))
        self.seq_length = 7 + sum(length for _, length in self.runs)
        self.encoder_seq_length = self.seq_length

    def get_config(self) -> VideoLlama2Config:
        return VideoLlama2Config(**copy.deepcopy(self.settings))

    def prepare_config_and_inputs_for_common(self) -> tuple[VideoLlama2Config, dict[str, Any]]:
        rows = self.batch_size
        ids = ids_tensor([rows, self.seq_length], self.vocab_size - 6) + 6
        start = 3
        for token_id, length in self.runs:
            ids[:, start : start + length] = token_id
            start += length
        return self.get_config(), {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values_videos": floats_tensor([rows, 4, 3, 28, 28]),
            "pixel_values": floats_tensor([rows, 3, 28, 28]),
            "input_features": floats_tensor([rows, 64, 32]),
        }


class VideoLlama2Test(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (VideoLlama2Model, VideoLlama2ForConditionalGeneration)
    additional_model_inputs = ("pixel_values_videos", "pixel_values", "input_features")
    _is_composite = True

    def setUp(self) -> None:
        self.model_tester = ModelTester(self._testMethodName)
        self.config_tester = ConfigTester(
            self, config_class=VideoLlama2Config, has_text_modality=False, **MEDIA_IDS, num_frames=4
        )

    def test_config(self) -> None:
        self.config_tester.run_common_tests()

    test_generation_tester_mixin_inheritance = None
