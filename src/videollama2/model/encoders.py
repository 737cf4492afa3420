"""Eyes and ears: the encoders of media, and what makes language model tokens of their features.

Media come as items (over the whole batch, in the order of their runs in `input_ids`).
Shapes: T frames, F filter bank frames, M mel bins, C width of an encoder, D language model width.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from videollama2.model.beats import BeatsTrace
from videollama2.model.config import BeatsConfig, VideoLlama2Config
from videollama2.model.connector import build_audio_projector, build_connector
from videollama2.model.encoded import Features, media_output, stack_if_equal, wanted_outputs
from videollama2.model.hearing import AudioTower
from videollama2.model.pretrained import VideoLlama2PreTrainedModel, can_return_tuple
from videollama2.model.tensors import integers, unflatten
from videollama2.model.tokens import mlp_depth, num_audio_tokens
from videollama2.model.vision import build_vision_tower, run_tower, select_patches

# What is given of media: raw, as tokens, or as encoders left it before the connector.
MEDIA_INPUTS = (
    "pixel_values_videos",
    "pixel_values",
    "input_features",
    "input_features_mask",
    "video_features",
    "image_features",
    "audio_features",
    "encoded_videos",
    "encoded_images",
    "encoded_sounds",
)


class VideoLlama2Encoders(VideoLlama2PreTrainedModel):
    """Vision tower and connector, audio tower and projector; what the trunk begins with."""

    def __init__(self, config: VideoLlama2Config) -> None:
        super().__init__(config)  # pyright: ignore[reportUnknownMemberType]
        connector = config.connector_config
        if config.vision_feature_select != "patch" and mlp_depth(connector.connector_type) is None:
            raise ValueError(
                f"vision_feature_select is {config.vision_feature_select!r}, and "
                f"{connector.connector_type} takes a grid of patches without a class token: "
                "say patch, or take another connector (mlp2x_gelu)"
            )
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
        self.audio_tower = None if audio is None else AudioTower(audio)
        self.audio_projector = (
            None
            if audio is None
            else build_audio_projector(
                config.audio_projector_type, audio.hidden_size, config.text_config.hidden_size
            )
        )

    def encode_frames(self, pixels: Tensor) -> Tensor:
        """(items, T, 3, H, W) -> (items, T, patches, C): the vision tower's selected features."""
        return self._see(pixels, {})[0]

    def _see(self, pixels: Tensor, wanted: dict[str, bool]) -> tuple[Tensor, Any]:
        """What `encode_frames` gives, and the tower's own output over all frames."""
        parameter = next(self.vision_tower.parameters())
        flat = pixels.flatten(0, 1).to(parameter.device, parameter.dtype)
        side = int(self.config.vision_config.patch_size)
        output = run_tower(self.vision_tower, flat, side, **wanted)
        patches = (flat.shape[-2] // side) * (flat.shape[-1] // side)
        select = self.config.vision_feature_select
        features = select_patches(output.last_hidden_state, patches, select)
        return unflatten(features, 0, tuple(pixels.shape[:2])), output

    def join_frames(self, encoded: Features) -> Features:
        """(items, T, patches, C) from `encode_frames` -> (items, tokens, D), as the connector does.

        From a list of (T, patches, C) whose T differs comes a list of (tokens, D).
        """
        parameter = next(self.connector.parameters(), None)
        if isinstance(encoded, Tensor):
            return self.connector(encoded if parameter is None else encoded.to(parameter))
        return stack_if_equal([cast("Tensor", self.join_frames(clip[None]))[0] for clip in encoded])

    def project_sounds(self, encoded: Features) -> Features:
        """(items, tokens, C) from the audio tower, or a list -> (items, tokens, D), or a list."""
        _, _, projector = self._audio_branch()
        parameter = next(projector.parameters())
        if isinstance(encoded, Tensor):
            return projector(encoded.to(parameter))
        return stack_if_equal([projector(sound[None].to(parameter))[0] for sound in encoded])

    @can_return_tuple
    def get_video_features(
        self,
        pixel_values_videos: Features,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **_: Any,
    ) -> Any:
        """(items, T, 3, H, W) -> `.pooler_output` (items, tokens, D).

        `.last_hidden_state` (items, T, patches, C) is what the connector was given.
        From a list of (T, 3, H, W) whose T differ come lists, of (tokens, D) and (T, patches, C).
        `.hidden_states` and `.attentions`, if asked for, are the tower's, over all frames.
        """
        wanted = wanted_outputs(self.config.vision_config, output_hidden_states, output_attentions)
        if isinstance(pixel_values_videos, Tensor):
            frames, output = self._see(pixel_values_videos, wanted)
            return media_output(self.connector(frames), frames, [output])
        seen = [self._see(clip[None], wanted) for clip in pixel_values_videos]
        items = [self.connector(frames)[0] for frames, _ in seen]
        states = [frames[0] for frames, _ in seen]
        outputs = [output for _, output in seen]
        return media_output(stack_if_equal(items), stack_if_equal(states), outputs)

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: Features,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **_: Any,
    ) -> Any:
        """(items, 3, H, W) or a list of (3, H, W) -> `.pooler_output` (items, tokens, D).

        An image runs as `config.num_frames` equal frames, as released; the tower sees it once:
        `.last_hidden_state` is (items, patches, C).
        """
        wanted = wanted_outputs(self.config.vision_config, output_hidden_states, output_attentions)
        images = pixel_values if isinstance(pixel_values, Tensor) else torch.stack([*pixel_values])
        features, output = self._see(images[:, None], wanted)
        frames = features.expand(-1, self.config.num_frames, -1, -1)
        return media_output(self.connector(frames), features[:, 0], [output])

    @can_return_tuple
    def get_audio_features(
        self,
        input_features: Tensor,
        input_features_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **_: Any,
    ) -> Any:
        """(items, F, M), mask (items, F) -> `.pooler_output` (items, tokens, D).

        Where the mask gives items different lengths, a list of (tokens, D).
        `.last_hidden_state` (items, most tokens, E) is what the projector was given.

        Raises:
            ValueError: the model has no audio branch.
        """
        config, tower, projector = self._audio_branch()
        wanted = wanted_outputs(config, output_hidden_states, output_attentions)
        mask = input_features_mask.bool() if input_features_mask is not None else None
        if mask is not None and (not config.mask_padding or bool(mask.all())):
            mask = None
        if any(wanted.values()):
            heard = tower.trace(
                input_features,
                mask,
                hidden_states=wanted["output_hidden_states"],
                attentions=wanted["output_attentions"],
            )
        else:  # by its call, which hooks (a tower on another device) hang on
            heard = BeatsTrace(tower(input_features, mask))
        tokens: Features = projector(heard.tokens)
        if mask is not None:
            counts = [num_audio_tokens(config, frames) for frames in integers(mask.sum(1))]
            items = [row[:count] for row, count in zip(tokens, counts, strict=True)]
            tokens = stack_if_equal(items)
        return media_output(tokens, heard.tokens, [heard])

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

    def _audio_branch(self) -> tuple[BeatsConfig, AudioTower, nn.Module]:
        config = self.config.audio_config
        if config is None or self.audio_tower is None or self.audio_projector is None:
            raise ValueError(
                "this model has no audio branch: use a checkpoint with one (VideoLLaMA2.1-7B-AV)"
            )
        return config, self.audio_tower, self.audio_projector

    def encode_media(
        self,
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
    ) -> dict[str, Sequence[Tensor]]:
        """The tokens (tokens, D) of each item of each kind that is given, whatever it is given as.

        Arguments as of `VideoLlama2Model.forward`.
        """
        if video_features is None and encoded_videos is not None:
            video_features = self.join_frames(encoded_videos)
        if image_features is None and encoded_images is not None:
            frames = encoded_images[:, None].expand(-1, self.config.num_frames, -1, -1)
            image_features = self.join_frames(frames)
        if audio_features is None and encoded_sounds is not None:
            audio_features = self.project_sounds(encoded_sounds)
        if video_features is None and pixel_values_videos is not None:
            output = self.get_video_features(pixel_values_videos, return_dict=True)
            video_features = output.pooler_output
        if image_features is None and pixel_values is not None:
            image_features = self.get_image_features(pixel_values, return_dict=True).pooler_output
        if audio_features is None and input_features is not None:
            output = self.get_audio_features(input_features, input_features_mask, return_dict=True)
            audio_features = output.pooler_output
        given = {"video": video_features, "image": image_features, "audio": audio_features}
        return {kind: list(items) for kind, items in given.items() if items is not None}
