"""What a server may take on, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from videollama2.media.limits import MediaLimits

MIB = 1024**2
ANY_HOST = "*"
PICTURES = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
CODECS = frozenset(
    (
        "h264", "hevc", "av1", "libdav1d", "vp8", "libvpx", "vp9", "libvpx-vp9", "mpeg4",
        "mpeg2video", "mpeg1video", "h263", "mjpeg", "msmpeg4", "msmpeg4v2", "wmv1", "wmv2", "wmv3",
        "vc1", "flv", "theora", "prores", "ffv1", "rawvideo", "png", "gif",
        "aac", "aac_latm", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "opus", "libopus",
        "vorbis", "flac", "alac", "wmav1", "wmav2", "amrnb", "amrwb", "libopencore_amrnb",
        "libopencore_amrwb", "gsm", "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav",
        "adpcm_ima_qt", "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be",
        "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be",
    )
)  # fmt: skip
"""The decoders that requests reach: what cameras, phones, browsers and editors write. JPEG 2000,
screen and game codecs are left out."""


@dataclass(frozen=True)
class MediaRules:
    """Where media may come from and how large they may be.

    `hosts` whose addresses are fetched (none by default; `ANY_HOST` for every public one),
    `local_root` the folder whose files requests may name (None: none). `max_items` a request,
    `max_frames` a clip. `limits` hold for each medium.
    """

    hosts: tuple[str, ...] = ()
    local_root: Path | None = None
    max_items: int = 8
    max_frames: int = 64
    limits: MediaLimits = field(
        default_factory=lambda: MediaLimits(
            max_bytes=512 * MIB,
            max_memory_bytes=48 * MIB,
            max_pixels=4096 * 4096,
            max_duration_s=1800.0,
            max_frames_in_memory=256,
            max_decoded_bytes=1024 * MIB,
            max_clip_frames=250_000,
            max_audio_samples=16_000 * 1800,
            max_decoded_samples=48_000 * 8 * 1800,
            codecs=CODECS,
            pictures=PICTURES,
            fetch_timeout_s=20.0,
            allow_files=False,
        )
    )


@dataclass(frozen=True)
class ServerSettings:
    """Everything about a server but the model itself.

    `num_frames` are taken of a clip whose request does not say (None: as the model was trained).
    `api_key` None lets any key pass. Requests to a host of another name than `names` are refused
    (None: none is). At most `max_requests` are under way (waiting or being answered) and their
    bodies hold at most `max_held_bytes`; what comes on top is refused with 429.
    `max_rows` answers are decoded together. A body has `max_body_bytes` and arrives within
    `body_timeout_s`; a request is answered within `deadline_s`; after SIGTERM what is under way has
    `drain_s`. `readers` processes read media, each medium in at most `read_timeout_s` and
    `reader_memory_bytes`; what was read and is not encoded yet takes at most `max_read_bytes`, and
    requests wait for their turn. Encoded clips are kept in `cache_bytes`, apart for each key if
    `cache_per_key`; keys and values of prompts and answers in `prefix_bytes`, not at all then.
    `page` says whether there is one for people at `/`; what they upload to it holds at most
    `max_upload_bytes` and is deleted after an hour.
    """

    model_name: str = "starter"
    num_frames: int | None = None
    api_key: str | None = None
    names: frozenset[str] | None = None
    max_requests: int = 128
    max_rows: int = 16
    max_choices: int = 8
    max_answer_tokens: int = 4096
    default_answer_tokens: int = 512
    max_body_bytes: int = 86 * MIB
    max_held_bytes: int = 512 * MIB
    body_timeout_s: float = 60.0
    deadline_s: float = 300.0
    drain_s: float = 90.0
    readers: int = 2
    read_timeout_s: float = 30.0
    reader_memory_bytes: int = 2048 * MIB
    max_read_bytes: int = 1024 * MIB
    cache_bytes: int = 512 * MIB
    prefix_bytes: int = 1024 * MIB
    cache_per_key: bool = False
    page: bool = False
    max_upload_bytes: int = 2048 * MIB
    media: MediaRules = field(default_factory=MediaRules)
