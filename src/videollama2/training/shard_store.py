"""Shards where they can be read: on this machine, or fetched into a cache, whole and as listed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from videollama2.media.errors import MediaError
from videollama2.media.fetch import fetch
from videollama2.media.limits import GIB, MediaLimits
from videollama2.training.errors import RecordError
from videollama2.training.shard_index import (
    INDEX,
    Shard,
    ShardIndex,
    expand_braces,
    is_remote,
    local_path,
    parse_index,
)
from videollama2.training.skipped import replace_text

KEPT = 16  # shards in a cache
_LIMITS = MediaLimits(max_memory_bytes=4 * GIB, fetch_timeout_s=1800.0)
_TRIES, _PAUSE_S = 3, 1.0


def default_cache() -> Path:
    """The folder for fetched shards."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "videollama2" / "shards"


@dataclass
class ShardStore:
    """Local paths of shards.

    `cache` is where remote ones are kept, the last `kept` of them. http(s) goes through the limits
    of `media.fetch`, everything else (`s3://`, `gs://`, `hf://`, ...) through fsspec.
    `verify` hashes local shards, too. What failed once is not tried again.
    """

    cache: Path = field(default_factory=default_cache)
    allow_private_hosts: bool = False
    verify: bool = False
    kept: int = KEPT
    _failed: dict[str, RecordError] = field(default_factory=dict[str, RecordError])
    _checked: set[str] = field(default_factory=set[str])

    def path(self, shard: Shard) -> Path:
        """Where a shard can be read.

        Raises:
            RecordError: it is missing, cannot be fetched, or is not as listed.
        """
        if shard.address in self._failed:
            raise self._failed[shard.address]
        try:
            return self._fetched(shard) if is_remote(shard.address) else self._local(shard)
        except RecordError as error:
            self._failed[shard.address] = error
            raise

    def fail(self, shard: Shard, error: RecordError) -> None:
        """Note that a shard cannot be used, so that it is not looked at again."""
        self._failed[shard.address] = error

    def index(self, path: str) -> ShardIndex:
        """The shards that a list's path means: `shards.json`, one tar file, or a brace pattern.

        Where no `shards.json` is beside tar files, every one is read through once and counted.

        Raises:
            RecordError: something of it is missing or damaged.
        """
        if not path.endswith(".tar"):
            return parse_index(self._small(path), path)
        addresses = list(expand_braces(path))
        beside = self._beside(addresses)
        return beside or self._counted(addresses)

    # --- local ---

    def _local(self, shard: Shard) -> Path:
        path = local_path(shard.address)
        if shard.address in self._checked:
            return path
        if not path.is_file():
            raise shard.error("no such file", "missing")
        check_whole(path, shard, hashed=self.verify)
        self._checked.add(shard.address)
        return path

    # --- remote ---

    def _fetched(self, shard: Shard) -> Path:
        name = shard.sha256 or hashlib.sha256(shard.address.encode()).hexdigest()
        path = self.cache / f"{name[:32]}.tar"
        if path.exists():
            os.utime(path)
            return path
        self.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                self._fetch(shard, path)
                self._make_room(path)
        return path

    def _fetch(self, shard: Shard, path: Path) -> None:
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            for attempt in range(_TRIES):
                try:
                    with partial.open("wb") as file:
                        self._copy(shard.address, file)
                    check_whole(partial, shard, hashed=True)
                    break
                except RecordError:
                    if attempt + 1 == _TRIES:
                        raise
                    time.sleep(_PAUSE_S * 2**attempt)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def _copy(self, address: str, file: BinaryIO) -> None:
        if address.lower().startswith(("http://", "https://")):
            limits = replace(_LIMITS, allow_private_hosts=self.allow_private_hosts)
            try:
                file.write(fetch(address, limits)[1])
            except MediaError as error:
                raise RecordError(address, 0, error.reason, "not fetched") from error
            return
        if "::" in address:
            raise RecordError(address, 0, "chained addresses are not read", "not fetched")
        import fsspec

        untyped: Any = fsspec
        try:
            with untyped.open(address, "rb") as remote:
                shutil.copyfileobj(remote, file, 1 << 20)
        except Exception as error:
            reason = f"cannot be fetched ({type(error).__name__}: {error})"
            raise RecordError(address, 0, reason, "not fetched") from error

    def _make_room(self, newest: Path) -> None:
        """Drop the shards that were used longest ago."""
        found = sorted(self.cache.glob("*.tar"), key=_changed)
        for old in found[: -self.kept]:
            if old != newest:
                old.unlink(missing_ok=True)
                Path(f"{old}.lock").unlink(missing_ok=True)

    # --- indices ---

    def _small(self, address: str) -> bytes:
        if not is_remote(address):
            try:
                return local_path(address).read_bytes()
            except OSError as error:
                reason = str(error.strerror).lower()
                raise RecordError(address, 0, reason, "no such list") from error
        self.cache.mkdir(parents=True, exist_ok=True)
        partial = self.cache / f".{os.getpid()}.index"
        try:
            with partial.open("wb") as file:
                self._copy(address, file)
            return partial.read_bytes()
        finally:
            partial.unlink(missing_ok=True)

    def _beside(self, addresses: Sequence[str]) -> ShardIndex | None:
        """The part of a `shards.json` in the same folder that lists all of these."""
        folder = addresses[0][: -len(addresses[0].rpartition("/")[2])]
        beside = f"{folder}{INDEX}"
        if is_remote(beside) or not local_path(beside).is_file():
            return None
        known = {one.address: one for one in parse_index(self._small(beside), beside).shards}
        if any(address not in known for address in addresses):
            return None
        return ShardIndex(tuple(known[address] for address in addresses))

    def _counted(self, addresses: Sequence[str]) -> ShardIndex:
        from videollama2.training.shards import table  # it reads through a store, so lies above

        noted = self.cache / f"{_fingerprint(addresses)}.json"
        if noted.is_file():
            rows: list[list[Any]] = json.loads(noted.read_text(encoding="utf-8"))
            return ShardIndex(tuple(Shard(*row) for row in rows))
        shards: list[Shard] = []
        for address in addresses:
            path = self.path(Shard(address, 0))
            try:
                shards.append(Shard(address, len(table(path, address)), path.stat().st_size))
            except FileNotFoundError as error:
                raise RecordError(address, 0, "no such file", "missing") from error
        if not sum(shard.records for shard in shards):
            raise RecordError(addresses[0], 0, "holds no records", "no such list")
        self.cache.mkdir(parents=True, exist_ok=True)
        rows = [[one.address, one.records, one.bytes] for one in shards]
        replace_text(noted, json.dumps(rows))
        return ShardIndex(tuple(shards))


def check_whole(path: Path, shard: Shard, *, hashed: bool) -> None:
    """Compare a shard with what the index says of it. Raises `RecordError`."""
    size = path.stat().st_size
    if shard.bytes is not None and size != shard.bytes:
        reason = f"it has {size} bytes where {shard.bytes} are listed"
        raise shard.error(reason, "damaged shard")
    if hashed and shard.sha256 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != shard.sha256:
            raise shard.error("its bytes are not those that were listed", "damaged shard")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _fingerprint(addresses: Sequence[str]) -> str:
    """Of the names, and of the sizes and times of those that lie here."""
    told = hashlib.sha256()
    for address in addresses:
        told.update(address.encode())
        if not is_remote(address) and (path := local_path(address)).is_file():
            stat = path.stat()
            told.update(f"{path.resolve()}{stat.st_size}{stat.st_mtime_ns}".encode())
    return told.hexdigest()[:32]
