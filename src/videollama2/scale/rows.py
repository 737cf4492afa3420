"""One row of output: a clip's answers, or the reason that it has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from videollama2.processing.parts import MediaReport
from videollama2.scale.clips import Clip, Failure

FIELDS: dict[str, str] = {
    "clip": "string",
    "source": "string",
    "kind": "string",
    "start": "double",
    "end": "double",
    "duration_s": "double",
    "frames": "int64",
    "sound_s": "double",
    "prompts": "list<string>",
    "answers": "list<string>",
    "failure": "string",
    "reason": "string",
    "notes": "list<string>",
    "prompt_tokens": "int64",
    "generated_tokens": "int64",
}
"""Every field of a row, and its kind in Parquet."""


def answered(
    clip: Clip,
    prompts: Sequence[str],
    answers: Sequence[str],
    report: MediaReport,
    prompt_tokens: int,
    generated_tokens: int,
) -> dict[str, Any]:
    """The row of a clip that was watched."""
    return {
        **_row(clip, prompts),
        "kind": report.kind,
        "duration_s": None if report.duration_s is None else round(report.duration_s, 3),
        "frames": report.frames,
        "sound_s": round(report.sound_s, 3),
        "answers": list(answers),
        "notes": list(report.notes),
        "prompt_tokens": prompt_tokens,
        "generated_tokens": generated_tokens,
    }


def failed(clip: Clip, prompts: Sequence[str], failure: Failure) -> dict[str, Any]:
    """The row of a clip without answers."""
    return {**_row(clip, prompts), "failure": failure.kind, "reason": failure.reason}


def _row(clip: Clip, prompts: Sequence[str]) -> dict[str, Any]:
    empty: dict[str, Any] = {name: [] if "list" in kind else None for name, kind in FIELDS.items()}
    source = clip.id.partition("#t=")[0]
    return {
        **empty,
        "clip": clip.id,
        "source": source,
        "start": clip.start,
        "end": clip.end,
        "prompts": list(prompts),
        "frames": 0,
        "sound_s": 0.0,
        "prompt_tokens": 0,
        "generated_tokens": 0,
    }
