"""A server in a process of its own, and requests to it that say exactly how they ended."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

SRC = str(Path(__file__).parents[3] / "src")


@dataclass
class Server:
    """A running `videollama2 serve` of the starter."""

    process: subprocess.Popen[str]
    port: int = 0
    log: list[str] = field(default_factory=list)

    def memory(self) -> dict[str, int]:
        """Resident bytes of the server and of the processes that it started."""
        main = psutil.Process(self.process.pid)
        children = 0
        for child in main.children(recursive=True):
            try:
                children += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return {"server": main.memory_info().rss, "children": children}

    def metric(self, name: str) -> float:
        reply = asyncio.run(request(self.port, "GET", "/metrics", timeout_s=30))
        lines = reply.body.decode().splitlines()
        return float(next(x.split()[-1] for x in lines if x.startswith(f"videollama2_{name} ")))

    def wait_for(self, name: str, value: float, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.metric(name) != value:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is {self.metric(name)}, not {value}")
            time.sleep(0.05)


@contextmanager
def serving(*arguments: str, **popen: Any) -> Iterator[Server]:
    """A server, ready; killed at the end with all that it started."""
    command = [sys.executable, "-m", "videollama2", "serve", "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, **popen)
    server = Server(process)
    try:
        for line in process.stderr or ():
            server.log.append(line)
            if found := re.search(r"serving \S+ at http://\S+:(\d+)/v1", line):
                server.port = int(found.group(1))
                break
        if not server.port:
            raise RuntimeError("".join(server.log))
        threading.Thread(target=_keep, args=(process, server.log), daemon=True).start()
        yield server
    finally:
        try:
            children = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        process.kill()
        process.wait()
        for child in children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue


def _keep(process: subprocess.Popen[str], log: list[str]) -> None:
    for line in process.stderr or ():
        if len(log) < 5000:
            log.append(line)


@dataclass(frozen=True)
class Reply:
    """`status` 0: the connection broke off, `problem` says how. `first_s` until the first byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    problem: str = ""

    @property
    def code(self) -> str:
        """The code of OpenAI's error object, "" where there is none."""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return ""


async def request(
    port: int, method: str, path: str, body: bytes = b"", timeout_s: float = 400.0
) -> Reply:
    """One request on a connection of its own."""
    began = time.monotonic()
    writer = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            try:
                writer.write(head.encode() + body)
                await writer.drain()
            except ConnectionError:
                pass  # refused before all of it was sent: the answer says why
            raw = await reader.read()
    except (OSError, TimeoutError) as error:
        return Reply(0, {}, b"", time.monotonic() - began, repr(error))
    finally:
        if writer is not None:
            writer.close()
    return parsed(raw, time.monotonic() - began)


def parsed(raw: bytes, seconds: float) -> Reply:
    """An answer, whole by its own account, or what is wrong with it."""
    head, mark, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not mark or not lines[0].startswith("HTTP/1.1 "):
        return Reply(0, {}, raw, seconds, f"no answer: {raw[:80]!r}")
    status = int(lines[0].split()[1])
    pairs = (line.partition(": ") for line in lines[1:])
    headers = {name.lower(): value for name, _, value in pairs}
    problem = ""
    if headers.get("transfer-encoding") == "chunked":
        pieces = []
        while body:
            size, _, body = body.partition(b"\r\n")
            length = int(size, 16)
            pieces.append(body[:length])
            body = body[length + 2 :]
            if not length:
                break
        else:
            problem = "cut off"
        body = b"".join(pieces)
    elif len(body) != int(headers.get("content-length", len(body))):
        problem = "cut off"
    return Reply(0 if problem else status, headers, body, seconds, problem)


def question(
    kind: str | None, data: bytes = b"", text: str = "What is shown?", **fields: Any
) -> Any:
    """The body of a question about a medium ("video", "audio", "image"; None: about none)."""
    content: list[dict[str, Any]] = []
    if kind is not None:
        url = f"data:{kind}/x;base64,{base64.b64encode(data).decode()}"
        part: dict[str, Any] = {"type": f"{kind}_url", f"{kind}_url": {"url": url}}
        if kind == "video":
            part["num_frames"] = 4
        content.append(part)
    content.append({"type": "text", "text": text})
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 1, **fields}


async def ask(port: int, body: Any, timeout_s: float = 400.0) -> Reply:
    """Post a question."""
    packed = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await request(port, "POST", "/v1/chat/completions", packed, timeout_s)
