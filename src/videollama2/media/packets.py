"""Packets of one stream kept in memory, so that a short file is opened and read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

StreamT = TypeVar("StreamT", bound="Stream")

MOST_BYTES, MOST_PACKETS = 16 * 1024**2, 50_000
"""What is kept of one stream at the most; a packet itself takes some hundred bytes."""


class ReadAhead(Generic[StreamT]):
    """Goes through packets once and keeps them while they are few.

    An error of the demuxer ends both passes; the second one raises it where the first met it.
    """

    def __init__(self, packets: Iterator[Packet[StreamT]]) -> None:
        self._packets = packets
        self._kept: list[Packet[StreamT]] = []
        self._bytes = 0
        self._is_kept, self._is_at_end = True, False
        self._error: Exception | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every packet was passed and is kept."""
        return self._is_at_end and self._is_kept

    @property
    def kept(self) -> list[Packet[StreamT]] | None:
        """Every packet, or None where they are not all here or an error came among them."""
        return self._kept if self.is_whole and self._error is None else None

    def first_pass(self) -> Iterator[Packet[StreamT]]:
        """Every packet; raises what the demuxer raises."""
        import av.error

        try:
            for packet in self._packets:
                self._keep(packet)
                yield packet
        except av.error.FFmpegError as error:
            self._error, self._is_at_end = error, True
            raise
        self._is_at_end = True

    def again(self) -> Iterator[Packet[StreamT]]:
        """The same packets, and the same error; each is let go of as it is given out."""
        kept, self._kept = self._kept[::-1], []
        while kept:
            yield kept.pop()
        if self._error is not None:
            raise self._error

    def _keep(self, packet: Packet[StreamT]) -> None:
        if not self._is_kept:
            return
        self._bytes += packet.size
        self._kept.append(packet)
        if self._bytes > MOST_BYTES or len(self._kept) > MOST_PACKETS:
            self._kept, self._is_kept = [], False
