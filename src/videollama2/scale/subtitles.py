"""Answers with times as subtitles."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from videollama2.storage.lines import write_whole

_TIME_BEFORE_TIME = re.compile(r":\d{1,2}[.,]\d{1,3}(?=[^\r\n]*:\d{1,2}[.,]\d)")
_STILL_S = 5.0  # how long a picture's caption is shown


def clock(seconds: float, mark: str = ",") -> str:
    """Hours, minutes, seconds and thousandths: `00:01:02,500` as SRT has it, a dot for WebVTT."""
    whole, thousandths = divmod(round(max(seconds, 0.0) * 1000), 1000)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}{mark}{thousandths:03}"


def cue_text(text: str) -> str:
    """A text that no player takes for the end of its cue or for another one.

    No empty line, no arrow; and never two times in one line, which some readers take for a cue's
    clock without any arrow: SRT has no way to mark text as text.
    """
    text = _TIME_BEFORE_TIME.sub("\\g<0>\n", text.replace("-->", "→"))
    lines = [line.strip() for line in re.split(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+", text)]
    return "\n".join(line for line in lines if line) or "…"


def srt_cue(number: int, start: float, end: float, text: str) -> str:
    """One numbered cue with the empty line after it."""
    return f"{number}\n{clock(start)} --> {clock(max(end, start + 0.001))}\n{cue_text(text)}\n\n"


def write_subtitles(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A SRT file for each source, under the source's name, of its clips in their order.

    Clips without answers have no cue; they are in the rows.
    """
    cues: defaultdict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for row in rows:
        if row["failure"] is None:
            start = float(row["start"] or 0.0)
            length = row["duration_s"] if row["duration_s"] is not None else _STILL_S
            end = float(row["end"] if row["end"] is not None else length)
            cues[row["source"]].append((start, end, "\n".join(row["answers"])))
    taken: set[str] = set()
    for source in sorted(cues):
        name, number = inside_name(source), 1
        while (path := f"{name}.srt" if number == 1 else f"{name}-{number}.srt") in taken:
            number += 1
        taken.add(path)
        ordered = enumerate(sorted(cues[source]), 1)
        write_whole(folder / path, "".join(srt_cue(place, *cue) for place, cue in ordered))


def inside_name(source: str) -> str:
    """A source's name as one that stays inside a folder: no root, no step up, no odd sign."""
    source = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]+://", "", source)
    parts = [re.sub(r"[^\w.,+=@ -]", "_", part)[:200] for part in re.split(r"[/\\]", source)]
    return "/".join(part for part in parts if part.strip(". ")) or "clip"
