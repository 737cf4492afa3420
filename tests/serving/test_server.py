"""The starter served by the command: the documentation's examples, real clients, SIGTERM."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "serving.md"
KEY = "sk-test"
CLIP = ROOT / "tests" / "starter" / "clips" / "scene-000.mp4"
# A schema that keeps the model writing for as long as it may.
ENDLESS = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "numbers",
            "schema": {"type": "array", "items": {"type": "integer"}, "minItems": 5000},
        },
    }
}


@dataclass
class Served:
    process: subprocess.Popen[str]
    address: str
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def metric(self, name: str) -> float:
        headers = {"Authorization": f"Bearer {KEY}"}
        page = httpx2.get(f"{self.address}/metrics", headers=headers).text
        line = next(line for line in page.splitlines() if line.startswith(f"videollama2_{name} "))
        return float(line.split()[-1])

    def wait_for(self, name: str, value: float) -> None:
        deadline = time.monotonic() + 60
        while self.metric(name) != value:
            assert time.monotonic() < deadline, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "videollama2", "serve", "--port", "0", "--api-key", KEY],
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stderr is not None
    server = Served(process, "")
    for line in process.stderr:
        server.log.append(line)
        found = re.search(r"serving starter at (http\S+)/v1", line)
        if found:
            server.address, server.seconds = found.group(1), time.monotonic() - began
            break
    assert server.address, "".join(server.log)
    reading = threading.Thread(target=lambda: server.log.extend(process.stderr), daemon=True)
    reading.start()
    yield server
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.address}/v1", api_key=KEY, max_retries=0)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


def here(text: str, served: Served) -> str:
    return text.replace("http://localhost:8000", served.address).replace("$KEY", KEY)


def test_curl_examples(served: Served, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(CLIP.read_bytes())
    found = [block for block in blocks("bash") if "curl" in block]
    assert len(found) >= 3
    for block in found:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here(block, served)],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        assert '"error"' not in done.stdout, done.stdout


def test_openai_examples(served: Served, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "clip.mp4").write_bytes(CLIP.read_bytes())
    code = here("\n".join(blocks("python")), served)
    assert "openai" in code
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "bell" in done.stdout


def test_the_official_client_and_its_errors(client: openai.OpenAI) -> None:
    question: Any = [{"role": "user", "content": "Hello"}]
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-5", messages=question)
    assert missing.value.code == "model_not_found"
    wrong: Any = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="starter", messages=[{"role": "user", "content": wrong}]
        )
    assert refused.value.code == "media_corrupt"
    assert refused.value.param == "messages[0].content[0]"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    assert [model.id for model in client.models.list()] == ["starter"]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_client_that_goes_away_frees_its_place(served: Served, streaming: bool) -> None:
    before = served.metric("cancelled_total")
    body = {"messages": [{"role": "user", "content": "go on"}], "max_tokens": 1500, **ENDLESS}
    headers = {"Authorization": f"Bearer {KEY}"}
    impatient = HTTPConnection(served.address.removeprefix("http://"), timeout=30)
    said = json.dumps({**body, "stream": streaming})
    impatient.request("POST", "/v1/chat/completions", said, headers)
    if streaming:
        impatient.getresponse().read(1)
    served.wait_for("rows", 1)
    impatient.close()
    served.wait_for("rows", 0)
    served.wait_for("requests_under_way", 0)
    assert served.metric("cancelled_total") == before + 1


def test_slow_and_cut_uploads(served: Served) -> None:
    host, port = served.address.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(f"{head}Content-Length: 999999999\r\n\r\n".encode())
        assert b" 413 " in wire.recv(4096)  # told before anything is sent
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())
        served.wait_for("requests_under_way", 1)
    served.wait_for("requests_under_way", 0)
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(head.encode() + b"X: " + b"a" * 100_000 + b"\r\n\r\n")
        assert b" 400 " in wire.recv(4096) or not wire.recv(4096)


def test_the_log_tells_no_secrets(served: Served) -> None:
    address = f"{served.address}/v1/models?secret=hidden"
    headers = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "../../mine"}
    answer = httpx2.get(address, headers=headers)
    given = answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{24}", given)
    deadline = time.monotonic() + 20
    while not any(given in line for line in served.log):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    log = "".join(served.log)
    assert "GET /v1/models 200" in log
    assert "hidden" not in log
    assert KEY not in log
    assert "mine" not in log


def test_sigterm_ends_what_is_under_way_and_begins_nothing(served: Served) -> None:
    body = {"messages": [{"role": "user", "content": "go on"}], "max_tokens": 300, **ENDLESS}
    headers = {"Authorization": f"Bearer {KEY}"}
    said: list[str] = []
    with httpx2.Client(headers=headers, timeout=60) as patient:
        address = f"{served.address}/v1/chat/completions"
        with patient.stream("POST", address, json={**body, "stream": True}) as answer:
            lines = answer.iter_lines()
            said.append(next(lines))
            served.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 30
            while httpx2.get(f"{served.address}/health/ready").status_code != 503:
                assert time.monotonic() < deadline
            assert httpx2.get(f"{served.address}/health/live").status_code == 200
            late = httpx2.post(address, json=body, headers=headers)
            assert late.status_code == 503
            assert late.json()["error"]["code"] == "shutting_down"
            said += list(lines)
    assert said[-2:] == ["data: [DONE]", ""] or said[-1] == "data: [DONE]"
    last = json.loads([line for line in said if line.startswith("data: {")][-1][6:])
    assert last["choices"][0]["finish_reason"] == "length"
    assert served.process.wait(timeout=30) == 0
    for process in Path("/proc").glob("[0-9]*/status"):
        try:
            assert f"PPid:\t{served.process.pid}\n" not in process.read_text()
        except OSError:
            continue


def test_what_cannot_be_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, reason in (
            (["--port", port], "cannot listen at 127.0.0.1"),
            (["--port", "0", "--model", str(tmp_path)], str(tmp_path)),
            (["--port", "0", "--api-key", ""], "--api-key is empty"),
            (["--port", "0", "--allow-local-media-path", "/nowhere"], "no such folder"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "videollama2", "serve", *arguments],
                capture_output=True, text=True, check=False, timeout=100,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )  # fmt: skip
            assert done.returncode in (1, 2), done.stderr
            assert reason in done.stderr
            assert "Traceback" not in done.stderr
