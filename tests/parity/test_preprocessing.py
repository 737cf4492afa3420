"""Frames, pixel values and filter banks against the released code's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from videollama2.media.audio import read_audio, read_waveform
from videollama2.media.errors import NoAudioStreamError
from videollama2.media.sampling import fps_indices, soundtrack_slices, uniform_indices
from videollama2.media.video import read_video
from videollama2.processing.fbank import fbank
from videollama2.processing.pixels import PixelSettings, black_frame, to_pixels
from videollama2.processing.sound import (
    WINDOW_SAMPLES,
    released_file_window,
    released_soundtrack_window,
)

# Rows of a recorded filter bank that lie past the end of the sound.
ROWS_PAST_THE_END = 8


def off_by_grey_levels(found: torch.Tensor, wanted: torch.Tensor, std: Any) -> float:
    """The largest difference between pixel values (T, 3, H, W), in 1/255 of full scale."""
    assert found.shape == wanted.shape
    grey = (found - wanted.float()).abs() * 255 * torch.tensor(std).view(1, 3, 1, 1)
    return float(grey.max())


def assert_within_bfloat16(found: torch.Tensor, wanted: torch.Tensor, slack: float) -> None:
    """Every value of `wanted` is `found` rounded to bfloat16, give or take `slack`.

    The slack is for bands that hold next to nothing beside loud ones: there float32 (in which the
    released code works on soundtracks) leaves less than bfloat16's few digits.
    """
    wanted = wanted.float()
    assert found.shape == wanted.shape
    half_step = 2.0 ** (wanted.abs().clamp_min(1e-30).log2().floor() - 8)
    excess = (found - wanted).abs() - half_step
    assert float(excess.max()) <= slack
    exact = found.to(torch.bfloat16).float() == wanted
    assert float(exact.float().mean()) > 0.99


def test_pixels_are_the_released_ones_within_half_a_grey_level(
    pixels_key: str, preprocessing: Any
) -> None:
    _, size, tower, geometry = pixels_key.split(".")
    frames = list(preprocessing[f"frames.{size}"].numpy())
    wanted = preprocessing[pixels_key]
    asked = preprocessing.tower_settings(tower, wanted.shape[-1])
    settings = PixelSettings.from_processor(asked, geometry)
    while len(frames) < len(wanted):
        frames.append(black_frame(frames[-1]))
    assert off_by_grey_levels(to_pixels(frames, settings), wanted, settings.image_std) <= 0.5


def test_fbank_of_a_sound_file_is_the_released_one(sound_key: str, preprocessing: Any) -> None:
    _, name, rate = sound_key.split(".")
    samples = preprocessing[sound_key].numpy() / 32768.0
    wanted = preprocessing[f"fbank.{name}"]
    found = fbank(torch.from_numpy(released_file_window(samples, int(rate))))
    assert len(found) == int(preprocessing[f"fbank.{name}.length"])
    within = len(wanted) - ROWS_PAST_THE_END
    assert_within_bfloat16(found[:within], wanted[:within], slack=1e-3)


def test_frame_indices_are_the_released_ones(index_list: str, preprocessing: Any) -> None:
    for case in preprocessing.lists[index_list]:
        total = case["duration"]
        if "fps" in case:
            found = fps_indices(total, case["fps"], max_frames=total)
        else:
            found = uniform_indices(total, case["num_frames"])
        assert found == case["indices"], case


def test_soundtrack_slices_are_the_released_ones(slice_list: str, preprocessing: Any) -> None:
    for case in preprocessing.lists[slice_list]:
        found = [list(piece) for piece in soundtrack_slices(case["samples"])]
        assert found == case["slices"], case["samples"]


def test_pixels_of_a_clip_are_the_released_ones(
    clip_pixels_key: str, preprocessing: Any, media_folder: Path
) -> None:
    clip, tower, geometry, frames, *time_range = clip_pixels_key.split("|")
    start, end = (
        (float(s) for s in time_range[0].removesuffix("s").split("-"))
        if time_range
        else (None, None)
    )
    wanted = preprocessing[clip_pixels_key]
    asked = preprocessing.tower_settings(tower, wanted.shape[-1])
    settings = PixelSettings.from_processor(asked, geometry)
    read = read_video(str(media_folder / clip), num_frames=int(frames), start=start, end=end)
    found = to_pixels(read.frames, settings)
    # Recorded in float16: half of its step at these values, in grey levels.
    rounding = float(wanted.float().abs().max()) * 2.0**-11 * 255 * max(settings.image_std)
    assert off_by_grey_levels(found, wanted, settings.image_std) <= 0.5 + rounding


def test_fbank_of_a_soundtrack_is_the_released_one(
    soundtrack_key: str, preprocessing: Any, media_folder: Path
) -> None:
    clip = soundtrack_key.split("|")[0]
    try:
        window = released_soundtrack_window(read_audio(str(media_folder / clip)).waveform)
    except NoAudioStreamError:
        window = np.zeros(WINDOW_SAMPLES, dtype=np.float32)
    found = fbank(torch.from_numpy(window))[None]
    assert_within_bfloat16(found, preprocessing[soundtrack_key], slack=2e-2)


def test_fbank_of_a_real_sound_file_is_the_released_one(
    sound_file_key: str, preprocessing: Any, media_folder: Path
) -> None:
    name = sound_file_key.split("|")[0]
    samples, rate = read_waveform(str(media_folder / name))
    found = fbank(torch.from_numpy(released_file_window(samples, rate)))[None]
    assert_within_bfloat16(found, preprocessing[sound_file_key], slack=1e-3)
