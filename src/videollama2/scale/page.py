"""A timeline as one page that needs nothing else: pictures, words, and how loud it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from videollama2.scale.pieces import Piece, whole
from videollama2.scale.subtitles import clock

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1c2330;background:#fff}
ol{list-style:none;padding:0}
li{display:grid;grid-template-columns:12rem 1fr;gap:1rem;padding:.6rem 0;border-top:1px solid #dde}
img{width:12rem;border-radius:4px;background:#eee}
time{color:#5a6475;font-variant-numeric:tabular-nums}
p{margin:.2rem 0;white-space:pre-line}
svg{display:block;width:100%;height:24px}
.no{color:#a33}
@media(prefers-color-scheme:dark){body{background:#14171c;color:#e6e9ee}li{border-color:#333}}
@media(max-width:40rem){li{grid-template-columns:1fr}}
"""
_STRIP = 24


def write_page(path: Path, pieces: Callable[[], Iterator[Piece]], name: str) -> None:
    """Write the page, piece by piece."""
    title = escape(name)
    with whole(path) as file:
        file.write('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')
        file.write('<meta name="viewport" content="width=device-width">')
        file.write(f"<title>{title}</title><style>{_STYLE}</style></head>\n")
        file.write(f"<body><h1>{title}</h1>\n<ol>\n")
        for number, piece in enumerate(pieces(), 1):
            file.write(_item(number, piece))
        file.write("</ol></body></html>\n")


def _item(number: int, piece: Piece) -> str:
    span = f"{clock(piece.start, '.')[:-4]} to {clock(piece.end, '.')[:-4]}"
    picture = "<span></span>"
    if piece.thumbnail:
        data = f"data:image/jpeg;base64,{escape(piece.thumbnail)}"
        picture = f'<img loading="lazy" alt="At {clock(piece.start)}" src="{data}">'
    said = f"<p>{escape(piece.text)}</p>"
    if piece.failure is not None:
        said = f'<p class="no">{escape(piece.failure)}</p>'
    return (
        f'<li id="p{number}">{picture}<div><time>{span}</time>{said}{_strip(piece.levels)}'
        "</div></li>\n"
    )


def _strip(levels: Sequence[float]) -> str:
    """Loudness as bars, in decibels from -60 to 0."""
    if not levels:
        return ""
    bars: list[str] = []
    for place, level in enumerate(levels):
        height = max(_STRIP * min(1.0, 1 + _decibels(level) / 60), 1.0)
        top = (_STRIP - height) / 2
        bars.append(f"M{place + 0.5:g} {top:.1f}v{height:.1f}")
    return (
        f'<svg role="img" aria-label="Sound" viewBox="0 0 {len(levels)} {_STRIP}" '
        f'preserveAspectRatio="none"><path d="{"".join(bars)}" stroke="#4a6fa5" '
        'stroke-width=".7"/></svg>'
    )


def _decibels(level: float) -> float:
    from math import log10

    return 20 * log10(max(level, 1e-3))
