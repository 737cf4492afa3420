"""What a server may take on, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from videollama2.media.limits import MediaLimits

MIB = 1024**2
ANY_HOST = "*"


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
            max_audio_samples=16_000 * 1800,
            fetch_timeout_s=20.0,
            allow_files=False,
        )
    )


@dataclass(frozen=True)
class ServerSettings:
    """Everything about a server but the model itself.

    `num_frames` are taken of a clip whose request does not say (None: as the model was trained).
    `api_key` None lets any key pass. At most `max_requests` are under way (waiting or being
    answered) and their bodies hold at most `max_held_bytes`; what comes on top is refused with 429.
    `max_rows` answers are decoded together. A body has `max_body_bytes` and arrives within
    `body_timeout_s`; a request is answered within `deadline_s`; after SIGTERM what is under way has
    `drain_s`. `readers` processes read media, each medium in at most `read_timeout_s` and
    `reader_memory_bytes`. Encoded clips are kept in `cache_bytes`, apart for each key if
    `cache_per_key`; keys and values of prompts and answers in `prefix_bytes`, not at all then.
    """

    model_name: str = "starter"
    num_frames: int | None = None
    api_key: str | None = None
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
    cache_bytes: int = 512 * MIB
    prefix_bytes: int = 1024 * MIB
    cache_per_key: bool = False
    media: MediaRules = field(default_factory=MediaRules)
