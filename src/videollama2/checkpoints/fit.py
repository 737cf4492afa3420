"""Which stored tensor fills which parameter: each once, or an error that names the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.names import expert_of
from videollama2.checkpoints.weights import StoredTensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """A stored tensor, and which part of its parameter it fills (None: all of it).

    `expert` is the index on a stacked tensor's first axis; `half` 0 is the gate's rows, 1 the up
    projection's, None all rows.
    """

    name: str
    stored: StoredTensor
    expert: int | None = None
    half: int | None = None


@dataclass
class Fit:
    """The outcome: pieces by parameter, and what did not fit."""

    pieces: dict[str, list[Piece]] = field(default_factory=dict[str, list[Piece]])
    unused: dict[str, StoredTensor] = field(default_factory=dict[str, StoredTensor])
    missing: list[str] = field(default_factory=list[str])
    unexpected: list[str] = field(default_factory=list[str])
    misshapen: list[str] = field(default_factory=list[str])

    def check(self, name: object, spell: Callable[[str], str] = str) -> None:
        """Raise if anything is left over; `spell` gives our names as the checkpoint's files do.

        Raises:
            CheckpointError: names every missing, unexpected and wrongly shaped parameter.
        """
        parts: list[str] = []
        for what, names in (
            ("missing", [spell(name) for name in self.missing]),
            ("unexpected", [spell(name) for name in self.unexpected]),
            ("wrongly shaped", self.misshapen),
        ):
            if names:
                parts.append(f"{len(names)} {what}:\n  " + "\n  ".join(sorted(names)))
        if parts:
            raise MisfitError(
                name,
                self,
                "the parameters do not fit the model\n" + "\n".join(parts),
                self._remedy(),
            )

    def _remedy(self) -> str:
        if self.missing and all(part.startswith("model.vision_tower.") for part in self.missing):
            return "Pass vision_tower=FOLDER_OR_HUB_ID"
        if self.missing and all(part.startswith("lm_head.") for part in self.missing):
            return (
                "They are a trunk's alone: read them with VideoLlama2Model.from_pretrained, or "
                "save the whole model"
            )
        audio = ("model.audio_tower.", "model.audio_projector.")
        if self.missing and all(part.startswith(audio) for part in self.missing):
            return "Pass audio_tower=FILE, or download the audio files again"
        return "Check that config.json belongs to these weights, or download them again"


class MisfitError(CheckpointError):
    """Parameters and model do not fit; `missing`, `unexpected`, `misshapen` name them."""

    def __init__(self, name: object, fit: Fit, reason: str, remedy: str) -> None:
        self.missing = tuple(fit.missing)
        self.unexpected = tuple(fit.unexpected)
        self.misshapen = tuple(fit.misshapen)
        super().__init__(name, reason, remedy)


def fit(
    targets: Mapping[str, Shape],
    stored: Mapping[str, StoredTensor],
    is_unused: Callable[[str, StoredTensor], bool],
) -> Fit:
    """Match stored tensors to a model's parameters, both by our canonical names.

    `is_unused(name, tensor)` says of a tensor that no parameter takes whether it is known to
    belong to the checkpoint all the same.
    """
    result = Fit()
    for name, tensor in stored.items():
        if name in targets:
            _place(result, name, Piece(name, tensor), targets[name])
            continue
        expert = expert_of(name)
        if expert is not None and expert[0] in targets:
            _place_expert(result, name, tensor, expert, targets[expert[0]])
        elif is_unused(name, tensor):
            result.unused[name] = tensor
        else:
            result.unexpected.append(name)
    wrong = {line.split(" ", 1)[0] for line in result.misshapen}
    for name, shape in targets.items():
        result.missing += [part for part in _absent(result, name, shape) if part not in wrong]
    return result


def _place(result: Fit, target: str, piece: Piece, shape: Shape) -> None:
    if piece.stored.shape != shape:
        result.misshapen.append(
            f"{piece.name} ({piece.stored.path.name}) is {piece.stored.shape}, "
            f"the model has {shape}"
        )
        return
    result.pieces.setdefault(target, []).append(piece)


def _place_expert(
    result: Fit, name: str, tensor: StoredTensor, expert: tuple[str, int, str], shape: Shape
) -> None:
    target, index, matrix = expert
    rows = shape[1] if matrix == "w2" else shape[1] // 2
    half = None if matrix == "w2" else int(matrix == "w3")
    if index >= shape[0]:
        result.unexpected.append(name)
    else:
        _place(result, target, Piece(name, tensor, index, half), (rows, *shape[2:]))


def _absent(result: Fit, name: str, shape: Shape) -> list[str]:
    """What of a parameter nothing fills: itself, or the experts' matrices it is stacked from."""
    pieces = result.pieces.get(name, [])
    whole = any(piece.expert is None for piece in pieces)
    if whole:
        return []
    stem, _, stacked = name.rpartition(".")
    matrices = {"gate_up_proj": ("w1", "w3"), "down_proj": ("w2",)}.get(stacked)
    if matrices is None or not stem.endswith(".mlp.experts"):
        return [name]
    filled = {expert_of(piece.name) for piece in pieces}
    return [
        f"{stem}.{index}.{w}.weight"
        for index in range(shape[0])
        for w in matrices
        if (name, index, w) not in filled
    ]
