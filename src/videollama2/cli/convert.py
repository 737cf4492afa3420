"""`videollama2 convert SRC DST`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from videollama2.cli.console import exit_codes, note, settle_output, working

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 convert DAMO-NLP-SG/VideoLLaMA2-7B-16F ./videollama2-7b

  videollama2 convert ./mine ./theirs --to released --max-shard-size 2GB

  videollama2 convert ./adapter ./merged --language-model ./Mistral-7B

What a training stage left, in the layout that the released stages leave:

  videollama2 convert runs/video_pretrain/model ./base --to released --layout base

  videollama2 convert runs/lora/adapter ./lora --to released --layout lora
"""


class Target(StrEnum):
    """The layout to write."""

    native = "native"
    released = "released"


class Layout(StrEnum):
    """Which of the released layouts."""

    full = "full"
    base = "base"
    lora = "lora"
    audio = "audio"


_ELSEWHERE = "Where parts lie that SRC, or a small layout of DST, does not hold"


def convert(
    src: Annotated[str, typer.Argument(help="A checkpoint of any layout: a folder or a hub id.")],
    dst: Annotated[str, typer.Argument(help="A new folder.")],
    to: Annotated[Target, typer.Option(help="Our layout, or the released one.")] = Target.native,
    layout: Annotated[
        Layout,
        typer.Option(
            help="Of the released ones: the whole model; the connector alone (mm_projector.bin); "
            "a run's adapter (with non_lora_trainables.bin); the audio parts alone "
            "(audio_tower.bin, mm_projector_a.bin)."
        ),
    ] = Layout.full,
    max_shard_size: Annotated[str, typer.Option(help="Largest file, such as 5GB.")] = "5GB",
    language_model: Annotated[
        str | None, typer.Option(help="A folder or hub id.", rich_help_panel=_ELSEWHERE)
    ] = None,
    vision_tower: Annotated[
        str | None, typer.Option(help="A folder or hub id.", rich_help_panel=_ELSEWHERE)
    ] = None,
    audio_tower: Annotated[
        str | None, typer.Option(help="A BEATs file.", rich_help_panel=_ELSEWHERE)
    ] = None,
) -> None:
    """Write a checkpoint in another layout, bit for bit; adapters are merged."""
    with exit_codes():
        settle_output()
        with working(f"converting {src}"):
            from videollama2.checkpoints import export
            from videollama2.checkpoints.gather import Elsewhere

            folder = export.convert(
                src,
                dst,
                to.value,
                max_shard_size,
                layout=layout.value,
                elsewhere=Elsewhere(language_model, vision_tower, audio_tower),
            )
        note(
            f"{folder}: written, {to.value} layout"
            + (f" ({layout.value})" if layout != "full" else "")
        )
