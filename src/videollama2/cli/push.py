"""`videollama2 push FOLDER REPOSITORY`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videollama2.cli.console import exit_codes, settle_output, working, write

EXAMPLES = """
[bold]Examples[/bold]

A run: its model, with a card that names recipe, data and metrics

  videollama2 push runs/video_finetune me/my-video-model --private

Its adapter alone, or any other checkpoint folder

  videollama2 push runs/lora/adapter me/my-adapter --message "Second try"
"""


def push(
    folder: Annotated[str, typer.Argument(help="A run, or a checkpoint folder of any layout.")],
    repository: Annotated[str, typer.Argument(help="Where to, as ORG/NAME.")],
    private: Annotated[
        bool, typer.Option("--private", help="For you alone, if it is new.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="A branch; made if it is new.")] = None,
    message: Annotated[str | None, typer.Option(help="What the commit says.")] = None,
) -> None:
    """Upload a model to the hub. Needs a token: `hf auth login`, or HF_TOKEN."""
    with exit_codes():
        settle_output()
        from videollama2.checkpoints.push import CARD, Push
        from videollama2.checkpoints.push import push as upload

        place = Path(folder)
        model = place / "model" if (place / "recipe.yaml").is_file() else place
        files: dict[str, str] = {}
        if not (model / CARD).is_file() and any(
            (one / "recipe.yaml").is_file() for one in (model, model.parent)
        ):
            from videollama2.training.card import card, run_of

            run = run_of(model)
            if run is not None:
                files[CARD] = card(run).replace("THIS_REPOSITORY", repository)
        with working(f"uploading {model}"):
            address = upload(Push(model, repository, private, revision, message, files))
        write(f"{address}\n")
