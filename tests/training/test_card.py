"""`videollama2 push`: a real client against a hub of our own that keeps what it is given."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from videollama2 import VideoLlama2
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

TOKEN = "hf_for_tests"


@dataclass
class Hub:
    """What the hub was given: repositories, branches, files by commit, and who asked."""

    address: str = ""
    made: dict[str, bool] = field(default_factory=dict)
    branches: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """The hub's calls that an upload makes, as its public API has them."""

    hub: Hub

    def reply(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def do_PUT(self) -> None:
        content = self.body()
        self.hub.stored[hashlib.sha256(content).hexdigest()] = content
        self.reply({})

    def do_POST(self) -> None:
        body = self.body()
        calls = {
            "/api/repos/create": self.create, "/branch/": self.branch, "/preupload/": self.modes,
            "/info/lfs/objects/batch": self.batch, "/commit/": self.commit,
            "/api/validate-yaml": self.validate,
        }  # fmt: skip
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.reply({"error": "who are you?"}, 401)
            return
        call = next((call for part, call in calls.items() if part in self.path), None)
        if call is None:
            self.reply({"error": f"no {self.path}"}, 404)
        else:
            self.reply(call(body))

    def create(self, body: bytes) -> Any:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        private = bool(asked.get("private") or asked.get("visibility") == "private")
        self.hub.made[name] = private
        return {"url": f"{self.hub.address}/{name}", "name": name}

    def branch(self, _: bytes) -> Any:
        self.hub.branches.append(self.path.rpartition("/")[2])
        return {}

    def modes(self, body: bytes) -> Any:
        return {
            "files": [
                {"path": one["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular"}
                for one in json.loads(body)["files"]
            ]
        }  # fmt: skip

    def batch(self, body: bytes) -> Any:
        objects = [
            {"oid": one["oid"], "size": one["size"],
             "actions": {"upload": {"href": f"{self.hub.address}/lfs/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]  # fmt: skip
        return {"objects": objects, "transfer": "basic"}

    def validate(self, body: bytes) -> Any:
        assert yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
        return {"errors": [], "warnings": []}

    def commit(self, body: bytes) -> Any:
        self.hub.revisions.append(self.path.rpartition("/")[2])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif line["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub.stored[value["oid"]]
        address = f"{self.hub.address}/me/mine/commit/0123"
        return {"success": True, "commitOid": "0123", "commitUrl": address}

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    kept = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Handler,), {"hub": kept}))
    kept.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def push(hub: Hub, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf"),
        }  # fmt: skip
        if token is not None:
            environment["HF_TOKEN"] = token
        return subprocess.run(
            [sys.executable, "-m", "videollama2", "push", *map(str, arguments)],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip

    return run


def test_a_run_with_its_card(
    push: Callable[..., Any], hub: Hub, settings: Callable[..., list[str]], tmp_path: Path
) -> None:
    fast = ("adapter.rank=2", "batch.total=7", "batch.per_device=7", "optimizer.epochs=2")
    outcome = train(load_recipe("lora", settings(tmp_path / "run", *fast)))
    assert outcome.model is not None
    done = push(tmp_path / "run", "me/mine", "--private", "--revision", "try", "--message", "One")
    assert (done.returncode, done.stdout) == (0, f"{hub.address}/me/mine/commit/0123\n"), (
        done.stderr
    )
    assert hub.made == {"me/mine": True}
    assert (hub.branches, hub.revisions, hub.messages) == (["try"], ["try"], ["One"])
    local = {str(p.relative_to(outcome.model)): p.read_bytes() for p in outcome.model.iterdir()}
    assert {**local, "README.md": hub.files["README.md"]} == hub.files
    assert "README.md" not in local

    card = hub.files["README.md"].decode()
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["library_name"] == "videollama2"
    assert "lora" in header["tags"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert f"| loss | {lines[0]['loss']} | {lines[-1]['loss']} |" in card
    assert "| `records.json` | 7 |" in card
    assert 'from_pretrained("me/mine")' in card
    recipe = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert recipe == yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())

    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in hub.files.items():
        (copy / name).write_bytes(content)
    assert VideoLlama2.from_pretrained(str(copy)).model.config.num_frames == 8


def test_what_is_refused(push: Callable[..., Any], hub: Hub, tiny_folder: Path) -> None:
    done = push(tiny_folder, "me/mine", token=None)
    assert done.returncode == 1
    assert "there is no token here" in done.stderr
    assert "hf auth login" in done.stderr
    done = push(tiny_folder, "me/mine", token="hf_wrong")
    assert done.returncode == 1
    assert "the hub does not take it (" in done.stderr
    assert "401" in done.stderr
    assert done.stderr.count("\n") == 1
    done = push(tiny_folder, "no name at all")
    assert done.returncode == 1
    done = push(tiny_folder / "nowhere", "me/mine")
    assert done.returncode == 1
    assert not hub.files
