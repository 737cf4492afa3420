"""`videollama2 timeline CLIP`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videollama2.cli import options
from videollama2.cli.console import exit_codes, note, settle_output
from videollama2.cli.progress import Progress

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 timeline match.mp4

  videollama2 timeline lecture.mkv --every 1m --question "What is on the slide?" --out notes
"""


def timeline(
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A video or sound of any length.")],
    every: Annotated[
        str, typer.Option(metavar="TIME", help="How long a window is: 10s, 2m, 1h.")
    ] = "10s",
    question: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help='Asked about each window; repeat it ("Describe what is seen and heard.").',
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="CLIP.timeline, if not said.", show_default=False),
    ] = None,
    model: options.Model = "starter",
    device: options.Device = None,
    dtype: options.DtypeOption = None,
    num_frames: options.NumFrames = None,
    max_new_tokens: options.MaxNewTokens = 256,
    temperature: options.Temperature = 0.2,
    top_p: options.TopP = 0.9,
    seed: Annotated[int, typer.Option(metavar="N", help="Equal windows get equal words.")] = 0,
    batch_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Windows answered together hold so many tokens.")
    ] = 32_768,
) -> None:
    """Tell a long clip window by window: timeline.html, .srt, .vtt and .json.

    Windows that follow each other and say the same become one. The same command again goes on
    where it stopped; memory does not grow with the clip's length.
    """
    settle_output()
    with exit_codes():
        from videollama2.assistant import resolve
        from videollama2.reading.pool import prepare
        from videollama2.scale.captioner import DEFAULT_PROMPT, Asking
        from videollama2.scale.intake import ReadSettings
        from videollama2.scale.timeline import seconds_of, tell
        from videollama2.scale.work import ModelSettings, Work

        every_s = seconds_of(every)
        prompts = tuple(question or (DEFAULT_PROMPT,))
        asking = Asking(prompts, max_new_tokens, temperature, top_p, seed, batch_tokens)
        _ = asking.sampling
        resolve(model)
        folder = out or Path(f"{clip.rstrip('/')}.timeline")
        kind = None if dtype is None else dtype.value
        work = Work(ModelSettings(model, device, kind), asking, ReadSettings(num_frames))
        prepare()
        with Progress("seconds") as progress:
            told = tell(
                clip, folder, every_s, work,
                progress=lambda done, total: progress(round(done), round(total or done)),
            )  # fmt: skip
        if told.failed:
            note(f"{told.failed:,} of {told.windows:,} windows could not be answered")
        note(f"{told.windows:,} windows, {told.pieces:,} pieces: {folder / 'timeline.html'}")
