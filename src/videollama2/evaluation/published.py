"""What the paper says of its models, to stand beside ours (tables 5 to 8 and 12, version 3)."""

from __future__ import annotations

from dataclasses import dataclass

_7B, _7B_16F, _8X7B, _72B = (f"VideoLLaMA2-{size}" for size in ("7B", "7B-16F", "8x7B", "72B"))
_21, _AV, _21_AV = "VideoLLaMA2.1-7B-16F", "VideoLLaMA2-7B-AV", "VideoLLaMA2.1-7B-AV"
_VIDEO = (_7B, _7B_16F, _8X7B, _72B, _21)
_SOUND = (_AV, _21_AV)


@dataclass(frozen=True)
class Published:
    """A model's published figure, in the metric's unit; `model` is its checkpoint's name."""

    model: str
    value: float


# (benchmark, metric) -> the models, and their figures in that order.
_FIGURES: dict[tuple[str, str], tuple[tuple[str, ...], tuple[float, ...]]] = {
    ("egoschema", "accuracy"): (_VIDEO, (50.5, 51.7, 53.3, 63.9, 53.1)),
    ("perception_test", "accuracy"): (_VIDEO, (49.6, 51.4, 52.2, 57.5, 54.9)),
    ("mvbench", "accuracy"): (_VIDEO, (53.4, 54.6, 53.9, 62.0, 57.3)),
    ("videomme", "accuracy"): (_VIDEO, (45.1, 47.9, 47.9, 61.4, 54.9)),
    ("videomme_subtitles", "accuracy"): (_VIDEO, (46.6, 50.3, 49.7, 63.1, 56.4)),
    ("msvc", "correctness"): (_VIDEO, (2.57, 2.53, 2.53, 2.71, 2.87)),
    ("msvc", "detail"): (_VIDEO, (2.61, 2.59, 2.56, 2.67, 2.81)),
    ("msvd_qa", "accuracy"): (_VIDEO, (71.7, 70.9, 70.5, 71.0, 70.6)),
    ("msvd_qa", "score"): (_VIDEO, (3.9, 3.8, 3.8, 3.8, 3.8)),
    ("activitynet_qa", "accuracy"): (_VIDEO, (49.9, 50.2, 50.3, 55.2, 53.0)),
    ("activitynet_qa", "score"): (_VIDEO, (3.3, 3.3, 3.4, 3.4, 3.4)),
    ("video_chatgpt", "correctness"): (_VIDEO, (3.09, 3.16, 3.08, 3.23, 3.30)),
    ("video_chatgpt", "detail"): (_VIDEO, (3.09, 3.08, 3.11, 3.11, 3.18)),
    ("video_chatgpt", "context"): (_VIDEO, (3.68, 3.69, 3.64, 3.71, 3.78)),
    ("video_chatgpt", "temporal"): (_VIDEO, (2.63, 2.56, 2.67, 2.62, 2.66)),
    ("video_chatgpt", "consistency"): (_VIDEO, (3.25, 3.14, 3.26, 3.12, 3.20)),
    ("clotho_aqa", "accuracy"): (_SOUND, (70.11, 71.02)),
    ("tut2017", "accuracy"): (_SOUND, (78.40, 77.28)),
    ("vocalsound", "accuracy"): (_SOUND, (93.19, 92.40)),
    ("music_avqa", "accuracy"): (_SOUND, (79.2, 80.9)),
    ("avsd", "accuracy"): (_SOUND, (57.2, 57.2)),
    ("vggsound", "accuracy"): (_SOUND, (70.9, 71.4)),
    ("mlvu", "accuracy"): ((_7B_16F, _72B), (32.7, 45.6)),
}


def published(task: str, metric: str) -> tuple[Published, ...]:
    """Every published figure of a benchmark's metric."""
    models, values = _FIGURES.get((task, metric), ((), ()))
    return tuple(Published(*pair) for pair in zip(models, values, strict=True))


def published_of(model: str, task: str, metric: str) -> float | None:
    """The published figure of a model by the name of its checkpoint, a path or a hub id."""
    name = model.rstrip("/").rpartition("/")[2]
    return next((one.value for one in published(task, metric) if one.model == name), None)


def published_metrics() -> tuple[tuple[str, str], ...]:
    """Every (benchmark, metric) that the paper has."""
    return tuple(_FIGURES)
