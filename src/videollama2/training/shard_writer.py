"""A list of records and its media -> shards: the same bytes every time, whole shards or none."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from videollama2.media.errors import MediaError
from videollama2.media.source import SCHEME, Source, open_source
from videollama2.training.errors import RecordError, TrainingError
from videollama2.training.records import ReadOptions, iterate_values, record_from
from videollama2.training.shard_index import INDEX, Shard, ShardIndex
from videollama2.training.skipped import replace_text

LEFT_OUT = "left_out.jsonl"
# Where records name sources, in either form (`records`, `processing.parts.part_from_message`).
_SOURCE_KEYS = ("video", "image", "audio", "path", "url", "video_url", "image_url", "audio_url")
_MAKING = ".making.json"


@dataclass
class Written:
    """What became of a list: `left_out` are the records that are in no shard, and why."""

    records: int = 0
    shards: list[Shard] = field(default_factory=list[Shard])
    left_out: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    taken_over: int = 0  # shards that were there already


def write_shards(
    records: str | Path,
    out: Path,
    *,
    folder: Path | None = None,
    shard_size: int = 1000,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Written:
    """Write the shards of a list into `out`, `shard_size` records to each, then `shards.json`.

    Relative media paths begin at `folder`. A record that is wrong, or whose media are not there,
    is left out and listed in `left_out.jsonl`. Shards that an earlier, stopped call finished stay.

    Raises:
        TrainingError: `out` holds shards of something else, or nothing can be written.
    """
    if shard_size < 1:
        raise TrainingError(f"shards of {shard_size} records: give at least 1")
    values = list(iterate_values(records))
    chunks = [values[at : at + shard_size] for at in range(0, len(values), shard_size)]
    if not chunks:
        raise TrainingError(f"{records}: holds no records")
    making = _Making.begin(Path(records), out, shard_size, folder)
    written = Written()
    digits = max(6, len(str(len(chunks) - 1)))
    for number, chunk in enumerate(chunks):
        name = f"shard-{number:0{digits}}.tar"
        made = making.known(name)
        if made is None:
            made = _write_shard(out / name, chunk, number * shard_size, str(records), making.folder)
            making.note(name, made)
        else:
            written.taken_over += 1
        if made["records"]:
            row = {key: made[key] for key in ("records", "bytes", "sha256")}
            written.shards.append(Shard(str(out / name), **row))
        written.records += made["records"]
        written.left_out += made["left_out"]
        progress(min((number + 1) * shard_size, len(values)), len(values))
    if not written.records:
        raise TrainingError(f"{records}: no record can go into a shard: {_first(written)}")
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in written.left_out]
    replace_text(out / LEFT_OUT, "".join(lines))
    replace_text(out / INDEX, ShardIndex(tuple(written.shards)).to_json())
    return written


def _first(written: Written) -> str:
    return str(written.left_out[0]["reason"]) if written.left_out else "there is none"


@dataclass
class _Making:
    """What has been made so far, in a file of `out`, and from what."""

    path: Path
    folder: Path
    state: dict[str, Any]

    @classmethod
    def begin(cls, records: Path, out: Path, shard_size: int, folder: Path | None) -> _Making:
        with records.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        root = Path() if folder is None else folder
        of = {"records": digest, "shard_size": shard_size, "folder": str(root.resolve())}
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{out}: cannot be made: {error.strerror}") from error
        path = out / _MAKING
        state: dict[str, Any] = {"of": of, "shards": {}}
        if path.is_file():
            state = json.loads(path.read_text(encoding="utf-8"))
            if state["of"] != of:
                raise TrainingError(
                    f"{out} holds shards of another list or with other settings: "
                    "choose another --out, or remove it"
                )
        elif any(out.glob("*.tar")) or (out / INDEX).exists():
            raise TrainingError(f"{out} holds shards already: choose another --out")
        for partial in out.glob(".*.partial"):
            partial.unlink()
        making = cls(path, root, state)
        making._save()
        return making

    def known(self, name: str) -> dict[str, Any] | None:
        """What is known of a shard that is there, whole."""
        made: dict[str, Any] | None = self.state["shards"].get(name)
        file = self.path.with_name(name)
        if made is None or (made["records"] and not file.is_file()):
            return None
        return made if not made["records"] or file.stat().st_size == made["bytes"] else None

    def note(self, name: str, made: dict[str, Any]) -> None:
        self.state["shards"][name] = made
        self._save()

    def _save(self) -> None:
        replace_text(self.path, json.dumps(self.state))


def _write_shard(
    path: Path, chunk: Sequence[tuple[int, Any]], first: int, file: str, folder: Path
) -> dict[str, Any]:
    """Write one shard under its name, at once; what is in it and what is not."""
    partial = path.with_name(f".{path.name}.partial")
    left_out: list[dict[str, Any]] = []
    count = 0
    try:
        with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar:
            for ordinal, (line, value) in enumerate(chunk, first):
                try:
                    sample = _Sample.of(value, f"{ordinal:09}", line, file, folder)
                except RecordError as error:
                    left_out.append(_why(error.file, line, error.kind, error.reason))
                except MediaError as error:
                    left_out.append(_why(file, line, "medium", str(error)))
                else:
                    sample.write(tar)
                    count += 1
        if not count:
            return {"records": 0, "bytes": 0, "sha256": "", "left_out": left_out}
        with partial.open("r+b") as done:
            os.fsync(done.fileno())
            done.seek(0)
            digest = hashlib.file_digest(done, "sha256").hexdigest()
        size = partial.stat().st_size
        os.replace(partial, path)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return {"records": count, "bytes": size, "sha256": digest, "left_out": left_out}


def _why(file: str, line: int, kind: str, reason: str) -> dict[str, Any]:
    return {"file": file, "line": line, "kind": kind, "reason": reason}


@dataclass
class _Sample:
    """A record that names its media by the members they become."""

    key: str
    value: Any
    media: dict[str, Source]  # by ending

    @classmethod
    def of(cls, value: Any, key: str, line: int, file: str, folder: Path) -> _Sample:
        if isinstance(value, RecordError):
            raise value
        record_from(value, ReadOptions(folder), file=file, line=line)
        sources = {name: _open(name, folder) for name in sources_of(value)}
        given = {name: source for name, source in sources.items() if source is not None}
        endings = _endings({name: _suffix(name) for name in given})
        names = {name: f"{key}.{ending}" for name, ending in endings.items()}
        media = {endings[name]: source for name, source in given.items()}
        return cls(key, with_sources(value, names), media)

    def write(self, tar: tarfile.TarFile) -> None:
        text = json.dumps(self.value, ensure_ascii=False, sort_keys=True).encode()
        _add(tar, f"{self.key}.json", len(text), io.BytesIO(text))
        for ending, source in self.media.items():
            name = f"{self.key}.{ending}"
            if source.path is None:
                data = source.data or b""
                _add(tar, name, len(data), io.BytesIO(data))
            else:
                with source.path.open("rb") as file:
                    _add(tar, name, source.size, file)


def _add(tar: tarfile.TarFile, name: str, size: int, file: Any) -> None:
    entry = tarfile.TarInfo(name)  # owner 0, time 0: the same bytes every time
    entry.size, entry.mode = size, 0o644
    tar.addfile(entry, file)


def _open(name: str, folder: Path) -> Source | None:
    """A medium's bytes; None for one that the record carries in itself. Raises `MediaError`."""
    if name.startswith("data:"):
        return None
    source = open_source(name if SCHEME.match(name) else str(folder / name))
    if source.is_folder:
        raise MediaError(source.name, "a folder of pictures does not go into a shard", "Make it "
                         "a video")  # fmt: skip
    return source


