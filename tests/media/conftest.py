"""Clips that the tests of this room share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from media_clips import write_clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A folder for clips that several tests share."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def clip(clips) -> Path:
    """One H.264 clip with B-frames and AAC sound: 40 frames, 1.6 s."""
    return write_clip(clips / "clip.mp4", audio="aac")
