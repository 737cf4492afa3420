"""A line chart with intervals, as SVG without any library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COLOURS = (
    "#2563eb", "#dc2626", "#059669", "#9333ea", "#d97706", "#475569", "#0891b2", "#db2777", "#65a30d",
)  # fmt: skip
WIDTH, HEIGHT, LEFT, TOP = 460, 240, 52, 44


@dataclass(frozen=True)
class Point:
    """A share in [0, 1] and its interval."""

    value: float
    low: float
    high: float


def line_chart(
    title: str, across: str, names: Sequence[str], lines: Mapping[str, Sequence[Point]]
) -> str:
    """One line a name over evenly spaced `names`, bars for intervals, 0 to 1 upwards."""
    step = WIDTH / len(names)
    legend = 24 + 7 * max((len(label) for label in lines), default=0)
    parts = [f'<text x="12" y="20" font-weight="bold">{title}</text>']
    for tenth in range(0, 11, 2):
        y = _height(tenth / 10)
        parts.append(f'<path d="M{LEFT},{y:.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth / 10}</text>')
    for place, name in enumerate(names):
        x = LEFT + (place + 0.5) * step
        parts.append(
            f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{name}</text>'
        )
    bottom = TOP + HEIGHT + 38
    parts.append(f'<text x="{LEFT + WIDTH / 2}" y="{bottom}" text-anchor="middle">{across}</text>')
    for turn, (label, points) in enumerate(lines.items()):
        colour = COLOURS[turn % len(COLOURS)]
        aside = 4 * (turn - (len(lines) - 1) / 2)  # so that bars do not hide each other
        at = [(LEFT + (n + 0.5) * step + aside, point) for n, point in enumerate(points)]
        path = " ".join(f"{x:.1f},{_height(point.value):.1f}" for x, point in at)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, point in at:
            low, high = _height(point.low), _height(point.high)
            parts.append(f'<path d="M{x:.1f},{low:.1f}V{high:.1f}" stroke="{colour}"/>')
            parts.append(
                f'<circle cx="{x:.1f}" cy="{_height(point.value):.1f}" r="3" fill="{colour}"/>'
            )
        y = TOP + 12 + 18 * turn
        parts.append(f'<text x="{LEFT + WIDTH + 16}" y="{y}" fill="{colour}">{label}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + legend}" '
        f'height="{bottom + 14}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _height(share: float) -> float:
    return TOP + HEIGHT * (1 - share)
