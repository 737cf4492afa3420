"""Which shards there are, and how many records each holds: `shards.json`, or told from themselves.

`shards.json`: `{"format": "videollama2-shards", "version": 1, "shards": [{"name", "records",
"bytes", "sha256"}]}`, names relative to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from videollama2.media.source import SCHEME
from videollama2.training.errors import RecordError

INDEX = "shards.json"
FORMAT, VERSION = "videollama2-shards", 1
MOST_SHARDS = 1_000_000
_RANGE = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


@dataclass(frozen=True)
class Shard:
    """One shard: a path or address, its number of records, its size and hash where known."""

    address: str
    records: int
    bytes: int | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.address.rpartition("/")[2]

    def error(self, reason: str, kind: str = "damaged shard") -> RecordError:
        """An error about the whole shard."""
        return RecordError(self.address, 0, reason, kind)


@dataclass(frozen=True)
class ShardIndex:
    """The shards of a list, in their order."""

    shards: tuple[Shard, ...]

    def to_json(self) -> str:
        """As `shards.json`, with names alone."""
        rows = [{"name": one.name, **asdict(one)} for one in self.shards]
        for row in rows:
            del row["address"]
        whole = {"format": FORMAT, "version": VERSION, "shards": rows}
        return json.dumps(whole, indent=1) + "\n"


def names_shards(path: str) -> bool:
    """Whether a path means shards: `shards.json`, one `.tar`, or a brace pattern of them."""
    return path.endswith(".tar") or path.rpartition("/")[2] == INDEX


def is_remote(address: str) -> bool:
    """Whether an address is none of this machine's paths."""
    found = SCHEME.match(address)
    return bool(found and found.group(2)) and not address.startswith("file://")


def parse_index(text: str | bytes, address: str) -> ShardIndex:
    """`shards.json` -> the index; `address` is where it lies.

    Raises:
        RecordError: it is none.
    """
    base = address[: len(address) - len(address.rpartition("/")[2])]
    try:
        value: Any = json.loads(text)
        if value["format"] != FORMAT or value["version"] != VERSION:
            raise ValueError(f"it is not of the form {FORMAT} {VERSION}")
        shards = tuple(_shard(row, base) for row in value["shards"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(address, 0, f"is no index of shards: {error}", "no such list") from error
    if not sum(shard.records for shard in shards):
        raise RecordError(address, 0, "holds no records", "no such list")
    return ShardIndex(shards)


def _shard(row: Any, base: str) -> Shard:
    name, records = row["name"], row["records"]
    if not isinstance(name, str) or "/" in name or not name.endswith(".tar"):
        raise ValueError(f"{name!r} is no shard's name")
    if not isinstance(records, int) or records < 0:
        raise ValueError(f"{name} has {records!r} records")
    return Shard(base + name, records, row.get("bytes"), row.get("sha256"))


def expand_braces(pattern: str) -> Iterator[str]:
    """`a-{00..02}.tar`, `{a,b}.tar` -> every name, as shells write them.

    Raises:
        RecordError: it means more names than a list of shards has.
    """
    for count, name in enumerate(_expanded(pattern)):
        if count >= MOST_SHARDS:
            raise RecordError(pattern, 0, f"means over {MOST_SHARDS} shards", "no such list")
        yield name


def _expanded(pattern: str) -> Iterator[str]:
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last, words = found.groups()
    if words is not None:
        choices = iter(words.split(","))
    else:
        width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
        step = 1 if int(first) <= int(last) else -1
        choices = (f"{n:0{width}}" for n in range(int(first), int(last) + step, step))
    for choice in choices:
        yield from _expanded(pattern[: found.start()] + choice + pattern[found.end() :])


def local_path(address: str) -> Path:
    """A path of this machine, with or without `file://`."""
    return Path(address.removeprefix("file://"))
