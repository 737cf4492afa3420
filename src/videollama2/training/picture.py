"""A run's losses and learning rates as one SVG, readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from videollama2.training.metrics import read_metrics
from videollama2.training.skipped import replace_text

PICTURE = "loss.svg"
_WIDTH, _LEFT, _RIGHT = 860, 70, 24
_LOSS = (44, 300)  # top and bottom of the panel of losses
_RATES = (350, 470)
_HEIGHT = 540
_MOST_POINTS = 1000  # more cannot be told apart at this width
_WINDOW = 50  # the smoothed line looks back over this fraction of the run
_RATE = "learning_rate/"
_STYLE = """
svg { font: 13px system-ui, sans-serif }
.page { fill: #ffffff } text { fill: #1f2328 } .title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d8dee4; stroke-width: 1 } .line { fill: none; stroke-width: 2 }
.line.raw { stroke: #a9c7e8; stroke-width: 1 }
.c0 { stroke: #1f6fc4 } .c1 { stroke: #c4521f } .c2 { stroke: #2b8a3e }
.c3 { stroke: #8f3fb0 } .c4 { stroke: #a8800f } .c5 { stroke: #0f8a8a }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d }
  .line.raw { stroke: #3d5f86 }
  .c0 { stroke: #6cb0ff } .c1 { stroke: #ff9a66 } .c2 { stroke: #63d17c }
  .c3 { stroke: #cf92ea } .c4 { stroke: #e3bd4f } .c5 { stroke: #5fd0d0 }
}
""".strip()
Point = tuple[float, float]


def draw_losses(metrics: Path, title: str) -> Path | None:
    """Write `loss.svg` beside a `metrics.jsonl`; None where there is nothing to draw yet."""
    svg = loss_svg(read_metrics(metrics), title)
    if svg is None:
        return None
    picture = metrics.with_name(PICTURE)
    replace_text(picture, svg)
    return picture


def loss_svg(lines: Sequence[Mapping[str, Any]], title: str) -> str | None:
    """The picture of a run's metrics; None where no line has a finite loss."""
    losses = _points(lines, "loss")
    if not losses:
        return None
    first, last = losses[0][0], losses[-1][0]
    steps = (first, last if last > first else first + 1)
    names = sorted({name for line in lines for name in line if name.startswith(_RATE)})
    rates = {name.removeprefix(_RATE): _points(lines, name) for name in names}
    smooth = smoothed(losses)
    # The axis follows the smoothed line and most of the raw one: a lone spike may leave it.
    ordered = sorted(loss for _, loss in losses)
    high = max(ordered[int(0.995 * (len(ordered) - 1))], *(loss for _, loss in smooth))
    parts = [
        _text(_LEFT, 26, title, "title"),
        *_panel(_LOSS, (ordered[0], high), steps, [("raw", losses), ("c0", smooth)]),
        _text(_WIDTH - _RIGHT, 26, f"loss {smooth[-1][1]:.4g} (smoothed)", anchor="end"),
    ]
    drawn = [(f"c{n % 6}", points) for n, points in enumerate(rates.values()) if points]
    if drawn:
        top = max(rate for _, points in drawn for _, rate in points)
        parts += _panel(_RATES, (0.0, top), steps, drawn)
        parts += _legend(list(rates))
    parts.append(_text(_WIDTH / 2, _HEIGHT - 10, "step", anchor="middle"))
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}" />',
            *parts,
            "</svg>\n",
        ]
    )


def smoothed(points: Sequence[Point]) -> list[Point]:
    """A running mean in which older points weigh ever less, without a bias at the start."""
    keep = 1 - 1 / max(1.0, len(points) / _WINDOW)
    total = weight = 0.0
    out: list[Point] = []
    for step, value in points:
        total, weight = keep * total + value, keep * weight + 1
        out.append((step, total / weight))
    return out


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two, about so many."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / about
    unit = 10.0 ** math.floor(math.log10(raw))
    each = next(unit * n for n in (1, 2, 5, 10) if unit * n >= raw)
    start, end = math.ceil(low / each - 1e-9), math.floor(high / each + 1e-9)
    return [n * each for n in range(start, end + 1)]


def _points(lines: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    return [
        (float(line["step"]), float(line[name]))
        for line in lines
        if isinstance(line.get(name), (int, float)) and math.isfinite(line[name])
    ]


def _panel(
    place: tuple[int, int],
    values: Point,
    steps: Point,
    curves: Sequence[tuple[str, Sequence[Point]]],
) -> list[str]:
    """Axes with round numbers, and curves cut off at the panel's top."""
    top, bottom = place
    low, high = values
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)

    def x(step: float) -> float:
        return _LEFT + (step - steps[0]) / (steps[1] - steps[0]) * (_WIDTH - _RIGHT - _LEFT)

    def y(value: float) -> float:
        return bottom - (min(max(value, low), high) - low) / (high - low) * (bottom - top)

    parts: list[str] = []
    for value in ticks(low, high):
        parts.append(_line(_LEFT, y(value), _WIDTH - _RIGHT, y(value)))
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{value:.3g}", anchor="end"))
    parts += [
        _text(x(step), bottom + 18, f"{int(step):,}", anchor="middle")
        for step in ticks(*steps, about=8)
        if step == int(step)
    ]
    for kind, points in curves:
        drawn = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in _thinned(points))
        parts.append(f'<polyline class="line {kind}" points="{drawn}" />')
    return parts


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Of neighbours that would fall on one spot, the mean."""
    share = -(-len(points) // _MOST_POINTS)
    groups = [points[start : start + share] for start in range(0, len(points), share)]
    return [(g[-1][0], sum(value for _, value in g) / len(g)) for g in groups]


def _legend(names: Sequence[str]) -> list[str]:
    parts = [_text(_LEFT, _RATES[0] - 12, "learning rate")]
    at = _LEFT + 110.0
    for number, name in enumerate(names):
        middle = _RATES[0] - 16
        parts.append(
            f'<polyline class="line c{number % 6}" points="{at},{middle} {at + 20},{middle}" />'
        )
        parts.append(_text(at + 26, _RATES[0] - 12, name))
        at += 44 + 7.5 * len(name)
    return parts


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" />'


def _text(x: float, y: float, words: str, kind: str = "label", anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'
