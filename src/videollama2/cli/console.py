"""What commands say to people, and the exit codes: 0 done, 1 cannot, 2 wrong usage, 130 Ctrl-C."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

CANNOT, WRONG_USAGE, INTERRUPTED = 1, 2, 130


def fail(message: str, code: int = CANNOT) -> NoReturn:
    """Say on stderr what is wrong, and exit."""
    typer.echo(f"videollama2: {message}", err=True)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Say something on stderr."""
    typer.echo(message, err=True)


@contextmanager
def exit_codes() -> Generator[None]:
    """Turn the errors that people can do something about into one message and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(CANNOT) from None
    except ValueError as error:
        from videollama2.checkpoints.errors import CheckpointError
        from videollama2.engines.cluster import ClusterError
        from videollama2.evaluation.errors import EvaluationError
        from videollama2.media.errors import MediaError  # its room imports numpy, so not before
        from videollama2.scale.errors import BulkError

        errors = (MediaError, CheckpointError, EvaluationError, BulkError, ClusterError)
        fail(str(error), CANNOT if isinstance(error, errors) else WRONG_USAGE)
    except OSError as error:  # a folder that is a file, no right to write, no room
        named = error.filename is not None and error.strerror
        fail(f"{error.filename}: {error.strerror}" if named else str(error), CANNOT)


@contextmanager
def working(what: str) -> Generator[None]:
    """Show on a terminal's stderr that something takes a while; elsewhere say nothing."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def write(text: str) -> None:
    """Text to stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def settle_output() -> None:
    """Keep other people's progress bars and warnings off the screen, and any text printable."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
