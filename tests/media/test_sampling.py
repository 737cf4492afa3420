"""Sampling against the released code's recorded numbers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.media.sampling import (
    fps_indices,
    frame_range,
    soundtrack_slices,
    uniform_indices,
)

RECORDED = json.loads(
    (Path(__file__).parents[1] / "recorded" / "preprocessing_small.json").read_text()
)
UNIFORM = [entry for entry in RECORDED["frame_sampling"] if "num_frames" in entry]
FPS = [entry for entry in RECORDED["frame_sampling"] if "fps" in entry]


@pytest.mark.parametrize("entry", UNIFORM, ids=lambda e: f"{e['num_frames']}of{e['duration']}")
def test_uniform_indices_are_the_recorded_ones(entry):
    assert uniform_indices(entry["duration"], entry["num_frames"]) == entry["indices"]


@pytest.mark.parametrize("entry", FPS, ids=lambda e: f"{e['fps']}of{e['duration']}")
def test_fps_indices_are_the_recorded_ones(entry):
    assert fps_indices(entry["duration"], entry["fps"], max_frames=None) == entry["indices"]
    assert fps_indices(entry["duration"], entry["fps"]) == entry["indices"][:32]


@pytest.mark.parametrize(
    "entry", RECORDED["soundtrack_clips_16khz"], ids=lambda e: str(e["samples"])
)
def test_soundtrack_slices_are_the_recorded_ones(entry):
    assert [list(s) for s in soundtrack_slices(entry["samples"])] == entry["slices"]


def test_further_released_numbers():
    assert uniform_indices(300, 16) == [
        9, 28, 47, 65, 84, 103, 121, 140, 159, 178, 196, 215, 234, 252, 271, 290,
    ]  # fmt: skip
    assert uniform_indices(1, 8) == [0] * 8
    assert fps_indices(100, 25.0) == [12, 37, 62, 87]
    assert fps_indices(100, 29.97) == [14, 43, 72]
    assert fps_indices(10, 25.0) == [5]
    assert fps_indices(3, 0.5) == [0, 1, 2]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, (0, 99)),
        (1.0, 3.5, (24, 86)),
        (3.5, 1.0, (24, 86)),
        (2.0, 2.0, (49, 74)),
        (-1.0, 2.0, (0, 49)),
        (0.0, 100.0, (0, 99)),
        (1.0, None, (24, 99)),
        (None, 1.0, (0, 24)),
        (None, 0.0, (0, -1)),
    ],
)
def test_frame_range_follows_the_released_rule(start, end, expected):
    assert frame_range(100, 25.0, start, end) == expected


@given(st.integers(1, 100_000), st.integers(1, 200))
def test_uniform_indices_lie_in_order_inside_the_clip(total, num_frames):
    indices = uniform_indices(total, num_frames)
    assert len(indices) == num_frames
    assert indices == sorted(indices)
    assert indices[0] >= 0
    assert indices[-1] < total


@given(st.integers(1, 100_000), st.floats(0.01, 1000))
def test_fps_indices_lie_in_order_inside_the_clip(total, fps):
    indices = fps_indices(total, fps)
    assert 1 <= len(indices) <= 32
    assert indices == sorted(set(indices))
    assert indices[-1] < total


@pytest.mark.parametrize("call", [lambda: uniform_indices(0, 8), lambda: fps_indices(0, 25.0)])
def test_no_frames_is_an_error(call):
    with pytest.raises(ValueError, match="needs frames"):
        call()
