"""Records with their media in tar files (WebDataset's form), read by index: any record at any time.

A sample is the members of one name up to its first dot: `<name>.json`, a record as
`records.record_from` takes it, and its media. A medium's source in the record is a member's whole
name, its ending (`mp4`), or a path whose suffix only one member has.

Random access rather than a stream: the run's order is a function of the position alone, so a run
goes on in the middle of a shard without reading what lies before, whatever the number of
processes. The order keeps to one shard at a time, so a remote one is fetched once.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from videollama2.media.limits import DEFAULT_LIMITS
from videollama2.media.source import SCHEME, Source
from videollama2.training.errors import RecordError
from videollama2.training.records import Medium, ReadOptions, Record, record_from
from videollama2.training.shard_index import Shard, ShardIndex, is_remote, local_path
from videollama2.training.shard_store import ShardStore

_TRIES = 3


@dataclass(frozen=True)
class Member:
    """A file in a shard: its name, where its bytes begin, how many they are."""

    name: str
    offset: int
    size: int


Sample = Mapping[str, Member]  # by ending


class ShardList(Sequence[Record]):
    """The records of shards, in their order; each is read when it is asked for."""

    def __init__(self, listing: ShardIndex, options: ReadOptions, store: ShardStore) -> None:
        self.listing, self.options, self.store = listing, options, store

    @property
    def pieces(self) -> tuple[int, ...]:
        """Records of each shard."""
        return tuple(shard.records for shard in self.listing.shards)

    def __len__(self) -> int:
        return sum(self.pieces)

    def __getitem__(self, place: Any) -> Any:
        """The record at a place.

        Raises:
            RecordError: its shard cannot be fetched, is damaged, or the record is wrong.
        """
        if isinstance(place, slice):
            return tuple(self[index] for index in range(*place.indices(len(self))))
        shard, ordinal = self._find(int(place))
        for attempt in range(_TRIES):
            path = self.store.path(shard)
            try:
                return self._read(shard, path, ordinal)
            except FileNotFoundError as error:  # another process has made room in the cache
                if attempt + 1 == _TRIES:
                    raise shard.error("it cannot be kept in the cache", "missing") from error
        raise AssertionError

    def iterate(self) -> Iterator[Record | RecordError]:
        """Every record in its order, an error in the place of each that is wrong."""
        for place in range(len(self)):
            try:
                yield self[place]
            except RecordError as error:
                yield error

    def absent(self) -> list[RecordError]:
        """One error for each shard that should be on this machine and is not."""
        return [
            shard.error("no such file", "missing")
            for shard in self.listing.shards
            if not is_remote(shard.address) and not local_path(shard.address).is_file()
        ]

    def _find(self, place: int) -> tuple[Shard, int]:
        if not 0 <= place < len(self):
            raise IndexError(place)
        for shard in self.listing.shards:
            if place < shard.records:
                return shard, place
            place -= shard.records
        raise AssertionError

    def _read(self, shard: Shard, path: Path, ordinal: int) -> Record:
        try:
            samples = table(path, shard.address)
            if len(samples) != shard.records:
                raise shard.error(
                    f"it holds {len(samples)} records where {shard.records} are listed"
                )
        except RecordError as error:
            self.store.fail(shard, error)
            raise
        return record_of(path, shard, ordinal, samples[ordinal], self.options)


def record_of(
    path: Path, shard: Shard, ordinal: int, sample: Sample, options: ReadOptions
) -> Record:
    """One sample as a record whose media are bytes.

    Raises:
        RecordError: it is no record, or names a medium that is not there.
    """
    line = ordinal + 1
    if "json" not in sample:
        raise RecordError(shard.address, line, f"no .json among {_names(sample)}", "no JSON")
    try:
        value = json.loads(_bytes(path, sample["json"]))
    except (ValueError, RecursionError) as error:
        reason = f"{sample['json'].name} is no JSON"
        raise RecordError(shard.address, line, reason, "no JSON") from error
    record = record_from(value, ReadOptions(Path(), options.sound), file=shard.address, line=line)
    turns = tuple(
        replace(
            turn,
            parts=tuple(
                part if isinstance(part, str) else _with_bytes(record, part, path, shard, sample)
                for part in turn.parts
            ),
        )
        for turn in record.turns
    )
    return replace(record, turns=turns)


def _with_bytes(record: Record, medium: Medium, path: Path, shard: Shard, sample: Sample) -> Medium:
    source = str(medium.source)
    if SCHEME.match(source):
        return medium
    member = find_member(source, sample)
    if member is None:
        reason = f"{source} is not among {_names(sample)} of its sample"
        raise record.error(reason, "missing")
    if member.size > DEFAULT_LIMITS.max_memory_bytes:
        reason = f"{member.name}: {member.size} bytes are too many to hold"
        raise record.error(reason, "too large")
    data = _bytes(path, member)
    if not data:
        raise record.error(f"{member.name} is empty (0 bytes)", "empty")
    return replace(medium, source=Source(f"{shard.name}/{member.name}", data=data))


def find_member(source: str, sample: Sample) -> Member | None:
    """The member that a record means by a source."""
    for ending, member in sample.items():
        if source in (member.name, ending):
            return member
    suffix = PurePosixPath(source).suffix.lower()
    alike = [one for one in sample.values() if PurePosixPath(one.name).suffix.lower() == suffix]
    return alike[0] if suffix and len(alike) == 1 else None


def _names(sample: Sample) -> str:
    return ", ".join(member.name for member in sample.values())


def _bytes(path: Path, member: Member) -> bytes:
    with path.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


def table(path: Path, name: str) -> Sequence[Sample]:
    """The samples of a shard, found by reading its headers alone.

    Raises:
        RecordError: it is no tar file, or broken off, or damaged.
        FileNotFoundError: it is not there.
    """
    stat = path.stat()
    return _table(str(path), name, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _table(path: str, name: str, size: int, _changed: int) -> tuple[Sample, ...]:
    samples: list[dict[str, Member]] = []
    last: str | None = None
    end = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                end = entry.offset_data + -(-entry.size // 512) * 512
                key, ending = split_name(entry.name)
                if not entry.isfile() or not ending:
                    continue
                if key != last:
                    samples.append({})
                    last = key
                samples[-1][ending] = Member(entry.name, entry.offset_data, entry.size)
    except FileNotFoundError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise RecordError(name, 0, f"is no whole tar file: {error}", "damaged shard") from error
    _check_end(path, name, end, size)
    return tuple(samples)


def _check_end(path: str, name: str, end: int, size: int) -> None:
    """A tar file ends with zeros; where its headers stop earlier, one of them is damaged."""
    with Path(path).open("rb") as file:
        file.seek(end)
        rest = file.read(1024)
    if end > size or len(rest) < 512:
        raise RecordError(name, 0, "is cut off: its end is missing", "damaged shard")
    if any(rest):
        raise RecordError(name, 0, f"is damaged at byte {end}", "damaged shard")


def split_name(name: str) -> tuple[str, str]:
    """(what the members of one sample share, ending): as WebDataset, at the first dot."""
    folder, _, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return f"{folder}/{stem}", ending.lower()
