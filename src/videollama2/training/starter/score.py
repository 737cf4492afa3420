"""Held-out accuracy by question type: exact match of the whole answer."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tensors import integers
from videollama2.training.starter.data import IGNORED, Batch, BatchMaker
from videollama2.training.starter.objective import Streams, answer_logits, encode

STREAMS = ("both", "picture", "sound")


@dataclass(frozen=True)
class TypeScore:
    """Right answers of a question type, and how often its commonest answer is the right one."""

    kind: str
    asked: int
    right: int
    commonest: float

    @property
    def accuracy(self) -> float:
        """Right answers over questions."""
        return self.right / max(self.asked, 1)


def with_stream(batch: Batch, stream: str) -> Batch:
    """The batch with both streams, or with one hidden from every row."""
    none = torch.zeros_like(batch.hide_video)
    return replace(
        batch,
        hide_video=none if stream != "sound" else ~none,
        hide_audio=none if stream != "picture" else ~none,
    )


@torch.inference_mode()
def right_answers(
    model: VideoLlama2ForConditionalGeneration, batch: Batch, tokenizer: Any
) -> list[tuple[str, tuple[int, ...], bool]]:
    """`right_of` what the encoders make of the batch."""
    return right_of(model, encode(model, batch), batch, tokenizer)


@torch.inference_mode()
def right_of(
    model: VideoLlama2ForConditionalGeneration, streams: Streams, batch: Batch, tokenizer: Any
) -> list[tuple[str, tuple[int, ...], bool]]:
    """(type, answer's tokens, right) of each question.

    An answer whose every token, its end included, is the most likely one after the right tokens
    before it is the answer that greedy decoding gives.
    """
    logits, targets = answer_logits(model, streams, batch, tokenizer)
    hits = logits.argmax(-1) == targets
    wanted = batch.targets != IGNORED
    rows = torch.arange(wanted.shape[0], device=wanted.device)[:, None].expand_as(wanted)[wanted]
    numbers = batch.segments[wanted]
    answers: dict[tuple[int, int], list[tuple[int, bool]]] = defaultdict(list)
    for row, number, target, hit in zip(
        integers(rows), integers(numbers), integers(targets), integers(hits), strict=True
    ):
        answers[row, number].append((target, bool(hit)))
    return [
        (
            batch.kinds[row][number],
            tuple(target for target, _ in tokens),
            all(hit for _, hit in tokens),
        )
        for (row, number), tokens in answers.items()
    ]


def score(
    model: VideoLlama2ForConditionalGeneration,
    maker: BatchMaker,
    seed: Sequence[int],
    steps: int,
    stream: str = "both",
) -> list[TypeScore]:
    """Accuracy of each type over `steps` batches of scenes never trained on."""
    device = next(model.parameters()).device
    model.eval()
    results: dict[str, list[tuple[tuple[int, ...], bool]]] = defaultdict(list)
    for step in range(steps):
        batch = with_stream(maker.make(seed, step), stream).to(device)
        for kind, answer, right in right_answers(model, batch, maker.tokenizer):
            results[kind].append((answer, right))
    return type_scores(results)


def type_scores(results: Mapping[str, Sequence[tuple[object, bool]]]) -> list[TypeScore]:
    """Question type -> (right answer, hit) of each question, as a score a type."""
    scores: list[TypeScore] = []
    for kind, answered in sorted(results.items()):
        wanted = [answer for answer, _ in answered]
        commonest = max(wanted.count(answer) for answer in set(wanted)) / len(wanted)
        scores.append(TypeScore(kind, len(wanted), sum(hit for _, hit in answered), commonest))
    return scores


def mean_accuracy(scores: Sequence[TypeScore], leave_out: Sequence[str] = ()) -> float:
    """The mean over question types, each type weighing the same."""
    kept = [score.accuracy for score in scores if score.kind not in leave_out]
    return sum(kept) / max(len(kept), 1)
