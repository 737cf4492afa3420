"""Parameter names: the released ones, ours, and how one becomes the other. Plain strings.

Released (transformers 4.4x) names, left; ours, right:

    lm_head.*                                       lm_head.*
    model.{embed_tokens,layers,norm}.*              model.language_model.{...}.*
    model.vision_tower.vision_tower.vision_model.*  model.vision_tower.*
    model.mm_projector.*                            model.connector.*
    model.audio_tower.*                             model.audio_tower.*
    model.mm_projector_a.*                          model.audio_projector.*

Below these prefixes the names are the same, with two exceptions that transformers made: its
vision models lost their inner `vision_model.` level, and experts, one matrix each in every file,
are stacked in memory. `canonical` tells names apart from spellings.
"""

import re

# Longest first: the first that fits is taken.
_PREFIXES = (
    ("model.vision_tower.vision_tower.vision_model.", "model.vision_tower."),
    ("model.vision_tower.vision_tower.", "model.vision_tower."),
    ("model.mm_projector_a.", "model.audio_projector."),
    ("model.mm_projector.", "model.connector."),
    ("model.audio_tower.", "model.audio_tower."),
    ("lm_head.", "lm_head."),
    ("model.", "model.language_model."),
)

# Ours alone; anything else under `model.` is released.
_NATIVE = tuple(
    f"model.{part}." for part in ("language_model", "vision_tower", "connector", "audio_projector")
)

_EXPERTS = re.compile(
    r"\.(?:block_sparse_moe|mlp)\.experts\.(\d+)\.(w[123]|(?:gate|up|down)_proj)\.weight$"
)
# As its files say; others whose models are built so keep the name in memory.
_MIXTRAL = re.compile(r"\.block_sparse_moe\.(?=gate\.|experts\.\d)")
_MATRICES = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
_TRAINING_PREFIX = re.compile(r"^(?:base_model\.)?(?:model\.)+(?=model\.|lm_head\.)|^base_model\.")


def to_native(name: str) -> str:
    """Our name of a released parameter. Names outside the released layout stay as they are."""
    if name.startswith(_NATIVE) and not name.startswith("model.vision_tower.vision_tower."):
        return name
    for released, native in _PREFIXES:
        if name.startswith(released):
            return native + name[len(released) :]
    return name


def to_released(name: str) -> str:
    """The released name of one of our parameters. Other names stay as they are."""
    if name.startswith("model.vision_tower."):
        rest = name.removeprefix("model.vision_tower.").removeprefix("vision_model.")
        return "model.vision_tower.vision_tower.vision_model." + rest
    for released, native in _PREFIXES[2:]:
        if name.startswith(native):
            return released + name[len(native) :]
    return name


def canonical(name: str) -> str:
    """One spelling for the same parameter of ours under every transformers version."""
    if name.startswith("model.vision_tower."):
        rest = name.removeprefix("model.vision_tower.").removeprefix("vision_model.")
        return "model.vision_tower." + rest
    return _MIXTRAL.sub(".mlp.", name, count=1)


def strip_training_prefix(name: str) -> str:
    """A name as training wrappers save it (`base_model.model.model.x`) -> the released one."""
    return _TRAINING_PREFIX.sub("", name)


def expert_of(name: str) -> tuple[str, int, str] | None:
    """An expert's matrix: (stacked tensor's name, expert, "w1" | "w2" | "w3").

    Mixtral's files name them so; Qwen's, DeepSeek's and others' say gate_proj, down_proj, up_proj.
    transformers stacks gate (w1) over up (w3) into `experts.gate_up_proj` (experts, 2·I, D) and
    down (w2) into `experts.down_proj` (experts, D, I). None for any other parameter.
    """
    found = _EXPERTS.search(name)
    if found is None:
        return None
    matrix = _MATRICES.get(found[2], found[2])
    stacked = "down_proj" if matrix == "w2" else "gate_up_proj"
    return f"{name[: found.start()]}.mlp.experts.{stacked}", int(found[1]), matrix