def _suffix(name: str) -> str:
    return PurePosixPath(name.partition("?")[0]).suffix.lower().lstrip(".") or "bin"


def _endings(suffixes: Mapping[str, str]) -> dict[str, str]:
    """`mp4` where one medium has it, `0.mp4`, `1.mp4` where several do."""
    kinds = list(suffixes.values())
    seen: dict[str, int] = {}
    endings: dict[str, str] = {}
    for name, suffix in suffixes.items():
        number = seen.get(suffix, 0)
        seen[suffix] = number + 1
        alone = kinds.count(suffix) == 1 and suffix != "json"
        endings[name] = suffix if alone else f"{number}.{suffix}"
    return endings


def sources_of(value: Any) -> dict[str, None]:
    """Every medium's source that a record's JSON value names, once each, in their order."""
    found: dict[str, None] = {}
    _walk(value, lambda name: found.setdefault(name, None) or name)
    return found


def with_sources(value: Any, names: Mapping[str, str]) -> Any:
    """The same value with other names for its sources."""
    return _walk(value, lambda name: names.get(name, name))


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    fields = dict(cast("dict[str, Any]", value))
    places: Iterator[dict[str, Any]]
    if "conversations" in fields:
        places = iter([fields])
    else:
        fields["messages"] = [_copied(message) for message in fields["messages"]]
        places = (block for message in fields["messages"] for block in _blocks(message))
    for place in places:
        for key in _SOURCE_KEYS:
            if place.get(key) is not None:
                place[key] = _changed(place[key], change)
    return fields


def _blocks(message: Any) -> Iterator[dict[str, Any]]:
    """A message's media."""
    content = message.get("content")
    for block in cast("list[Any]", content if isinstance(content, list) else []):
        if isinstance(block, dict) and cast("dict[str, Any]", block).get("type") != "text":
            yield cast("dict[str, Any]", block)


def _copied(message: Any) -> Any:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    blocks: list[Any] = [
        dict(cast("dict[str, Any]", one)) if isinstance(one, dict) else one
        for one in cast("list[Any]", content)
    ]
    return {**message, "content": blocks}


def _changed(given: Any, change: Callable[[str], str]) -> Any:
    if isinstance(given, str):
        return change(given)
    if isinstance(given, list):
        return [_changed(one, change) for one in cast("list[Any]", given)]
    if isinstance(given, dict) and "url" in given:
        inner = cast("dict[str, Any]", given)
        return {**inner, "url": _changed(inner["url"], change)}
    return cast("Any", given)
