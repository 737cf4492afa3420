"""A path, URL, bytes or arrays -> frames and sound. Knows nothing of models.

Readers: `read_video`, `read_audio`, `read_waveform`, `read_image`, `probe`. They take whatever
`open_source` takes, and raise a `MediaError` that names the file, the reason and a remedy.
"""

from .audio import Sound, read_audio, read_waveform
from .errors import (
    CorruptMediaError,
    EmptyMediaError,
    EmptyRangeError,
    MediaError,
    MediaFetchError,
    MediaNotFoundError,
    MediaTooLargeError,
    NoAudioStreamError,
    NoVideoStreamError,
    TruncatedMediaError,
    UnsupportedMediaError,
)
from .image import read_image
from .limits import DEFAULT_LIMITS, MediaLimits
from .probe import Probe, probe
from .sampling import fps_indices, frame_range, soundtrack_slices, uniform_indices
from .source import Source, open_source
from .video import VideoClip, read_video

__all__ = [
    "DEFAULT_LIMITS",
    "CorruptMediaError",
    "EmptyMediaError",
    "EmptyRangeError",
    "MediaError",
    "MediaFetchError",
    "MediaLimits",
    "MediaNotFoundError",
    "MediaTooLargeError",
    "NoAudioStreamError",
    "NoVideoStreamError",
    "Probe",
    "Sound",
    "Source",
    "TruncatedMediaError",
    "UnsupportedMediaError",
    "VideoClip",
    "fps_indices",
    "frame_range",
    "open_source",
    "probe",
    "read_audio",
    "read_image",
    "read_video",
    "read_waveform",
    "soundtrack_slices",
    "uniform_indices",
]
