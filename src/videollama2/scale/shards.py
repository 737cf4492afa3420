"""WebDataset shards: tar archives whose members of one key are one sample."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

from videollama2.scale.clips import Clip, Slice, shown


def tar_clips(file: str, name: str, rank: Callable[[str], int | None]) -> Iterator[Clip]:
    """The clip of each sample, found by headers alone.

    A sample is a run of members with one key (the name up to its first dot after the last slash);
    of its media the one of the lowest `rank` is the clip. A shard that breaks off gives the samples
    before that, and a clip with the problem.
    """
    best: tuple[int, Clip] | None = None
    key = None
    try:
        with tarfile.open(file, "r:", errors="surrogateescape") as tar:
            untyped: Any = tar
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, last = member.name.rpartition("/")
                stem, _, extension = last.partition(".")
                suffix = os.path.splitext(f".{extension}")[1].lower() or f".{extension.lower()}"
                if key != (folder, stem):
                    if best is not None:
                        yield best[1]
                    key, best = (folder, stem), None
                place = rank(suffix) if stem else None
                if place is not None and (best is None or place < best[0]):
                    inside = Slice(member.offset_data, member.size)
                    best = place, Clip(f"{name}/{shown(member.name)}", file, inside=inside)
                untyped.members = []  # else it keeps them all
    except (tarfile.TarError, OSError, EOFError) as error:
        if best is not None:
            yield best[1]
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        yield Clip(name, file, problem=f"the shard cannot be read to its end ({reason})")
        return
    if best is not None:
        yield best[1]
