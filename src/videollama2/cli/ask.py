"""`videollama2 ask MEDIA... QUESTION`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videollama2.cli import options
from videollama2.cli.console import WRONG_USAGE, exit_codes, fail, note, working, write
from videollama2.cli.loading import load_assistant, open_media

if TYPE_CHECKING:
    from videollama2.answers import Answer
    from videollama2.assistant import VideoLlama2
    from videollama2.engine import AnswerStream

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 ask clip.mp4 "What is heard, and who makes it?"

  videollama2 ask clip.mp4 --start 10 --end 20 --no-sound "What happens?"

  videollama2 ask before.jpg after.jpg "What has changed?"

  videollama2 ask clip.mp4 "What is seen?" --json | jq -r .answer

  videollama2 ask clip.mp4 "Describe it." --model ./VideoLLaMA2.1-7B-AV
"""


def ask(
    media_and_question: Annotated[
        list[str],
        typer.Argument(
            metavar="[MEDIA]... QUESTION",
            help="Videos, images, sounds (paths or URLs), then the question, in quotes.",
            show_default=False,
        ),
    ],
    model: options.Model = "starter",
    device: options.Device = None,
    dtype: options.DtypeOption = None,
    quantize: options.QuantizeOption = None,
    compile_steps: options.Compile = False,
    num_frames: options.NumFrames = None,
    start: options.Start = None,
    end: options.End = None,
    sound: options.Sound = None,
    allow_partial: options.AllowPartial = False,
    max_new_tokens: options.MaxNewTokens = 256,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 0.9,
    seed: options.Seed = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object to stdout, and nothing else.")
    ] = False,
) -> None:
    """Ask about videos, images and sounds; the answer is written as it comes."""
    *media, question = media_and_question
    _check_usage(media, question)
    with exit_codes():
        from videollama2.generation.settings import SamplingSettings

        # What is wrong is said before anything heavy is loaded.
        SamplingSettings(max_new_tokens, temperature, top_p, seed=seed)
        # Nothing but the answer may reach stdout, whatever other packages write there.
        with contextlib.redirect_stdout(sys.stderr):
            sources = open_media(media)
            assistant = load_assistant(model, device, dtype, num_frames, quantize, compile_steps)
            with working("watching and listening" if media else "reading"):
                stream = assistant.stream(
                    question,
                    media=sources,
                    sound=sound,
                    start=start,
                    end=end,
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    top_p=top_p,
                    seed=seed,
                    allow_partial=allow_partial,
                )
        for report in stream.media:
            for remark in report.notes:
                note(f"{report.path}: {remark}")
        if as_json:
            _write_json(assistant, stream)
        else:
            _write_pieces(stream)


def _check_usage(media: list[str], question: str) -> None:
    if not question.strip():
        fail("the question is empty: write it last, in quotes", WRONG_USAGE)
    if os.path.exists(question):
        asked = "" if not media else f" {media[-1]!r} is not one."
        fail(f"{question}: this is a file; the question comes last, in quotes.{asked}", WRONG_USAGE)


def _write_pieces(stream: AnswerStream) -> None:
    try:
        for piece in stream:
            write(piece)
    finally:
        write("\n")


def _write_json(assistant: VideoLlama2, stream: AnswerStream) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        for _ in stream:
            pass
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    write(json.dumps(as_dict(assistant.name, stream.answer), ensure_ascii=ascii_only) + "\n")


def as_dict(model: str, answer: Answer) -> dict[str, Any]:
    """An answer as `--json` writes it."""
    fields = ("path", "kind", "duration_s", "frames", "sound_s")
    return {
        "answer": answer.text,
        "model": model,
        "media": [{name: getattr(report, name) for name in fields} for report in answer.media],
        "prompt_tokens": answer.prompt_tokens,
        "generated_tokens": answer.generated_tokens,
        "timings_ms": answer.timings_ms,
    }
