"""What each token should know besides its word: where, when, after what, and whether it is seen.

A video token of the STC connector sees two frames and nothing tells it which: time reaches the
language model as the order of tokens alone, and place hardly at all. These heads ask for both by
name, at the connector's output and half way up the language model, and are dropped after training.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2.model.tensors import unflatten
from videollama2.scenes.labels import SOUND_SLOTS, SceneLabels
from videollama2.scenes.names import QUARTERS
from videollama2.scenes.scene import Scene
from videollama2.scenes.world import World

UNKNOWN = -100


@dataclass(frozen=True)
class FactTargets:
    """Indices, `UNKNOWN` where a fact says nothing.

    Attributes:
        places: (B, tokens) the quarter in which what stands there stands.
        seconds: (B, tokens) the second that is seen, where a thing is.
        appears: (B, tokens) 1 where the thing was not there a second ago, else 0.
        after: (B, tokens) where a thing appears, the one that appeared before it (the number of
            things where there was none).
        onsets: (B, sound slots) where one sound is heard alone, 1 if it begins there, else 0.
        visible: (B, sound slots) where one sound is heard alone, 1 if its thing is ever seen.
    """

    places: Tensor
    seconds: Tensor
    appears: Tensor
    after: Tensor
    onsets: Tensor
    visible: Tensor

    def to(self, device: torch.device | str) -> "FactTargets":
        """The same on a device."""
        return FactTargets(**{name: value.to(device) for name, value in vars(self).items()})


def fact_arrays(
    scene: Scene, label: SceneLabels, world: World, cells: int
) -> dict[str, NDArray[np.int64]]:
    """One scene's facts, as `FactTargets` has them; a slot of `label` is a second."""
    slots = len(label.things)
    grid = (slots, cells, cells)
    video = {name: np.full(grid, UNKNOWN) for name in ("places", "seconds", "appears", "after")}
    order = [thing.name for thing in scene.things]
    starts = {thing.name: int(thing.start_s) for thing in scene.things}
    quarters = {thing.name: thing.quarter for thing in scene.things}
    crowded: set[tuple[int, int, int]] = set()
    for slot, seen in enumerate(label.things):
        for thing in seen:
            row, column = (min(max(int(at * cells), 0), cells - 1) for at in (thing.y, thing.x))
            at = (slot, row, column)
            if video["seconds"][at] != UNKNOWN:
                crowded.add(at)
            video["seconds"][at] = slot
            if thing.movement == "still":
                video["places"][at] = QUARTERS.index(quarters[thing.name])
            video["appears"][at] = int(starts[thing.name] == slot)
            if starts[thing.name] == slot:
                place = order.index(thing.name)
                follows = scene.sequential and place > 0
                video["after"][at] = world.index[order[place - 1]] if follows else len(world.names)
    for at in crowded:
        for name in ("appears", "after"):
            video[name][at] = UNKNOWN
    onsets = np.full(SOUND_SLOTS, UNKNOWN)
    visible = np.full(SOUND_SLOTS, UNKNOWN)
    for slot, heard in enumerate(label.sounds):
        if len(heard) == 1:
            before = label.sounds[slot - 1] if slot else ()
            onsets[slot] = int(heard[0] not in before)
            visible[slot] = int(heard[0] in order)
    flat = {name: values.reshape(-1) for name, values in video.items()}
    return {**flat, "onsets": onsets, "visible": visible}


def stack_facts(rows: list[dict[str, NDArray[np.int64]]]) -> FactTargets:
    """Targets of a batch out of its rows' arrays."""
    return FactTargets(
        **{name: torch.as_tensor(np.stack([row[name] for row in rows])) for name in rows[0]}
    )


class Facts(nn.Module):
    """One linear head a fact. `width` is the language model's, `things` the world's number."""

    def __init__(self, width: int, things: int, seconds: int) -> None:
        super().__init__()
        sizes = {
            "places": len(QUARTERS),
            "seconds": seconds,
            "appears": 2,
            "after": things + 1,
            "when": SOUND_SLOTS,
            "onsets": 2,
            "visible": 2,
        }
        self.heads = nn.ModuleDict({name: nn.Linear(width, of) for name, of in sizes.items()})

    def loss(
        self, video: Tensor, hidden: Tensor, targets: FactTargets, shown: Tensor, heard: Tensor
    ) -> Tensor:
        """The mean cross-entropies of all facts, summed.

        Args:
            video: (B, video tokens, D) at the language model's door.
            hidden: (B, video and audio tokens, D) half way up the language model.
            targets: what is asked.
            shown, heard: (B,) whether the language model sees the stream.
        """
        count = video.shape[1]
        seen, sound = hidden[:, :count], hidden[:, count:]
        slots = unflatten(sound, 1, (SOUND_SLOTS, -1)).mean(2)
        eyes, ears = shown[:, None], heard[:, None]
        total = self._one("places", video, targets.places)
        for name in ("seconds", "appears", "after"):
            total = total + self._one(name, seen, _where(eyes, getattr(targets, name)))
        sounding = targets.onsets != UNKNOWN
        when = torch.arange(SOUND_SLOTS, device=slots.device).expand_as(targets.onsets)
        total = total + self._one("when", slots, _where(ears & sounding, when))
        total = total + self._one("onsets", slots, _where(ears, targets.onsets))
        return total + self._one("visible", slots, _where(ears & eyes, targets.visible))

    def _one(self, name: str, tokens: Tensor, targets: Tensor) -> Tensor:
        known = targets != UNKNOWN
        head: Any = self.heads[name]
        logits = head(tokens[known])
        return F.cross_entropy(logits, targets[known], reduction="sum") / known.sum().clamp(min=1)


def _where(known: Tensor, targets: Tensor) -> Tensor:
    return torch.where(known, targets, UNKNOWN)
