"""`videollama2 chat MEDIA...`."""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videollama2.cli import options
from videollama2.cli.console import INTERRUPTED, exit_codes, note, working, write
from videollama2.cli.loading import load_assistant, open_media

if TYPE_CHECKING:
    from videollama2.conversation import Conversation

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 chat clip.mp4

  videollama2 chat            [dim](then /add clip.mp4)[/dim]

  printf 'What is seen?\\nAnd heard?\\n' | videollama2 chat clip.mp4
"""

HELP = """/add PATH...  take in more media for the next question
/reset        forget everything
/quit         leave (also Ctrl-D)
/help         this
Anything else is a question. Ctrl-C stops an answer."""


def chat(
    media: Annotated[
        list[str] | None,
        typer.Argument(help="Videos, images, sounds to begin with.", show_default=False),
    ] = None,
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
) -> None:
    """Talk about media: turns know of each other, each clip is watched once.

    Turns come from the keyboard or, piped in, one a line. /help lists what else can be typed.
    """
    with exit_codes():
        from videollama2.generation.settings import SamplingSettings

        settings = SamplingSettings(max_new_tokens, temperature, top_p, seed=seed)
        sources = open_media(media or [])
        assistant = load_assistant(model, device, dtype, num_frames, quantize, compile_steps)
        how = {"start": start, "end": end, "sound": sound, "allow_partial": allow_partial}
        talk = Talk(assistant.chat(), settings, how, sys.stdin.isatty())
        if sources:
            talk.add(sources)
        talk.run()


@dataclass(frozen=True)
class Talk:
    """A conversation with a person. `how` are the options with which media are taken in."""

    conversation: Conversation
    settings: Any
    how: dict[str, Any]
    at_keyboard: bool

    def run(self) -> None:
        """Take turns until the person leaves."""
        if self.at_keyboard:
            with contextlib.suppress(ImportError):  # not everywhere
                import_module("readline")  # gives `input` a history and arrow keys

            note("Ask something. /help lists what else can be typed.")
        while (line := self._line()) is not None:
            if not self._turn(line.strip()):
                return

    def add(self, media: list[Any]) -> None:
        """Take media in, and say what of them.

        Raises:
            MediaError: one cannot be read.
        """
        with working("watching and listening"):
            reports = self.conversation.add(*media, **self.how)
        for report in reports:
            heard = f", {report.sound_s:.1f} s of sound" if report.kind != "image" else ""
            frames = f", {report.frames} frames" if report.kind == "video" else ""
            note(f"{report.path}: {report.kind}{frames}{heard}")
            for remark in report.notes:
                note(f"{report.path}: {remark}")

    def _line(self) -> str | None:
        try:
            return input("> " if self.at_keyboard else "")
        except EOFError:
            if self.at_keyboard:
                write("\n")
            return None

    def _turn(self, line: str) -> bool:
        """Do what one line says; False to leave."""
        command, _, rest = line.partition(" ")
        if command in ("/quit", "/exit"):
            return False
        if command == "/help":
            note(HELP)
        elif command == "/reset":
            self.conversation.reset()
            note("Everything is forgotten.")
        elif command == "/add":
            self._add_paths(rest)
        elif command.startswith("/") and "/" not in command[1:]:
            note(f"{command} is not known. {HELP}")
        elif line:
            self._question(line)
        return True

    def _add_paths(self, text: str) -> None:
        try:
            paths = shlex.split(text)
            if not paths:
                note("Write the path after it: /add clip.mp4")
                return
            self.add(list(paths))
        except ValueError as error:  # a MediaError is one
            note(f"videollama2: {error}")

    def _question(self, line: str) -> None:
        try:
            stream = self.conversation.stream(line, settings=self.settings)
        except ValueError as error:
            note(f"videollama2: {error}")
            return
        try:
            for piece in stream:
                write(piece)
        except KeyboardInterrupt:
            if not self.at_keyboard:
                raise typer.Exit(INTERRUPTED) from None
            write(" ...")
        finally:
            stream.close()
            write("\n")
