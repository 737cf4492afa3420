"""`videollama2`: one file a subcommand."""

from __future__ import annotations

from typing import Annotated

import typer

from videollama2.cli import (
    ask,
    caption,
    chat,
    compose,
    convert,
    data,
    eval,
    push,
    serve,
    timeline,
    train,
)

app = typer.Typer(
    name="videollama2",
    help="Watch a clip, hear it, answer questions about it.",
    epilog='Begin with: videollama2 ask clip.mp4 "What is heard, and who makes it?"',
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask", epilog=ask.EXAMPLES)(ask.ask)
app.command("caption", epilog=caption.EXAMPLES)(caption.caption)
app.command("chat", epilog=chat.EXAMPLES)(chat.chat)
app.command("compose", epilog=compose.EXAMPLES)(compose.compose)
app.command("convert", epilog=convert.EXAMPLES)(convert.convert)
app.command("eval", epilog=eval.EXAMPLES)(eval.evaluate)
app.command("push", epilog=push.EXAMPLES)(push.push)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("timeline", epilog=timeline.EXAMPLES)(timeline.timeline)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        from videollama2 import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    """Watch a clip, hear it, answer questions about it."""


def main() -> None:
    """Run the command line."""
    app(prog_name="videollama2")
