"""`BeatsFeatureExtractor`: waveforms -> log mel energies, in transformers' form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from transformers import BatchFeature
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from .fbank import NUM_MEL_BINS, SAMPLING_RATE, fbank
from .sound import WINDOW_S, native_window, released_file_window


class BeatsFeatureExtractor(SequenceFeatureExtractor):
    """The filter bank that BEATs hears, at 16 kHz.

    `media_mode` "released" zero-pads every sound to 30 s; "native" pads nothing but a batch, and
    masks that. `chunk_length` is the longest sound in seconds; `patch` the frames of one token.
    """

    model_input_names = ["input_features", "input_features_mask"]  # noqa: RUF012

    def __init__(
        self,
        feature_size: int = NUM_MEL_BINS,
        sampling_rate: int = SAMPLING_RATE,
        padding_value: float = 0.0,
        chunk_length: float = WINDOW_S,
        patch: int = 16,
        media_mode: str = "native",
        **kwargs: Any,
    ) -> None:
        if sampling_rate != SAMPLING_RATE:
            raise ValueError(f"the filter bank is made at {SAMPLING_RATE} Hz, not {sampling_rate}")
        if media_mode not in ("native", "released"):
            raise ValueError(f"media_mode is {media_mode!r}; it is native or released")
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            feature_size=feature_size,
            sampling_rate=sampling_rate,
            padding_value=padding_value,
            **kwargs,
        )
        self.chunk_length = chunk_length
        self.patch = patch
        self.media_mode = media_mode

    def __call__(self, raw_speech: Any, sampling_rate: int | None = None, **_: Any) -> BatchFeature:
        """Waveforms, each (samples,) at 16 kHz -> `input_features` (items, frames, mel bins).

        With `input_features_mask` (items, frames) where lengths differ. Raises `ValueError` for
        another sampling rate.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise ValueError(f"sounds are taken at {self.sampling_rate} Hz, not {sampling_rate}")
        several = isinstance(raw_speech, (list, tuple)) and np.ndim(cast(Any, raw_speech)[0]) > 0
        waveforms = cast(Sequence[Any], raw_speech if several else [raw_speech])
        return BatchFeature(pad_features([self.features(waveform) for waveform in waveforms]))

    def features(self, waveform: Any) -> torch.Tensor:
        """One waveform (samples,) at 16 kHz -> (frames, mel bins)."""
        samples = np.asarray(waveform, dtype=np.float32)
        if self.media_mode == "released":
            window = released_file_window(samples, self.sampling_rate)
        else:
            window = native_window(samples, self.chunk_length, self.patch)
        return fbank(torch.as_tensor(window), self.feature_size)


def pad_features(features: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """(frames, mel bins) each -> `input_features` (items, longest, mel bins).

    Where lengths differ, `input_features_mask` (items, longest) is 1 on what is no padding.
    """
    padded = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True)
    if len({len(item) for item in features}) == 1:
        return {"input_features": padded}
    lengths = torch.tensor([len(item) for item in features])
    mask = torch.arange(padded.shape[1])[None] < lengths[:, None]
    return {"input_features": padded, "input_features_mask": mask.long()}
