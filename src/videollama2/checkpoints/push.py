"""A checkpoint's folder onto a hub, with a card; one commit, all of it or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.locate import layout_of

CARD = "README.md"


@dataclass(frozen=True)
class Push:
    """What goes where: `files` are texts that go along under a name of their own."""

    folder: Path
    repository: str
    private: bool = False
    revision: str | None = None
    message: str | None = None
    files: Mapping[str, str] = field(default_factory=dict[str, str])


def push(what: Push) -> str:
    """Upload a checkpoint folder of any layout; the repository is made if it is not there.

    Gives the commit's address.

    Raises:
        CheckpointError: the folder is no checkpoint, nobody is logged in, or the hub refuses.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    hub: Any = huggingface_hub  # it is partly untyped
    layout_of(what.folder)  # raises for a folder that is no checkpoint
    if hub.get_token() is None:
        raise CheckpointError(
            what.repository,
            "the hub takes uploads from those it knows, and there is no token here",
            "Log in with `hf auth login`, or set HF_TOKEN",
        )
    uploads = [
        hub.CommitOperationAdd(
            path_in_repo=str(path.relative_to(what.folder)), path_or_fileobj=path
        )
        for path in sorted(what.folder.rglob("*"))
        if path.is_file() and str(path.relative_to(what.folder)) not in what.files
    ]
    uploads += [
        hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=text.encode())
        for name, text in what.files.items()
    ]
    hub_calls = hub.HfApi(library_name="videollama2")
    try:
        hub_calls.create_repo(what.repository, private=what.private, exist_ok=True)
        if what.revision is not None:
            hub_calls.create_branch(what.repository, branch=what.revision, exist_ok=True)
        done = hub_calls.create_commit(
            what.repository,
            uploads,
            commit_message=what.message or f"Upload {what.folder.name}",
            revision=what.revision,
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise CheckpointError(
            what.repository,
            f"the hub does not take it ({reason})",
            "Check the name (ORG/NAME), the token's rights and the connection",
        ) from error
    return str(done.commit_url)
