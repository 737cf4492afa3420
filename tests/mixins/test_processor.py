"""transformers' ProcessorTesterMixin on our processor with the tiny model's tokenizer.

Its media are made on the spot; none is fetched. `LEFT_OUT` names the tests whose assumptions do not
hold here, by the reason; `tests/processing` checks what is true instead.
"""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import clips
import tiny
from PIL import Image
from transformers_tests import test_processing_common
from transformers_tests.test_processing_common import ProcessorTesterMixin

from videollama2 import VideoLlama2Processor

TOKENIZER = tiny.build_tokenizer()
PIXELS = {
    "size": {"height": tiny.IMAGE_SIZE, "width": tiny.IMAGE_SIZE},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "resample": 3,
}


class VideoLlama2ProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = VideoLlama2Processor

    @classmethod
    def setUpClass(cls) -> None:
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        Image.fromarray(clips.frames(1)[0]).save(folder / "picture.png")
        clips.write_video(folder / "clip.mp4")
        clips.write_wav(folder / "sound.wav")
        names = {"images": "picture.png", "videos": "clip.mp4", "audio": "sound.wav"}
        local = {kind: [str(folder / name)] * 2 for kind, name in names.items()}
        common = test_processing_common
        cls.enterClassContext(mock.patch.dict(common.MODALITY_INPUT_DATA, local))
        picture = mock.Mock(return_value=local["images"][0])
        cls.enterClassContext(mock.patch.object(common, "url_to_local_path", picture))
        super().setUpClass()

    @classmethod
    def _setup_from_components(cls) -> Any:
        config = tiny.build_config(TOKENIZER)
        return VideoLlama2Processor.from_config(config, TOKENIZER, PIXELS)

    @staticmethod
    def prepare_processor_dict() -> dict[str, Any]:
        """What `from_config` reads from the config, for processors made of components."""
        return {"patch_size": 7, "image_frames": 8, "has_audio": True}

    def get_component(self, attribute: str, **kwargs: Any) -> Any:
        """AutoVideoProcessor is not to be had without torchvision."""
        if attribute == "video_processor":
            return self.get_processor().video_processor
        return super().get_component(attribute, **kwargs)


_BY_PICTURE = ("0_images", "1_videos")
LEFT_OUT = {
    "preprocessing is the checkpoint's: no scaling or rate of frames is chosen at a call": [
        *(f"test_apply_chat_template_{kind}_{n}" for kind in ("image", "video") for n in (0, 1)),
        *(f"test_apply_chat_template_audio_{n}" for n in (1, 3)),
        "test_apply_chat_template_decoded_video_0",
        "test_apply_chat_template_video_frame_sampling",
        *(f"test_kwargs_overrides_default_subprocessor_kwargs_{kind}" for kind in _BY_PICTURE),
        *(f"test_structured_kwargs_nested_from_dict_{kind}" for kind in _BY_PICTURE),
        *(f"test_subprocessor_defaults_preserved_by_kwargs_{kind}" for kind in _BY_PICTURE),
        *(f"test_unstructured_kwargs_{kind}" for kind in _BY_PICTURE),
        *(f"test_unstructured_kwargs_batched_{kind}" for kind in _BY_PICTURE),
        "test_save_load_pretrained_additional_features",
    ],
    "tensors are PyTorch's": [f"test_apply_chat_template_audio_{n}" for n in (0, 2)],
    "how rows are padded is said at the call, not kept in the tokenizer": [
        "test_subprocessor_defaults_preserved_by_kwargs_2_audio"
    ],
    "templates are the checkpoints' own, which take text; training masks answers itself": [
        "test_chat_template_jinja_kwargs",
        "test_apply_chat_template_assistant_mask",
    ],
    "the call names its options and their defaults, so that they can be seen": [
        "test_call_arguments_default_none",
        "test_call_arguments_not_in_processor_kwargs",
    ],
    "input_features_mask is given where lengths differ": ["test_model_input_names"],
    "AutoVideoProcessor is not to be had without torchvision": [
        "test_processor_from_and_save_pretrained_as_nested_dict"
    ],
}
for name in (name for names in LEFT_OUT.values() for name in names):
    assert callable(getattr(ProcessorTesterMixin, name))
    setattr(VideoLlama2ProcessorTest, name, None)
