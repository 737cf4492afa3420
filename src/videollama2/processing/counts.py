"""How many tokens each medium becomes, told from sizes alone: nothing is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from transformers.processing_utils import MultiModalData

from videollama2.media.sampling import MAX_FRAMES
from videollama2.model.tokens import ConnectorShape, connector_shape

from .batch import Run
from .chat import MEDIA_TOKENS
from .fbank import num_fbank_frames
from .loader import MediaLoader
from .parts import LoadedMedia


@dataclass(frozen=True)
class TokenCounter:
    """The numbers that decide: the connector, the patch grid (rows, columns) of one frame, the
    frames an image runs as, and the filter bank frames and mel bins of one patch of sound.
    """

    shape: ConnectorShape
    grid: tuple[int, int]
    image_frames: int
    num_mel_bins: int
    audio_patch: int

    @classmethod
    def of(
        cls,
        connector_type: str,
        downsample: Sequence[int] | None,
        grid: tuple[int, int],
        image_frames: int,
        num_mel_bins: int,
        audio_patch: int,
    ) -> TokenCounter:
        """From plain numbers; `downsample` None takes the connector type's released value."""
        steps = None if downsample is None else (downsample[0], downsample[1], downsample[2])
        shape = connector_shape(connector_type, steps)
        return cls(shape, grid, image_frames, num_mel_bins, audio_patch)

    def video(self, frames: int) -> int:
        """Tokens of a video of `frames` frames. Raises `ValueError` for too few frames."""
        time, rows, columns = self.shape.output_grid(frames, *self.grid)
        return time * rows * columns

    def image(self) -> int:
        """Tokens of an image, which runs as `image_frames` equal frames."""
        return self.video(self.image_frames)

    def audio(self, frames: int) -> int:
        """Tokens of a sound of `frames` filter bank frames: whole patches only."""
        return (frames // self.audio_patch) * (self.num_mel_bins // self.audio_patch)

    def runs(self, media: LoadedMedia) -> list[Run]:
        """(kind, tokens) of each run of a medium: a video's sound follows its pictures."""
        runs: list[Run] = []
        if media.kind == "image":
            runs.append(("image", self.image()))
        elif media.frames is not None:
            runs.append(("video", self.video(media.frames)))
        if media.encoded_sound is not None:
            runs.append(("audio", len(media.encoded_sound)))
        elif media.features is not None:
            runs.append(("audio", self.audio(len(media.features))))
        return runs


class _Counting(Protocol):
    """What `PlaceholderCounts` needs of the processor that it is mixed into."""

    @property
    def counter(self) -> TokenCounter: ...

    @property
    def loader(self) -> MediaLoader: ...


class PlaceholderCounts:
    """The part of transformers' processor contract that vLLM's transformers backend asks."""

    def replace_image_token(
        self: _Counting, image_inputs: Mapping[str, Any], image_idx: int, **_: Any
    ) -> str:
        """What the `image_idx`-th `<image>` expands to."""
        return MEDIA_TOKENS["image"] * self.counter.image()

    def replace_video_token(
        self: _Counting, video_inputs: Mapping[str, Any], video_idx: int, **_: Any
    ) -> str:
        """What the `video_idx`-th `<video>` expands to, its soundtrack not counted."""
        frames = len(video_inputs["pixel_values_videos"][video_idx])
        return MEDIA_TOKENS["video"] * self.counter.video(frames)

    def replace_audio_token(
        self: _Counting, audio_inputs: Mapping[str, Any], audio_idx: int, **_: Any
    ) -> str:
        """What the `audio_idx`-th `<audio>` expands to."""
        mask = audio_inputs.get("input_features_mask")
        features = audio_inputs["input_features"][audio_idx]
        frames = len(features) if mask is None else int(mask[audio_idx].sum())
        return MEDIA_TOKENS["audio"] * self.counter.audio(frames)

    def _get_num_multimodal_tokens(
        self: _Counting,
        image_sizes: Sequence[Sequence[int]] | None = None,
        video_sizes: Sequence[Sequence[int]] | None = None,
        audio_lengths: Sequence[int] | None = None,
        num_frames: int | None = None,
        **_: Any,
    ) -> MultiModalData:
        """Placeholders of media that are not decoded.

        `image_sizes` (height, width), `video_sizes` (frames, height, width) as given to the
        processor, `audio_lengths` in samples at 16 kHz. Frames are resized to one size, so heights
        and widths change nothing.
        """
        counter, loader = self.counter, self.loader
        data = MultiModalData()
        if image_sizes is not None:
            data.num_image_tokens = [counter.image() for _size in image_sizes]
            data.num_image_patches = [1 for _size in image_sizes]
        if video_sizes is not None:
            wanted = num_frames or loader.num_frames
            # Of frames given as an array, the first 32 are read.
            given = [min(int(size[0]), MAX_FRAMES) for size in video_sizes]
            used = [loader.frames_used(frames, wanted) for frames in given]
            data.num_video_tokens = [counter.video(frames) for frames in used]
        if audio_lengths is not None:
            windows = [loader.samples_heard(int(length)) for length in audio_lengths]
            data.num_audio_tokens = [counter.audio(num_fbank_frames(w)) for w in windows]
        return data
