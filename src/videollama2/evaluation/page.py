"""The report as one HTML file that needs nothing else: figures, and samples with a picture each."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from videollama2.evaluation.report import (
    HEADER,
    Entry,
    group_rows,
    main_rows,
    published_lines,
    remarks,
)
from videollama2.evaluation.samples import Sample
from videollama2.evaluation.task import MediaFile, Task
from videollama2.media.errors import MediaError

SHOWN = 12
"""Samples of a benchmark that are shown."""
_WIDTH = 240
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c1c1e; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .25rem .7rem;
  border-bottom: 1px solid #ddd; text-align: left; font-variant-numeric: tabular-nums; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
.sample { border: 1px solid #ddd; border-radius: 6px; padding: .7rem; overflow-wrap: anywhere; }
.sample img { width: 100%; border-radius: 4px; } .right { border-left: 4px solid #2e7d32; }
.wrong { border-left: 4px solid #c62828; } .open { border-left: 4px solid #9e9e9e; }
pre { white-space: pre-wrap; font: inherit; margin: .3rem 0; } small { color: #666; }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #1c1c1e; }
  th, td, .sample { border-color: #444; } small { color: #aaa; } }
"""


def as_page(entries: Sequence[Entry]) -> str:
    """The report as HTML; a frame is read of each shown clip."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Evaluation</title><style>{_STYLE}</style>",
        "<h1>Evaluation</h1>",
        _table(HEADER, [row for entry in entries for row in main_rows(entry)]),
    ]
    for entry in entries:
        parts.append(f"<h2>{escape(entry.task.title)}</h2><ul>")
        lines = (*remarks(entry), *published_lines(entry))
        parts += [f"<li>{escape(line)}</li>" for line in lines]
        parts.append("</ul>")
        rows = group_rows(entry)
        if rows:
            parts.append(_table(("kind", "group", "metric", "released", "strict", "n"), rows))
        parts.append('<div class="samples">')
        parts += [_sample(one, entry.task) for one in shown(entry.samples, entry.task)]
        parts.append("</div>")
    return "\n".join([*parts, "</html>"]) + "\n"


def shown(samples: Sequence[Sample], task: Task, number: int = SHOWN) -> list[Sample]:
    """Right, wrong and unscored samples in turn, each kind evenly spread over the benchmark."""
    kinds: dict[str, list[Sample]] = {"wrong": [], "right": [], "open": []}
    for sample in samples:
        kinds[_kind(sample, task)].append(sample)
    filled = [kind for kind in kinds.values() if kind]
    taken: list[Sample] = []
    for kind in filled:
        share = min(-(-number // len(filled)), len(kind))
        taken += [kind[n * len(kind) // share] for n in range(share)]
    return taken[:number]


def _kind(sample: Sample, task: Task) -> str:
    """By the main metric that it has; 3 of 5 or more is right."""
    scores = sample.marks.strict.scores
    metric = next((one for one in task.metrics if one.name in scores), None)
    if metric is None or sample.pending:
        return "open"
    return "right" if scores[metric.name] >= (1 if metric.scale == "percent" else 3) else "wrong"


def _sample(sample: Sample, task: Task) -> str:
    question, reply = sample.question, sample.reply
    parts = [f'<div class="sample {_kind(sample, task)}">', *map(_picture, question.media)]
    for number, prompt in enumerate(reply.prompts):
        parts.append(f"<pre>{escape(prompt)}</pre>")
        if number < len(reply.answers):
            parts.append(f"<pre><b>{escape(reply.answers[number]) or '(nothing)'}</b></pre>")
    if reply.failure is not None:
        parts.append(f"<pre>{escape(f'{reply.failure.kind}: {reply.failure.reason}')}</pre>")
    known = ", ".join(question.references) or "not published"
    scored = "; ".join(f"{name} {value:g}" for name, value in sample.marks.strict.scores.items())
    parse = sample.marks.strict.parse
    read = "unparsable" if parse is None else f"read as {parse[:80]}"
    line = f"{question.id}; right: {known}; {read}; {scored or 'not scored'}"
    parts.append(f"<small>{escape(line)}</small></div>")
    return "\n".join(parts)


def _picture(medium: MediaFile) -> str:
    if medium.path is None or medium.kind == "audio":
        state = "missing" if medium.path is None else "sound"
        return f"<small>{escape(medium.wanted)} ({state})</small>"
    try:
        data = _thumbnail(medium)
    except MediaError as error:
        return f"<small>{escape(str(error))}</small>"
    return f'<img alt="{escape(medium.wanted, quote=True)}" src="data:image/jpeg;base64,{data}">'


def _thumbnail(medium: MediaFile) -> str:
    """The middle frame of what the question is about, as a small JPEG in base64."""
    from PIL import Image

    from videollama2.media.image import read_image
    from videollama2.media.video import read_video

    if medium.kind == "image":
        frame = read_image(medium.path)
    else:
        clip = read_video(medium.path, num_frames=1, start=medium.start, end=medium.end)
        frame = clip.frames[0]
    picture = Image.fromarray(frame)
    picture.thumbnail((_WIDTH, _WIDTH))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(text)}</th>" for text in header)
    lines = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in rows)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
