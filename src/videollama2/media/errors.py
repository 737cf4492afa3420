"""What can be wrong with a medium: one type each, saying which file, why, and what to do."""

from __future__ import annotations


class MediaError(ValueError):
    """A medium that cannot be read as asked.

    Attributes: `name` (file, URL or "bytes"), `reason` (what is wrong) and `remedy` (what to do
    about it). `str(error)` is "name: reason. remedy".
    """

    def __init__(self, name: str, reason: str, remedy: str = "Pass another file") -> None:
        self.name = name
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{name}: {reason}. {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes (data loader workers) with every attribute."""
        return (_revive, (type(self), self.args, dict(self.__dict__)))


def _revive(
    kind: type[MediaError], arguments: tuple[object, ...], attributes: dict[str, object]
) -> MediaError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


class MediaNotFoundError(MediaError):
    """No such file or folder, or it may not be opened."""


class EmptyMediaError(MediaError):
    """There are no bytes, no frames or no samples."""


class CorruptMediaError(MediaError):
    """The bytes are not what their format says: garbage, or damage inside."""


class TruncatedMediaError(MediaError):
    """The file holds less than its header or index promises.

    `readable_frames` (video) or `readable_s` (sound) says how much can be read; the other is None.
    """

    def __init__(
        self,
        name: str,
        reason: str,
        remedy: str,
        *,
        readable_frames: int | None = None,
        readable_s: float | None = None,
    ) -> None:
        self.readable_frames = readable_frames
        self.readable_s = readable_s
        super().__init__(name, reason, remedy)


class NoVideoStreamError(MediaError):
    """Pictures were asked for and the file has none."""


class NoAudioStreamError(MediaError):
    """Sound was asked for and the file has none."""


class EmptyRangeError(MediaError):
    """The time range holds nothing: its start lies after its end, or outside the clip."""


class UnsupportedMediaError(MediaError):
    """A kind of value, address or codec that cannot be read here."""


class MediaTooLargeError(MediaError):
    """The medium is over a limit of `MediaLimits`."""


class MediaFetchError(MediaError):
    """An http(s) address was refused or did not answer as it should."""
