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
    kept from one clip (width x height x 3 x frames). `max_audio_samples` counts the samples kept
    (all channels). `max_duration_s` refuses longer clips from their header. `allowed_hosts` None
    fetches from every public host, otherwise from these alone, redirects included.
    """

    max_bytes: int = 16 * GIB
    max_memory_bytes: int = GIB // 2
    max_pixels: int = 8192 * 8192
    max_duration_s: float = 24 * 3600.0
    max_frames_in_memory: int = 4096
    max_decoded_bytes: int = 4 * GIB
    max_audio_samples: int = 16_000 * 3600 * 6
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
        decoded = width * height * 3 * frames
        if decoded > self.max_decoded_bytes:
            raise too_large(
                name,
                f"{frames} frames of {width}x{height} are {decoded} bytes",
                f"{self.max_decoded_bytes} bytes",
                "max_decoded_bytes",
            )

    def check_duration(self, name: str, duration_s: float) -> None:
        """Raise MediaTooLargeError where the clip is longer than allowed."""
        if duration_s > self.max_duration_s:
            raise too_large(
                name, f"{duration_s:.0f} s", f"{self.max_duration_s:.0f} s", "max_duration_s"
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
