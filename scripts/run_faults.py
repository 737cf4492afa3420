"""Broken files, overload and growth, over and over: the long form of tests/faults.

    python scripts/run_faults.py files --count 10000 --out benchmarks/results/faults.json
    python scripts/run_faults.py overload --seconds 600 --out benchmarks/results/faults.json
    python scripts/run_faults.py growth --requests 10000 --out benchmarks/results/faults.json

Each part writes its numbers under its own name into the one file. `files` goes on where it was
stopped, as file number n is the same in every run. Ends with status 1 where something is not as it
should be. What counts as a wrong answer is said in tests/helpers/faultkit/reading.py.
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
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]

from faultkit.mutations import mutant  # noqa: E402
from faultkit.reading import Reader, judge  # noqa: E402
from faultkit.seeds import all_seeds  # noqa: E402
from faultkit.wire import Reply, Server, ask, question, serving  # noqa: E402

MOST_NOTED = 50
CLEAN = {"queue_full", "deadline_exceeded"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("files", "overload", "growth"))
    parser.add_argument("--count", type=int, default=10_000, help="files")
    parser.add_argument("--run", type=int, default=7, help="which run of files")
    parser.add_argument("--seconds", type=float, default=600.0, help="of overload")
    parser.add_argument("--times", type=int, default=10, help="clients for each place")
    parser.add_argument("--requests", type=int, default=10_000, help="of growth")
    parser.add_argument("--out", type=Path, help="where the numbers go; printed without")
    arguments = parser.parse_args()
    part = {"files": files, "overload": overload, "growth": growth}[arguments.part]
    result = part(arguments)
    print(json.dumps(result, indent=1))
    return 0 if result["passed"] else 1


def keep(arguments: argparse.Namespace, result: dict[str, Any]) -> None:
    if arguments.out is None:
        return
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    ).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    where = {"commit": commit, "date": time.strftime("%Y-%m-%d"), "machine": machine}
    arguments.out.write_text(json.dumps({**found, arguments.part: {**result, **where}}, indent=1))


# --- broken files ---


def files(arguments: argparse.Namespace) -> dict[str, Any]:
    """Each file through the readers, then through the server; the two have to agree."""
    state = _begun(arguments)
    counts, noted, first = Counter(state["counts"]), state["noted"], state["files"]
    seeds, reader = all_seeds(), Reader()
    whole = {seed.name: reader.read(seed.kind, seed.data, 12) for seed in seeds}
    result: dict[str, Any] = {}
    with serving("--max-requests", "64") as server:
        for seed in seeds:
            reply = asyncio.run(ask(server.port, question(seed.kind, seed.data)))
            if reply.status != 200 or whole[seed.name].how != "read":
                raise RuntimeError(f"the unbroken {seed.name} is refused: {reply.body[:300]!r}")
        before, began = server.memory(), time.monotonic()
        for number in range(first, arguments.count):
            broken = mutant(seeds, number, arguments.run)
            found = reader.read(broken.seed.kind, broken.data)
            reply = asyncio.run(ask(server.port, question(broken.seed.kind, broken.data)))
            verdict, reason = "", ""
            if found.how == "read":
                verdict, reason = judge(broken.seed, broken.data, whole[broken.seed.name], found)
            problems = _problems(found.how, verdict, reply)
            counts.update([f"reader: {found.how}", f"server: {reply.status} {reply.code}".strip()])
            counts.update([verdict] if verdict else [])
            counts.update(problems)
            if (problems or verdict == "undecided") and len(noted) < MOST_NOTED:
                why = f"{found.how} {found.reason} {reason} {reply.problem}".strip()
                noted.append([number, broken.seed.name, broken.ways, [*problems, verdict], why])
            if number % 100 == 99 or number + 1 == arguments.count:
                lost = int(server.metric("readers_lost_total")) + state["lost"]
                result = {
                    "files": number + 1,
                    "run": arguments.run,
                    "counts": dict(sorted(counts.items())),
                    "readers_lost": lost,
                    "seconds": round(time.monotonic() - began + state["seconds"], 1),
                    "memory_before": before,
                    "memory_after": server.memory(),
                    "noted": noted,
                    "passed": not lost and not any(key.startswith("bad:") for key in counts),
                }
                keep(arguments, result)
                print(f"{number + 1} files", dict(counts), flush=True)
    reader.close()
    return result


def _begun(arguments: argparse.Namespace) -> dict[str, Any]:
    fresh = {"counts": {}, "noted": [], "files": 0, "lost": 0, "seconds": 0.0}
    if arguments.out is None or not arguments.out.exists():
        return fresh
    found = json.loads(arguments.out.read_text()).get("files")
    if found is None or found["run"] != arguments.run or found["files"] >= arguments.count:
        return fresh
    return {**fresh, **found, "lost": found["readers_lost"]}


def _problems(how: str, verdict: str, reply: Reply) -> list[str]:
    problems = []
    if how not in ("read", "refused"):
        problems.append(f"bad: {how} of the reader")
    if reply.status not in (200, 400, 413):
        problems.append(f"bad: the server answers {reply.status}")
    if reply.code in ("media_unreadable", "internal_error"):
        problems.append(f"bad: {reply.code}")
    if reply.status == 200 and (how != "read" or verdict == "wrong"):
        problems.append("bad: a wrong 200")
    if reply.status != 200 and how == "read" and verdict != "undecided":
        problems.append("refused by the server alone")
    return problems


# --- more than it can take ---


def overload(arguments: argparse.Namespace) -> dict[str, Any]:
    """So many clients for each place; all ask again at once, on new connections."""
    places = 32
    with serving("--max-requests", str(places), "--deadline", "60") as server:
        clips = [seed for seed in all_seeds() if seed.name in ("mp4", "webm", "wav", "png")]
        clients = places * arguments.times
        counts, slowest, lost = asyncio.run(_press(server, clients, arguments.seconds, clips))
        after = asyncio.run(ask(server.port, question("video", clips[0].data)))
        server.wait_for("requests_under_way", 0)
        leftover = {name: server.metric(name) for name in ("held_bytes", "rows", "jobs_queued")}
        memory = server.memory()
    result = {
        "places": places,
        "clients": clients,
        "seconds": arguments.seconds,
        "counts": dict(sorted(counts.items())),
        "requests": sum(counts.values()),
        "slowest_s": round(slowest, 2),
        "lost": lost[:MOST_NOTED],
        "left_over": leftover,
        "memory_after": memory,
        "answers_afterwards": after.status == 200,
        "passed": not lost and after.status == 200 and not any(leftover.values())
        and counts["answered"] > 0,
    }  # fmt: skip
    keep(arguments, result)
    return result


async def _press(
    server: Server, clients: int, seconds: float, clips: list[Any]
) -> tuple[Counter[str], float, list[str]]:
    counts: Counter[str] = Counter()
    lost: list[str] = []
    slowest = 0.0
    until = time.monotonic() + seconds

    async def client(number: int) -> None:
        nonlocal slowest
        choose = random.Random(number)
        await asyncio.sleep(choose.random())
        while time.monotonic() < until:
            clip = choose.choice([None, *clips])
            streams = choose.random() < 0.5
            body = question(
                clip and clip.kind, clip.data if clip else b"", f"What is it, {choose.random()}?",
                stream=streams,
            )  # fmt: skip
            body["max_tokens"] = choose.choice((1, 8, 32))
            reply = await ask(server.port, body)
            slowest = max(slowest, reply.seconds)
            kind, problem = _sort(reply, streams)
            counts[kind] += 1
            if problem:
                lost.append(problem)
            if kind != "answered":
                await asyncio.sleep(0.5 + choose.random())

    await asyncio.gather(*(client(number) for number in range(clients)))
    return counts, slowest, lost


def _sort(reply: Reply, streams: bool) -> tuple[str, str]:
    """(What became of a request, what is wrong with that)."""
    if reply.status == 200:
        if streams:
            whole = reply.body.endswith(b"data: [DONE]\n\n") and b'"error"' not in reply.body
            if b'"deadline_exceeded"' in reply.body:
                return "deadline_exceeded", ""
        else:
            whole = bool(json.loads(reply.body)["choices"][0]["finish_reason"])
        return ("answered", "") if whole else ("lost", f"half an answer: {reply.body[-80:]!r}")
    if reply.code in CLEAN and (reply.status != 429 or int(reply.headers["retry-after"]) > 0):
        return reply.code, ""
    return "lost", f"{reply.status} {reply.code} {reply.problem}"


# --- again and again ---


def growth(arguments: argparse.Namespace) -> dict[str, Any]:
    """Requests of all kinds; memory after the first tenth against memory at the end."""
    seeds = all_seeds()
    total = arguments.requests
    marks: list[dict[str, int]] = []
    counts: Counter[str] = Counter()
    with serving("--cache-mib", "4", "--prefix-mib", "8", "--max-requests", "64") as server:
        for tenth in range(11):
            amount = total // 10
            asyncio.run(_many(server, seeds, tenth * amount, amount, counts))
            server.wait_for("requests_under_way", 0)
            marks.append(server.memory())
            print(tenth, marks[-1], dict(counts), flush=True)
    grown = {kind: marks[-1][kind] / marks[0][kind] - 1 for kind in ("server", "children")}
    strange = [key for key in counts if key.split()[0] not in ("200", "400")]
    result = {
        "warm_up": total // 10,
        "requests": total,
        "counts": dict(sorted(counts.items())),
        "memory": marks,
        "growth_percent": {kind: round(100 * value, 2) for kind, value in grown.items()},
        "passed": not strange and all(value < 0.05 for value in grown.values()),
    }
    keep(arguments, result)
    return result


async def _many(
    server: Server, seeds: list[Any], first: int, count: int, counts: Counter[str]
) -> None:
    async def one(number: int) -> None:
        choose = random.Random(number)
        seed = seeds[number % len(seeds)]
        body: Any = question(seed.kind, seed.data, max_tokens=choose.choice((1, 4, 16)))
        kind = number % 8
        if kind == 0:
            body = question(None, text="Hello", n=3, temperature=1)
        elif kind == 1:
            body = question(seed.kind, mutant(seeds, number, 11).data)
        elif kind == 2:
            body = b"{" * choose.randrange(2, 1000)
        elif kind == 3 and seed.kind == "video":  # other frames: nothing of it is kept already
            body["messages"][0]["content"][0]["num_frames"] = choose.randrange(2, 12)
        elif kind == 4:
            body = question(seed.kind, seed.data, stream=True, logprobs=True)
        reply = await ask(server.port, body)
        counts[f"{reply.status} {reply.code}".strip()] += 1

    waiting = asyncio.Semaphore(8)

    async def in_turn(number: int) -> None:
        async with waiting:
            await one(number)

    await asyncio.gather(*(in_turn(number) for number in range(first, first + count)))


if __name__ == "__main__":
    sys.exit(main())
