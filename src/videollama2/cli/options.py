"""The options that several commands share, each said once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

_MODEL, _MEDIA, _ANSWER = "Model", "Media", "Answer"


class Dtype(StrEnum):
    """What numbers the model computes in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Quantize(StrEnum):
    """How weights are kept."""

    int8 = "int8"
    fp8 = "fp8"
    int4 = "int4"
    nf4 = "nf4"


class Engine(StrEnum):
    """What runs the model."""

    own = "own"
    vllm = "vllm"


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help='"starter", a checkpoint folder, or a hub id such as DAMO-NLP-SG/VideoLLaMA2.1-7B-AV.',
        rich_help_panel=_MODEL,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda, cuda:1, ... (a GPU if there is one)",
        metavar="DEVICE",
        rich_help_panel=_MODEL,
    ),
]
DtypeOption = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype",
        help="What to compute in (bfloat16 on a GPU, else float32).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
QuantizeOption = Annotated[
    Quantize | None,
    typer.Option(
        "--quantize",
        help="Keep the language model's weights in fewer bits (int4: GPU only).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the steps of answers: slower to start, faster from then on (GPU).",
        rich_help_panel=_MODEL,
    ),
]
NumFrames = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Frames taken of each clip (as trained).", rich_help_panel=_MEDIA
    ),
]
Start = Annotated[
    float | None,
    typer.Option(metavar="S", help="Begin at this second of each clip.", rich_help_panel=_MEDIA),
]
End = Annotated[
    float | None,
    typer.Option(metavar="S", help="End at this second of each clip.", rich_help_panel=_MEDIA),
]
Sound = Annotated[
    bool | None,
    typer.Option(
        "--sound/--no-sound",
        help="Insist on the soundtrack, or leave it out (heard if there is one).",
        rich_help_panel=_MEDIA,
        show_default=False,
    ),
]
AllowPartial = Annotated[
    bool,
    typer.Option(
        "--allow-partial",
        help="Answer from what a broken file still holds.",
        rich_help_panel=_MEDIA,
    ),
]
MaxNewTokens = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Longest answer, in tokens.", rich_help_panel=_ANSWER),
]
Temperature = Annotated[
    float,
    typer.Option(
        min=0.0,
        metavar="T",
        help="0 takes the likeliest word; above, draws.",
        rich_help_panel=_ANSWER,
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        metavar="P",
        help="Draw from the likeliest words that hold this much probability.",
        rich_help_panel=_ANSWER,
    ),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Makes drawing repeatable.", rich_help_panel=_ANSWER)
]
