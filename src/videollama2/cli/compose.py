"""`videollama2 compose OUT`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from videollama2.cli.console import exit_codes, note, settle_output, working
from videollama2.cli.options import Dtype

EXAMPLES = """
[bold]Examples[/bold]

A model for the first stage, then the stage:

  videollama2 compose ./fresh --language-model Qwen/Qwen2-7B-Instruct --vision google/siglip-so400m-patch14-384

  videollama2 train video_pretrain model.start=./fresh data.files=captions.json

Ears for a model that sees, for the audio stages:

  videollama2 compose ./hearing --model ./sees --audio BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt

Another connector in an existing model, and a released one upon parts of one's own:

  videollama2 compose ./swapped --model ./mine --connector stc_connector_v35

  videollama2 compose ./tuned --language-model ./my-qwen2 --vision google/siglip-so400m-patch14-384 --connector DAMO-NLP-SG/VideoLLaMA2.1-7B-16F-Base

Shapes alone, weights drawn, nothing fetched:

  videollama2 compose ./shapes --random --language-model Qwen2-0.5B-Instruct --vision siglip-so400m-patch14-384 --tokenizer starter
"""  # noqa: E501

_PARTS, _CONNECTION, _READING = "Parts", "Between the parts", "How it is read and written"
_PLACE = 'A folder, a hub id, or "starter"'


class MediaMode(StrEnum):
    """How media are read."""

    native = "native"
    released = "released"


class FeatureSelect(StrEnum):
    """Which of the vision encoder's tokens are read."""

    patch = "patch"
    cls_patch = "cls_patch"


def compose(
    out: Annotated[str, typer.Argument(help="A new folder.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=f"{_PLACE}: a VideoLLaMA 2 model that gives every part not named.",
            rich_help_panel=_PARTS,
        ),
    ] = None,
    language_model: Annotated[
        str | None,
        typer.Option(help=f"{_PLACE}: any causal language model.", rich_help_panel=_PARTS),
    ] = None,
    vision: Annotated[
        str | None,
        typer.Option(
            help=f"{_PLACE}: any vision encoder (CLIP, SigLIP, SigLIP 2, DINOv2, ...).",
            rich_help_panel=_PARTS,
        ),
    ] = None,
    audio: Annotated[
        str | None,
        typer.Option(
            help='A BEATs .pt, an audio_tower.bin, or a model that hears ("starter").',
            rich_help_panel=_PARTS,
        ),
    ] = None,
    no_audio: Annotated[
        bool, typer.Option("--no-audio", help="Leave --model's ears out.", rich_help_panel=_PARTS)
    ] = False,
    tokenizer: Annotated[
        str | None,
        typer.Option(help=f"{_PLACE} (the language model's own).", rich_help_panel=_PARTS),
    ] = None,
    connector: Annotated[
        str | None,
        typer.Option(
            help="A type, which begins afresh: stc_connector, stc_connector_v35, stp_connector, "
            "spatial_conv, spatial_pool, mlp2x_gelu, linear. Or a place whose trained one is "
            "taken: a Base folder or a model.",
            rich_help_panel=_CONNECTION,
            show_default="--model's, else stc_connector_v35",
        ),
    ] = None,
    audio_projector: Annotated[
        str | None,
        typer.Option(
            help="A type (mlp2x_gelu, linear), or a place whose trained one is taken.",
            rich_help_panel=_CONNECTION,
            show_default="--model's, else mlp2x_gelu",
        ),
    ] = None,
    downsample: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="What the connector joins into one: frames, rows, columns.",
            metavar="T H W",
            rich_help_panel=_CONNECTION,
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="The connector's RegStage blocks.", rich_help_panel=_CONNECTION),
    ] = None,
    vision_feature_layer: Annotated[
        int | None,
        typer.Option(help="Hidden state that is read (-2).", rich_help_panel=_CONNECTION),
    ] = None,
    vision_feature_select: Annotated[
        FeatureSelect | None,
        typer.Option(help="Patches, or the class token too (patch).", rich_help_panel=_CONNECTION),
    ] = None,
    num_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames of each clip (16).", rich_help_panel=_READING),
    ] = None,
    media_mode: Annotated[
        MediaMode | None,
        typer.Option(
            help="Whole soundtracks, or as the released code reads (native).",
            rich_help_panel=_READING,
        ),
    ] = None,
    dtype: Annotated[
        Dtype | None,
        typer.Option(help="Of all weights (the language model's).", rich_help_panel=_READING),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.", rich_help_panel=_READING)] = 0,
    random: Annotated[
        bool,
        typer.Option(
            "--random",
            help="Draw every weight: parts give shapes alone, well-known ones by name.",
            rich_help_panel=_READING,
        ),
    ] = False,
    max_shard_size: Annotated[
        str, typer.Option(help="Largest file, such as 5GB.", rich_help_panel=_READING)
    ] = "5GB",
) -> None:
    """Put a fresh model together from parts, ready to train."""
    with exit_codes():
        settle_output()
        with working(f"composing {out}"):
            import torch

            from videollama2.assistant import resolve
            from videollama2.checkpoints import compose as composing

            def place(name: str | None) -> str | None:
                return None if name is None else resolve(name)

            made = composing.compose(
                out,
                composing.Parts(
                    model=place(model),
                    language_model=place(language_model),
                    vision=place(vision),
                    connector=place(connector),
                    audio=place(audio),
                    audio_projector=place(audio_projector),
                    tokenizer=place(tokenizer),
                    hears=not no_audio,
                ),
                composing.Assembly(
                    num_frames=num_frames,
                    media_mode=None if media_mode is None else media_mode.value,
                    vision_feature_layer=vision_feature_layer,
                    vision_feature_select=None
                    if vision_feature_select is None
                    else vision_feature_select.value,
                    downsample=downsample,
                    depth=depth,
                    dtype=None if dtype is None else getattr(torch, dtype.value),
                    seed=seed,
                    random=random,
                ),
                max_shard_size=max_shard_size,
            )
        for part, count in made.parameters.items():
            origin = made.origins[part]
            note(f"{part:<16} {count:>15,}  {'begins afresh' if origin is None else origin}")
        note(f"{out}: written, native layout")
