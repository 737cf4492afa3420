"""Model FLOPs of a training step, counted from the parts' shapes; and what GPUs can do.

A multiplication and an addition are two. Matrix products and convolutions count, what is done
element by element does not. A matrix costs once on the way forward, once more where gradients run
through it, once more where it trains; so frozen parts before all that trains cost a third of
trained ones. Attention counts over the whole square of a row's length, as in PaLM (Chowdhery et
al., 2022, appendix B). What recomputation repeats, padding and positions whose logits nobody needs
do not count: they are no part of the model's work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from videollama2.model.beats import WeightNormConv
from videollama2.model.model import learned_positions
from videollama2.model.tokens import config_connector_shape, num_audio_tokens, vision_grid
from videollama2.model.vision import num_read_layers

# Dense bfloat16 with float32 sums, FLOP/s: the makers' data sheets, without sparsity. The first
# pattern that is found in a device's name holds.
PEAK_FLOPS: tuple[tuple[str, float], ...] = (
    (r"\bB200\b", 2250e12),
    (r"\bH[12]00 NVL\b", 835.5e12),
    (r"\bH100 PCIe\b", 756e12),
    (r"\bG?H[12]00\b|\bH800\b", 989.4e12),
    (r"\bH20\b", 148e12),
    (r"\bA[18]00\b", 312e12),
    (r"\bA30\b", 165e12),
    (r"\bA10\b", 125e12),
    (r"\bL40S\b", 362e12),
    (r"\bL40\b", 181e12),
    (r"\bL4\b", 121e12),
    (r"\bRTX 6000 Ada\b", 364.2e12),
    (r"\bRTX A6000\b", 154.8e12),
    (r"\bRTX 5090$", 209.5e12),
    (r"\bRTX 4090$", 165.2e12),
    (r"\bRTX 3090$", 71e12),
    (r"\bMI300X\b", 1307.4e12),
)


def peak_flops(half: bool) -> float | None:
    """What this device does at most in bfloat16; None in float32, on CPUs and where unknown."""
    if not half or not torch.cuda.is_available():
        return None
    return peak_of(torch.cuda.get_device_name())


def peak_of(device_name: str) -> float | None:
    """Dense bfloat16 FLOP/s of a GPU by its name; None where it is not in the table."""
    return next((peak for pattern, peak in PEAK_FLOPS if re.search(pattern, device_name)), None)


_SHORTCUT = "s1.b1.downsample"


@dataclass(frozen=True)
class Sizes:
    """What is in a batch: tokens of each record, positions learned, media.

    `clips` and `images` are (frames, height, width) in pixels; `sounds` filter bank frames. Of
    media whose encoders ran before, `encoded_clips` are frames and `encoded_sounds` tokens.
    """

    lengths: tuple[int, ...]
    learned: int
    clips: tuple[tuple[int, int, int], ...] = ()
    images: tuple[tuple[int, int, int], ...] = ()
    sounds: tuple[int, ...] = ()
    encoded_clips: tuple[int, ...] = ()
    encoded_images: int = 0
    encoded_sounds: tuple[int, ...] = ()


def sizes_of(batch: Mapping[str, Any], lengths: tuple[int, ...]) -> Sizes:
    """The sizes of a collated batch of records of so many tokens."""
    clips = tuple((len(clip), *clip.shape[-2:]) for clip in batch.get("pixel_values_videos", ()))
    images = tuple((1, *image.shape[-2:]) for image in batch.get("pixel_values", ()))
    return Sizes(
        lengths,
        int(learned_positions(batch["labels"]).sum()),
        clips,
        images,
        tuple(len(sound) for sound in batch.get("input_features", ())),
        tuple(len(clip) for clip in batch.get("encoded_videos", ())),
        len(batch.get("encoded_images", ())),
        tuple(len(sound) for sound in batch.get("encoded_sounds", ())),
    )


@dataclass(frozen=True)
class _Cost:
    """FLOPs at each of the positions of a kind: forward, and the whole step."""

    positions: str
    forward: float
    step: float


class StepFlops:
    """Counts the steps of a model whose trainable parts are chosen."""

    def __init__(self, model: Any) -> None:
        self._config: Any = model.config
        trunk: Any = model.model
        eyes = [*_costs(trunk.vision_tower, _vision_positions)]
        seen = _trains(trunk.vision_tower)
        eyes += _costs(trunk.connector, _connector_positions, seen)
        ears: list[_Cost] = []
        heard = tower_trains = False
        if trunk.audio_tower is not None:
            ears += _costs(trunk.audio_tower, _audio_positions)
            heard = tower_trains = _trains(trunk.audio_tower)
            ears += _costs(trunk.audio_projector, _always("projected"), heard)
            heard = heard or _trains(trunk.audio_projector)
        # An adapter or a trained layer of the language model gives gradients to what follows.
        given = seen or heard or _trains(trunk.connector)
        language = trunk.language_model
        share = _active_share(self._config.text_config)
        costs = [*_costs(language, _always("tokens"), given, share)]
        costs += _costs(model.lm_head, _always("learned"), given or _trains(language))
        self._costs = (*eyes, *ears, *costs)
        self._attention = {
            "vision": 3.0 if seen else 1.0,
            "audio": 3.0 if tower_trains else 1.0,
            "text": 3.0 if given or _trains(language) else 1.0,
        }

    def forward(self, sizes: Sizes) -> float:
        """FLOPs of the forward pass over a batch of these sizes."""
        positions = self._positions(sizes)
        matrices = sum(cost.forward * positions[cost.positions] for cost in self._costs)
        return matrices + sum(self._squares(sizes).values())

    def step(self, sizes: Sizes) -> float:
        """FLOPs of the forward and backward pass over a batch of these sizes."""
        positions = self._positions(sizes)
        matrices = sum(cost.step * positions[cost.positions] for cost in self._costs)
        squares = self._squares(sizes)
        return matrices + sum(squares[part] * self._attention[part] for part in squares)

    def _positions(self, sizes: Sizes) -> dict[str, int]:
        """How often a matrix of each kind of place is used."""
        config = self._config
        shape = config_connector_shape(config.connector_config)
        seen = [(1, *vision_grid(config, *size[1:])) for size in sizes.images]
        seen += [(size[0], *vision_grid(config, *size[1:])) for size in sizes.clips]
        # An image is seen once and goes through the connector as `num_frames` frames.
        grids = [(config.num_frames, *grid[1:]) for grid in seen[: len(sizes.images)]]
        grids += seen[len(sizes.images) :]
        before = [*sizes.encoded_clips, *[config.num_frames] * sizes.encoded_images]
        grids += [(frames, *vision_grid(config)) for frames in before]
        after = [shape.output_grid(*grid) for grid in grids]
        patches = sum(map(prod, seen))
        tokens = sum(sizes.lengths)
        audio = config.audio_config
        heard = 0 if audio is None else sum(num_audio_tokens(audio, n) for n in sizes.sounds)
        return {
            "patches": patches,
            "vision": patches + _extra_tokens(config) * sum(grid[0] for grid in seen),
            "before": sum(map(prod, grids)),
            "frames before": sum(grid[0] for grid in grids),
            "after": sum(map(prod, after)),
            "frames after": sum(grid[0] for grid in after),
            "audio": heard,
            "projected": heard + sum(sizes.encoded_sounds),
            "audio heads": heard * (0 if audio is None else int(audio.num_attention_heads)),
            "audio padded": heard + len(sizes.sounds),
            "tokens": tokens,
            "learned": sizes.learned,
            "never": 0,
        }

    def _squares(self, sizes: Sizes) -> dict[str, float]:
        """Queries times keys and weights times values, forward, of each part."""
        config = self._config
        vision, text, audio = config.vision_config, config.text_config, config.audio_config
        frames = [*sizes.images, *sizes.clips]
        extra = _extra_tokens(config)
        squared = sum(f * (prod(vision_grid(config, h, w)) + extra) ** 2 for f, h, w in frames)
        layers = _layers_read(config)
        heads = int(text.num_attention_heads)
        width = heads * int(getattr(text, "head_dim", None) or int(text.hidden_size) // heads)
        found = {
            "vision": 4.0 * squared * int(vision.hidden_size) * layers,
            "text": 4.0 * sum(n * n for n in sizes.lengths) * width * int(text.num_hidden_layers),
        }
        if audio is not None:
            heard = sum(num_audio_tokens(audio, n) ** 2 for n in sizes.sounds)
            found["audio"] = 4.0 * heard * int(audio.hidden_size) * int(audio.num_hidden_layers)
        return found


def _costs(
    part: nn.Module,
    positions: Callable[[str, nn.Module], str],
    given: bool = False,
    share: float = 1.0,
) -> Iterator[_Cost]:
    """Every matrix of a part, in the order in which data flow; `given`: its input has a gradient.

    `share` of the matrices that come stacked (experts) is used at each position.
    """
    entry = given
    for name, module in _modules(part):
        for weight, numbers in _matrices(module):
            forward = 2.0 * numbers * (share if _is_experts(module) else 1.0)
            trained = weight.requires_grad
            # The first block's shortcut takes what the part is given, past all that trains in it.
            through = entry if name.startswith(_SHORTCUT) else given
            yield _Cost(positions(name, module), forward, forward * (1 + trained + through))
            given = given or trained


def _matrices(module: Any) -> Iterator[tuple[Tensor, int]]:
    """A module's own matrices and how many numbers each has, packed or not."""
    if isinstance(module, nn.Linear):
        yield module.weight, module.in_features * module.out_features
    elif isinstance(module, Conv1D):  # a linear layer, by GPT-2's name for it
        yield module.weight, module.weight.numel()
    elif isinstance(module, WeightNormConv):
        yield module.weight_v, module.weight_v.numel()
    elif _is_convolution(module):
        yield module.weight, module.weight.numel()
    elif _is_experts(module) or _is_router(module):
        for own in module.parameters(recurse=False):
            if own.dim() > 1:
                yield own, own.numel()


