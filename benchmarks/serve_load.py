"""Load: the server beside the same model under transformers' plain `generate` behind one lock.

    python benchmarks/serve_load.py [--seconds 30] [--clients 1 8 32 128] [--out benchmarks/results]

Each client asks about one of eight clips with sound, for 32 tokens (ours is held to a JSON schema that goes on,
so that no answer ends before, and pays for it; the plain one may not stop), and asks again as soon as it is answered. The two servers take turns on the same cores; both speak
HTTP and read a clip in their own way at each request, ours from its cache where it was asked before. First
token: from sending to the first piece of a stream (the plain server gives its answer in one piece, as
`generate` does). Quote ratios: the machine may be busy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]
CLIPS = sorted((ROOT / "tests/starter/clips").glob("*.mp4"))[:8]
TOKENS = 32


def plain() -> None:
    """`generate` behind one lock, over HTTP, until it is killed."""
    import torch

    from videollama2.assistant import VideoLlama2

    assistant: Any = VideoLlama2.from_pretrained("starter")
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = [
                {"type": "video", "path": str(CLIPS[body["clip"]])},
                {"type": "text", "text": body["text"]},
            ]
            with lock, torch.inference_mode():
                inputs = assistant.processor.apply_chat_template(
                    [{"role": "user", "content": content}],
                    tokenize=True, return_dict=True, add_generation_prompt=True,
                )  # fmt: skip
                ids = assistant.model.generate(
                    **inputs, min_new_tokens=TOKENS, max_new_tokens=TOKENS, do_sample=False
                )
            answer = assistant.tokenizer.decode(ids[0][-TOKENS:]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        request_queue_size = 512

    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


async def press(port: int, clients: int, seconds: float, body_of: Any, path: str) -> dict[str, Any]:
    """So many clients for so long: what ended within it."""
    first, between, whole = [], [], []
    until = time.monotonic() + seconds
    began = time.monotonic()

    async def client(number: int) -> None:
        choose = random.Random(number)
        while time.monotonic() < until:
            body = json.dumps(body_of(choose)).encode()
            sent = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            times, data = [], b""
            while piece := await reader.read(65536):
                data += piece
                if (b'"content":' in piece and b'"content": ""' not in piece) or path == "/":
                    times.append(time.monotonic())
            writer.close()
            if b" 200 " not in data[:20] or (path != "/" and b"[DONE]" not in data):
                raise RuntimeError(data[:300])
            if time.monotonic() > until + seconds:
                return
            whole.append(time.monotonic() - sent)
            first.append((times or [time.monotonic()])[0] - sent)
            streamed = path != "/" and len(times) > 1
            spent_s = times[-1] - times[0] if streamed else time.monotonic() - sent
            between.append(spent_s / (TOKENS - 1 if streamed else TOKENS))

    await asyncio.gather(*(client(number) for number in range(clients)))
    spent = time.monotonic() - began
    return {
        "clients": clients,
        "requests": len(whole),
        "requests_per_s": round(len(whole) / spent, 3),
        "first_token_s": percentiles(first),
        "per_token_ms": percentiles([1000 * value for value in between]),
        "whole_s": percentiles(whole),
    }


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        f"p{p}": round(ordered[min(len(ordered) * p // 100, len(ordered) - 1)], 3)
        for p in (50, 90, 99)
    }


def of_ours(clips: list[bytes]) -> Any:
    from faultkit.wire import question

    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 500}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return lambda choose: {
        **question(
            "video", choose.choice(clips), f"Name the thing, {choose.random():.3f}.", stream=True
        ),
        "max_tokens": TOKENS,
        "response_format": wanted,  # a list of numbers: as many tokens as the other server writes
    }


def table(rows: list[dict[str, Any]], where: str, seconds: float) -> str:
    lines = [
        "# The server under load",
        "",
        f"`python benchmarks/serve_load.py --seconds {seconds:g}`; {where}.",
        "",
        "| clients | server | requests/s | first token p50 / p90 / p99 (s) | per token p50 (ms) | times as many |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        first = row["first_token_s"]
        lines.append(
            f"| {row['clients']} | {row['server']} | {row['requests_per_s']} | {first['p50']} / {first['p90']} / {first['p99']}"
            f" | {row['per_token_ms']['p50']} | {row.get('ratio', '')} |"
        )
    return "\n".join(lines) + "\n"


def picture(rows: list[dict[str, Any]]) -> str:
    most = max(row["requests_per_s"] for row in rows)
    counts = sorted({row["clients"] for row in rows})
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 320" font-family="sans-serif" font-size="13">',
             '<rect width="640" height="320" fill="white"/><text x="20" y="24">requests a second, by clients</text>']  # fmt: skip
    for row in rows:
        ours = row["server"] == "ours"
        x = 40 + 150 * counts.index(row["clients"]) + (0 if ours else 55)
        height = 230 * row["requests_per_s"] / most
        parts.append(f'<rect x="{x}" y="{280 - height:.1f}" width="48" height="{height:.1f}" fill="{"#2563eb" if ours else "#9ca3af"}"/>'
                     f'<text x="{x}" y="{274 - height:.1f}">{row["requests_per_s"]:.2f}</text>')  # fmt: skip
    parts += [
        f'<text x="{60 + 150 * place}" y="300">{count}</text>' for place, count in enumerate(counts)
    ]
    parts.append(
        '<text x="420" y="24" fill="#2563eb">server</text><text x="490" y="24" fill="#6b7280">plain generate</text></svg>\n'
    )
    return "".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        plain()
        return
    from faultkit.wire import serving

    clips = [clip.read_bytes() for clip in CLIPS]
    command = [sys.executable, __file__, "--plain"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    baseline = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    rows: list[dict[str, Any]] = []
    try:
        port = int((baseline.stdout or sys.stdin).readline())
        with serving("--max-requests", "512") as server:

            def theirs(choose):
                return {"clip": choose.randrange(len(clips)), "text": "Name the thing."}

            mine = of_ours(clips)
            for path, where, body in (
                ("/v1/chat/completions", server.port, mine),
                ("/", port, theirs),
            ):
                asyncio.run(press(where, 2, 3, body, path))  # warm
            for clients in arguments.clients:
                pair = [
                    {
                        "server": "ours",
                        **asyncio.run(
                            press(
                                server.port,
                                clients,
                                arguments.seconds,
                                mine,
                                "/v1/chat/completions",
                            )
                        ),
                    },
                    {
                        "server": "plain generate",
                        **asyncio.run(press(port, clients, arguments.seconds, theirs, "/")),
                    },
                ]
                pair[0]["ratio"] = round(pair[0]["requests_per_s"] / pair[1]["requests_per_s"], 2)
                rows += pair
                print(json.dumps(pair), flush=True)
    finally:
        baseline.kill()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    ).stdout.strip()
    where = f"{os.cpu_count()} cores, {platform.machine()}, shared with other work, load {os.getloadavg()[0]:.0f}; {commit}, {time.strftime('%Y-%m-%d')}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "serve_load.json").write_text(
        json.dumps({"where": where, "rows": rows}, indent=1)
    )
    (arguments.out / "serve_load.md").write_text(table(rows, where, arguments.seconds))
    (arguments.out / "serve_load.svg").write_text(picture(rows))


if __name__ == "__main__":
    main()
