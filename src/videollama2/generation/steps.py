"""One step of the language model: the last token of each row in, scores of the next one out.

Legend: b rows, v vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from videollama2.generation.slots import SlotCache, mask_of, windows

log = logging.getLogger(__name__)
_LENGTHS = 512  # a captured step looks at a multiple of so many positions
_GROUPED = "videollama2_grouped"  # transformers' name for `grouped_attention`


def grouped_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **__: Any,
) -> tuple[Tensor, None]:
    """Attention of one position a row; query heads that share keys are queries of one head.

    (B, H, 1, D) and (B, H', P, D) -> (B, 1, H, D): keys and values are read once and not repeated.
    """
    rows, heads, _, width = query.shape
    shared = query.reshape(rows, key.shape[1], heads // key.shape[1], width)
    if attention_mask is not None and attention_mask.shape[1] == heads > 1:  # a mask a head
        attention_mask = attention_mask.reshape(*shared.shape[:3], attention_mask.shape[-1])
    out = F.scaled_dot_product_attention(shared, key, value, attention_mask, scale=scaling)
    return out.reshape(rows, 1, heads, out.shape[-1]), None


_functions: Any = ALL_ATTENTION_FUNCTIONS  # it is untyped
_functions.register(_GROUPED, grouped_attention)


class SlotSteps:
    """Steps over a `SlotCache`, launched one by one or captured once and replayed.

    A CUDA graph launches a step's thousand kernels at once; its inputs stay in place, so there is
    one for each number of rows (a power of two) and of positions (a multiple of 512). With
    `compile_backend` (torch.compile's) a layer's kernels are fused; all layers share one compiled
    form, which torch keeps on disk.
    """

    def __init__(
        self, model: Any, *, capture: bool = False, compile_backend: str | None = None
    ) -> None:
        self.cache = SlotCache()
        self._model = model
        self._windows = windows(model.model.language_model) or {"full_attention": None}
        self._capture = capture
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._pool: Any = None
        self._inputs = torch.zeros(2, 0, dtype=torch.long)
        self._moved = -1
        self._compiled: list[tuple[Any, Any]] = []
        if compile_backend is not None:
            self._compiled = compiled_parts(model, compile_backend)

    def scores(self, tokens_b: Tensor, positions_b: Tensor, longest: int) -> Tensor:
        """(B,) tokens and their positions, all below `longest` -> (B, V) scores."""
        if not self._capture:
            self.cache.reserve(len(tokens_b), longest)
            return self._forward(tokens_b, positions_b, longest)
        rows = 1 << (len(tokens_b) - 1).bit_length()
        length = -(-longest // _LENGTHS) * _LENGTHS
        self.cache.reserve(rows, length)
        self._put_in_place(tokens_b, positions_b)
        if (rows, length) not in self._graphs:
            self._graphs[rows, length] = self._record(rows, length)
        graph, scores_bv = self._graphs[rows, length]
        with torch.cuda.device(tokens_b.device):
            graph.replay()
        return scores_bv[: len(tokens_b)]

    def _forward(self, tokens_b: Tensor, positions_b: Tensor, length: int) -> Tensor:
        self.cache.open(positions_b, length)
        trunk = self._model.model
        config = trunk.language_model.config
        embeds = self._model.get_input_embeddings()(tokens_b[:, None])
        with _masked_attention(config), _compiled(self._compiled):
            output = trunk(
                inputs_embeds=embeds,
                attention_mask=self._masks(positions_b, length, config, embeds.dtype),
                position_ids=positions_b[:, None],
                past_key_values=self.cache,
                use_cache=True,
                return_dict=True,
            )
            return self._model.logits(output.last_hidden_state[:, -1:])[:, 0]

    def _masks(self, positions_b: Tensor, length: int, config: Any, dtype: torch.dtype) -> Any:
        masks: dict[str, Tensor] = {}
        for kind, window in self._windows.items():
            mask = mask_of(positions_b, length, window)
            if config._attn_implementation != _GROUPED:  # others add it to scores
                hidden = torch.zeros_like(mask, dtype=dtype)
                mask = hidden.masked_fill(~mask, torch.finfo(dtype).min)
            masks[kind] = mask
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _put_in_place(self, tokens_b: Tensor, positions_b: Tensor) -> None:
        """Where the captured steps read them; slots without a row look at one position."""
        if self._moved != self.cache.moved:
            self._graphs.clear()  # what they read and write is elsewhere now
            self._moved = self.cache.moved
            self._inputs = tokens_b.new_zeros(2, self.cache.slots)
        self._inputs.zero_()
        self._inputs[0, : len(tokens_b)] = tokens_b
        self._inputs[1, : len(tokens_b)] = positions_b

    def _record(self, rows: int, length: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Run the step thrice beside everything else, as CUDA asks for, then record it.

        Each writes the same keys and values in the same places as the step itself. All of it is on
        the model's GPU, which need not be the current one, and on one stream. What other threads
        ask of CUDA meanwhile does not spoil it. Graphs share their memory: a step's scores are
        used up before another graph runs.
        """
        tokens, positions = self._inputs
        device = tokens.device
        stream: Any = torch.cuda.Stream(device)
        here: Any = torch.cuda.current_stream(device)
        with torch.cuda.device(device):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self._forward(tokens[:rows], positions[:rows], length)
            here.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(
                graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
            ):
                scores_bv = self._forward(tokens[:rows], positions[:rows], length)
        self._pool = graph.pool()
        log.info("captured a step of %d rows and %d positions", rows, length)
        return graph, scores_bv


@contextmanager
def _masked_attention(config: Any) -> Generator[None]:
    """For one step, attention that takes the masks of slots."""
    before = config._attn_implementation
    config._attn_implementation = _GROUPED if before == "sdpa" else "eager"
    try:
        yield
    finally:
        config._attn_implementation = before


def compiled_parts(model: Any, backend: str) -> list[tuple[Any, Any]]:
    """Each layer and the output layer with what its call is to be while steps run.

    Prompts are read as ever: their lengths would each be compiled anew.

    Raises:
        ValueError: the layers are not where transformers' newer families have them.
    """
    layers: Any = getattr(model.model.language_model, "layers", None)
    if layers is None:
        name = type(model.model.language_model).__name__
        raise ValueError(f"the layers of {name} are not found: leave out compile")
    untyped: Any = torch
    parts = [*layers, model.lm_head]
    return [
        (part, untyped.compile(part._call_impl, backend=backend, dynamic=True)) for part in parts
    ]


@contextmanager
def _compiled(layers: Sequence[tuple[Any, Any]]) -> Generator[None]:
    for layer, call in layers:
        layer._compiled_call_impl = call
    try:
        yield
    finally:
        for layer, _ in layers:
            layer._compiled_call_impl = None
