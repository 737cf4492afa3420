"""The memory of a training step, counted before there is one.

One step of the real model is gone through on tensors that have shapes and no contents, and the
bytes that are alive are counted: whatever the architecture, adapters or recomputation keep, is
kept here too. Kernels' own work space and the allocator's rounding do not show.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from videollama2.model.tokens import vision_grid
from videollama2.training.parallel import decoder_layers
from videollama2.training.parts import recompute_layers, rest_frozen_encoders
from videollama2.training.recipe import Recipe

_Modes: Any = TorchDispatchMode  # these two are untyped
_Functions: Any = TorchFunctionMode
_GROUPED: Any = torch.ops.aten._grouped_mm.default


@dataclass(frozen=True)
class Memory:
    """Bytes on one device when most are in use: weights, the optimizer's moments, and what the
    step itself needs, which is gradients, activations and logits.
    """

    weights: int
    optimizer: int
    step: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.optimizer + self.step


@dataclass(frozen=True)
class Load:
    """What lies in each row of a batch: text tokens, how many of them are learned, its media."""

    text: int
    learned: int
    video: bool
    audio: bool


@dataclass(frozen=True)
class _Counted:
    """Bytes in one process that shares nothing: what lies there; gradients; the most at work on a
    batch and in the optimizer, gradients among them.
    """

    weights: int
    optimizer: int
    gradients: int
    batch: int
    update: int


def step_memory(
    model: Any, recipe: Recipe, load: Load, *, half: bool, cuda: bool, devices: int = 1
) -> Memory:
    """The most memory of a step of `recipe` on each of `devices`, for a model without memory whose
    parts are chosen.

    `half`: in bfloat16, as on CUDA devices or as on CPUs, which differ in what stays in float32.
    The model is used up.
    """
    alive = _Alive(vision_grid(model.config)[0])
    # On CPUs autograd runs in this thread, where the modes hold.
    with FakeTensorMode(allow_non_fake_inputs=True), alive:
        counted = _count(model, recipe, load, alive, half, cuda, devices)
    kind = recipe.parallel.kind
    if devices == 1:
        return Memory(counted.weights, counted.optimizer, max(counted.batch, counted.update))
    if kind == "fsdp2":
        return _fsdp2(counted, model, devices)
    if kind == "ddp":  # its buckets hold the gradients a second time
        most = max(counted.batch, counted.update) + counted.gradients
        return Memory(counted.weights, counted.optimizer, most)
    return _zero(counted, model, kind, devices)


def _count(
    model: Any, recipe: Recipe, load: Load, alive: _Alive, half: bool, cuda: bool, devices: int
) -> _Counted:
    """One step of one process, on tensors without contents."""
    _fill(model, torch.bfloat16 if half else torch.float32)
    weights = alive.now
    trained = [p for p in model.parameters() if p.requires_grad]
    moments = [torch.empty_like(p) for p in trained for _ in range(2)]
    optimizer = alive.now - weights
    model.train()
    rest_frozen_encoders(model)
    norms = _NormsInFloat32 if half and cuda else nullcontext
    if recipe.optimizer.gradient_checkpointing:
        # Modes do not hold on the way back, where layers have to be what they were.
        recompute_layers(model, (lambda: (nullcontext(), norms())))
    batches, rows = recipe.batch.accumulation(devices), recipe.batch.per_device
    # A step's batches are fetched together into main memory, and all but the first of them find
    # gradients there.
    fetched = [_media(model.config, rows, load) for _ in range(1 if cuda else batches)]
    if batches > 1:
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
    with norms(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss: Any = _loss(model, rows, load.text, load.learned, fetched[0])
    loss.backward()
    del loss, fetched
    lying, gradients = weights + optimizer, sum(map(_bytes, trained))
    # AdamW goes over all parameters at once on CUDA devices, over one by one on CPUs.
    roots = gradients if cuda else max(map(_bytes, trained))
    del moments
    return _Counted(weights, optimizer, gradients, alive.most - lying, gradients + roots)


def _fsdp2(counted: _Counted, model: Any, devices: int) -> Memory:
    """Each keeps its part of all; whole are, for the way through a layer, it and the next, and all
    that is in no decoder layer for the step (`parallel.share_out`), with their gradients. What
    these last were gathered into is let go only when the first decoder layer is gathered.
    """
    layers = decoder_layers(model)
    inside = {id(p): p for layer in layers for p in layer.parameters()}
    others = [p for p in model.parameters() if id(p) not in inside]
    largest = max((_gathered(layer.parameters()) for layer in layers), default=0)
    shared = counted.gradients - counted.gradients // devices
    received = sum(map(_bytes, others))
    batch = counted.batch - shared + _gathered(others) + received + 2 * largest
    return Memory(
        counted.weights // devices,
        counted.optimizer // devices,
        max(batch, counted.update // devices),
    )


def _zero(counted: _Counted, model: Any, kind: str, devices: int) -> Memory:
    """DeepSpeed keeps float32 copies of what trains, shared out, beside the width computed in;
    stage 3 shares that out as well, but for 10^9 numbers (released scripts/zero3.json).
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    narrow = counted.weights - 2 * trained
    copies, gradients = 4 * trained // devices, counted.gradients - counted.gradients // devices
    whole = narrow
    if kind == "deepspeed_zero3":
        whole = narrow // devices + min(narrow - narrow // devices, 2 * 10**9)
    step = max(counted.batch - gradients, counted.update // devices)
    return Memory(whole + copies, counted.optimizer // devices, step)


def _gathered(parameters: Iterable[nn.Parameter]) -> int:
    """Bytes of whole parameters, and of the gradients of those that train."""
    return sum(_bytes(p) * (2 if p.requires_grad else 1) for p in parameters)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class _Alive(_Modes):
    """Counts the bytes of the tensors that come into being inside, and of those still there.

    `side` is what SigLIP 2 reads out of a tensor: the patches in a row of a picture.
    """

    def __init__(self, side: int) -> None:
        parent: Any = super()
        parent.__init__()
        self._side = side
        self.now = self.most = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        known = _grouped_shape(*args) if func is _GROUPED else None
        try:
            made = func(*args, **(kwargs or {})) if known is None else args[0].new_empty(known)
        except DataDependentOutputException:
            return self._side
        for tensor in _tensors(made):
            self._note(tensor)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage: Any = tensor.untyped_storage()
        key = int(storage._cdata)
        if key in self._known:
            return
        size = int(storage.nbytes())
        self._known[key] = weakref.ref(storage, lambda _: self._gone(key, size))
        self.now += size
        self.most = max(self.most, self.now)

    def _gone(self, key: int, size: int) -> None:
        self._known.pop(key, None)
        self.now -= size


def _grouped_shape(a: Tensor, b: Tensor, ends: Tensor | None = None, *_: Any) -> Any:
    """What a product of stacked experts will be, where torch knows it for bfloat16 alone."""
    if a.dtype == torch.bfloat16:
        return None
    if a.dim() == 2 and b.dim() == 2 and ends is not None:  # the experts' gradients
        return (ends.shape[0], a.shape[0], b.shape[1])
    return (*a.shape[:-1], b.shape[-1])


class _NormsInFloat32(_Functions):
    """Layer norms give float32, as under CUDA's autocast, which CPUs' does not do."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given: dict[str, Any] = kwargs or {}
        if func is not nn.functional.layer_norm or not torch.is_autocast_enabled("cpu"):
            return func(*args, **given)
        wide = {n: v.float() if isinstance(v, Tensor) else v for n, v in given.items()}
        return func(args[0].float(), *args[1:], **wide)


def _fill(model: nn.Module, dtype: torch.dtype) -> None:
    """Give each parameter memory: in `dtype` what is frozen, in float32 what trains."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, old in [*module.named_parameters(recurse=False)]:
            if id(old) not in made:
                kind = torch.float32 if old.requires_grad else dtype
                kind = kind if old.is_floating_point() else old.dtype
                new = torch.empty(old.shape, dtype=kind, device="cpu")
                made[id(old)] = nn.Parameter(new, requires_grad=old.requires_grad)
            setattr(module, name, made[id(old)])
        for name, buffer in [*module.named_buffers(recurse=False)]:
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu"))
    tower = getattr(model.model, "audio_tower", None)
    if tower is not None:
        tower.encoder.layer_drop = 0.0


def _media(config: Any, rows: int, load: Load) -> dict[str, Tensor]:
    """The encoders' inputs of a batch."""
    inputs: dict[str, Tensor] = {}
    if load.video:
        patch = int(config.vision_config.patch_size)
        height, width = (side * patch for side in vision_grid(config))
        inputs["video"] = torch.empty(rows, config.num_frames, 3, height, width)
    if load.audio:
        audio = config.audio_config
        inputs["audio"] = torch.empty(rows, audio.max_fbank_frames, audio.num_mel_bins)
    return inputs


def _loss(model: Any, rows: int, text: int, learned: int, inputs: dict[str, Tensor]) -> Tensor:
    """The loss of a batch, as the model's `forward` and the trainer come to it."""
    trunk = model.model
    features = {"video": trunk.get_video_features, "audio": trunk.get_audio_features}
    media: list[Tensor] = [features[kind](value).pooler_output for kind, value in inputs.items()]
    length = text + sum(one.shape[1] for one in media)
    embedded = trunk.get_input_embeddings()(torch.zeros(rows, length, dtype=torch.long))
    for one in media:
        mask = torch.zeros(rows, length, 1, dtype=torch.bool)
        embedded = embedded.masked_scatter(mask, one.to(embedded.dtype))
    hidden = trunk(inputs_embeds=embedded, use_cache=False).last_hidden_state
    places = torch.zeros(rows * learned, dtype=torch.long)
    logits = model.logits(hidden.flatten(0, 1).index_select(0, places))
    return model.loss_function(
        logits=logits,
        labels=None,
        shift_labels=places,
        vocab_size=logits.shape[-1],
        num_items_in_batch=1,
    )


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in cast("list[Any]", value):
            yield from _tensors(one)
