"""How much a medium may cost before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import MediaTooLargeError

GIB = 1024**3


@dataclass(frozen=True)
class MediaLimits:
    """Ceilings that hold before decoding (from the header) and while reading.

    `max_bytes` is for files on disk; `max_memory_bytes` for what is held in memory: bytes, `data:`
    URIs and fetched URLs. `max_pixels` is width x height of a frame, `max_decoded_bytes` all frames
    kept from one clip (width x height x 3 x frames; of an animated picture, all that it has).
    `max_clip_frames` is how many pictures a clip may have, whether they are kept or not.
    `max_audio_samples` counts the samples kept (all channels), `max_decoded_samples` those that the
    file has (channels x rate x seconds). `max_duration_s` refuses longer clips. `codecs` names the
    decoders that may be used and `pictures` the kinds of picture, as Pillow calls them (None: every
    one). `allowed_hosts` None fetches from every public host, otherwise from these alone, redirects
    included.
    """

    max_bytes: int = 16 * GIB
    max_memory_bytes: int = GIB // 2
    max_pixels: int = 8192 * 8192
    max_duration_s: float = 24 * 3600.0
    max_frames_in_memory: int = 4096
    max_decoded_bytes: int = 4 * GIB
    max_clip_frames: int = 24 * 3600 * 120
    max_audio_samples: int = 16_000 * 3600 * 6
    max_decoded_samples: int = 48_000 * 8 * 3600 * 24
    codecs: frozenset[str] | None = None
    pictures: tuple[str, ...] | None = None
    fetch_timeout_s: float = 30.0
    max_redirects: int = 3
    allow_urls: bool = True
    allow_files: bool = True
    allow_private_hosts: bool = False
    allowed_hosts: tuple[str, ...] | None = None

    def check_bytes(self, name: str, size: int, *, in_memory: bool = False) -> None:
        """Raise MediaTooLargeError where `size` bytes are over the limit."""
        most = self.max_memory_bytes if in_memory else self.max_bytes
        if size > most:
            field = "max_memory_bytes" if in_memory else "max_bytes"
            raise too_large(name, f"{size} bytes", f"{most} bytes", field)

    def check_frames(self, name: str, width: int, height: int, frames: int) -> None:
        """Raise MediaTooLargeError where `frames` pictures of this size are too much to decode."""
        if width * height > self.max_pixels:
            raise too_large(name, f"{width}x{height} pixels", f"{self.max_pixels}", "max_pixels")
        if frames > self.max_frames_in_memory:
            raise too_large(
                name, f"{frames} frames", f"{self.max_frames_in_memory}", "max_frames_in_memory"
            )
        self._check_decoded(name, width, height, frames)

    def _check_decoded(self, name: str, width: int, height: int, frames: int) -> None:
        decoded = width * height * 3 * frames
        if decoded > self.max_decoded_bytes:
            raise too_large(
                name,
                f"{frames} frames of {width}x{height} are {decoded} bytes",
                f"{self.max_decoded_bytes} bytes",
                "max_decoded_bytes",
            )

    def check_clip_frames(self, name: str, frames: int) -> None:
        """Raise MediaTooLargeError where the clip has more pictures than allowed."""
        if frames > self.max_clip_frames:
            raise too_large(
                name, f"over {self.max_clip_frames} frames", f"{self.max_clip_frames}",
                "max_clip_frames",
            )  # fmt: skip

    def check_animation(self, name: str, width: int, height: int, frames: int) -> None:
        """Raise MediaTooLargeError where an animated picture is too much to go through."""
        self.check_clip_frames(name, frames)
        self._check_decoded(name, width, height, frames)

    def check_duration(self, name: str, duration_s: float) -> None:
        """Raise MediaTooLargeError where the clip is longer than allowed."""
        if duration_s > self.max_duration_s:
            raise too_large(
                name, f"{duration_s:.0f} s", f"{self.max_duration_s:.0f} s", "max_duration_s"
            )

    def check_sound(self, name: str, channels: int, rate: int, seconds: float) -> None:
        """Raise MediaTooLargeError where channels x rate x seconds are too much to decode."""
        if channels * rate * seconds > self.max_decoded_samples:
            raise too_large(
                name,
                f"{channels} channels at {rate} Hz for {seconds:.0f} s",
                f"{self.max_decoded_samples} samples",
                "max_decoded_samples",
            )

    def check_audio(self, name: str, samples: int) -> None:
        """Raise MediaTooLargeError where `samples` (all channels) are too many to keep."""
        if samples > self.max_audio_samples:
            raise too_large(
                name, f"{samples} samples", f"{self.max_audio_samples}", "max_audio_samples"
            )


def too_large(name: str, found: str, limit: str, field: str) -> MediaTooLargeError:
    """Make the error for something over the limit `field`."""
    return MediaTooLargeError(
        name, f"{found}, over the limit of {limit}", f"Shorten it or raise MediaLimits.{field}"
    )


DEFAULT_LIMITS = MediaLimits()