def _is_convolution(module: Any) -> bool:
    return isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, WeightNormConv))


def _is_experts(module: nn.Module) -> bool:
    """Stacked experts: (experts, out, in)."""
    return type(module).__name__.endswith("Experts")


def _is_router(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Router")


def _vision_positions(_: str, module: nn.Module) -> str:
    return "patches" if _is_convolution(module) else "vision"


def _connector_positions(name: str, module: nn.Module) -> str:
    if name.startswith("s1."):
        return "frames before" if ".se." in name else "before"
    return "frames after" if ".se." in name else "after"


def _audio_positions(name: str, module: nn.Module) -> str:
    if name == "predictor":
        return "never"
    if isinstance(module, WeightNormConv) and module.kernel % 2 == 0:
        return "audio padded"  # one position more is computed, and dropped
    return "audio heads" if name.endswith("grep_linear") else "audio"


def _always(kind: str) -> Callable[[str, nn.Module], str]:
    return lambda name, module: kind


def _active_share(text: Any) -> float:
    """Of a mixture of experts, how many each token goes through."""
    experts = getattr(text, "num_local_experts", None) or getattr(text, "num_experts", None)
    chosen = getattr(text, "num_experts_per_tok", None)
    return int(chosen) / int(experts) if experts and chosen else 1.0


def _extra_tokens(config: Any) -> int:
    """Tokens of a frame that are no patches: a class token, registers."""
    vision = config.vision_config
    if "siglip" in vision.model_type:
        return 0
    return 1 + int(getattr(vision, "num_register_tokens", None) or 0)


def _layers_read(config: Any) -> int:
    return num_read_layers(config.vision_config, config.vision_feature_layer)


def _trains(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())


def _modules(part: nn.Module) -> list[tuple[str, nn.Module]]:
    return cast("Any", list(part.named_modules()))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
