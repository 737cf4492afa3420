"""Looks as HTML: every word in it that is not ours is escaped, every picture comes along."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from videollama2.processing.parts import MediaReport
from videollama2.serving.page.look import FRAMES_A_SECOND, Look, TagWindow

NOTHING_YET = (
    '<section class="look empty"><p>The frames that the model sees, the sound that it hears and '
    "the tags found in it appear here with the first answer.</p></section>"
)
_NO_TAGS = (
    '<p class="note">Sounds have no names here: this model has no tag head, or runs in vLLM.</p>'
)
_WIDEST = 900
_FAINTEST = 0.02
# From silence to loud: the page's own colours, dark to light.
_COLOURS = np.array(
    [(15, 23, 42), (19, 78, 94), (20, 148, 136), (234, 179, 8), (255, 247, 214)], np.float32
)


def shown(look: Look, name: str, offset_s: float = 0.0) -> str:
    """One medium; `name` is what its owner calls it, `offset_s` where its sound begins."""
    parts = [_head(look.report, name)]
    if len(look.pictures):
        parts.append(_frames(look))
    if look.energies.size:
        parts.append(_sound(look, offset_s))
    parts += [f'<p class="note">{escape(note)}</p>' for note in look.report.notes]
    return f'<section class="look">{"".join(parts)}</section>'


def _head(report: MediaReport, name: str) -> str:
    facts: list[str] = []
    if report.duration_s is not None:
        facts.append(f"{report.duration_s:.1f} s")
    if report.kind == "video":
        facts.append(f"{report.frames} frames seen")
    if report.sound_s:
        facts.append(f"{report.sound_s:.1f} s heard")
    elif report.kind == "video":
        facts.append("no sound heard")
    return f"<header><b>{escape(name)}</b><span>{' · '.join(facts)}</span></header>"


def _frames(look: Look) -> str:
    times = look.report.timestamps_s
    figures: list[str] = []
    for number, picture in enumerate(look.pictures):
        said = f"{times[number]:.1f} s" if number < len(times) else ""
        alt = f"Frame {number + 1}" + (f" at {said}" if said else "")
        source = _data_uri(Image.fromarray(picture), "JPEG", "jpeg")
        caption = f"<figcaption>{said}</figcaption>" if said else ""
        figures.append(f'<figure><img src="{source}" alt="{alt}">{caption}</figure>')
    kind = "frames one" if len(figures) == 1 else "frames"
    return f'<div class="{kind}">{"".join(figures)}</div>'


def _sound(look: Look, offset_s: float) -> str:
    seconds = len(look.energies) / FRAMES_A_SECOND
    source = _data_uri(spectrogram(look.energies), "PNG", "png")
    ticks = "".join(f"<span>{offset_s + seconds * part / 4:.1f} s</span>" for part in range(5))
    tags = "".join(_window(window, offset_s) for window in look.windows)
    return (
        f'<div class="sound"><img src="{source}" alt="Spectrogram of {seconds:.1f} s of sound">'
        f'<div class="ticks">{ticks}</div>'
        + (f'<div class="tags">{tags}</div>' if tags else _NO_TAGS)
        + "</div>"
    )


def _window(window: TagWindow, offset_s: float) -> str:
    rows = "".join(
        f'<li><span>{escape(name)}</span><meter value="{probability:.3f}"></meter>'
        f"<i>{100 * probability:.0f} %</i></li>"
        for name, probability in window.tags
        if probability >= _FAINTEST or name == window.tags[0][0]
    )
    span = f"{offset_s + window.start:.0f} to {offset_s + window.end:.0f} s"
    return f'<div class="window"><h4>{span}</h4><ul>{rows}</ul></div>'


def spectrogram(energies: NDArray[np.float32]) -> Image.Image:
    """(frames, mel bins) of log mel energies as a picture, low tones at the bottom."""
    step = -(-len(energies) // _WIDEST)
    kept = energies[: len(energies) // step * step]
    mean = kept.reshape(-1, step, energies.shape[1]).mean(1)
    low, high = (float(np.percentile(mean, place)) for place in (5, 99.5))
    level = np.clip((mean - low) / max(high - low, 1e-6), 0, 1).T[::-1]
    place = level * (len(_COLOURS) - 1)
    below = np.minimum(place.astype(int), len(_COLOURS) - 2)
    share = (place - below)[..., None]
    colours: Any = _COLOURS[below] * (1 - share) + _COLOURS[below + 1] * share
    return Image.fromarray(colours.round().astype(np.uint8))


def panel(sections: Sequence[str]) -> str:
    """Everything that was taken in, the newest first."""
    return "".join(reversed(sections)) if sections else NOTHING_YET


def _data_uri(picture: Image.Image, form: str, kind: str) -> str:
    file = io.BytesIO()
    picture.save(file, form, quality=82)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
