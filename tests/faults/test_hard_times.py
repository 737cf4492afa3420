"""Processes killed and a full disk while requests come: answers or clean refusals."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress

import psutil
from faultkit.seeds import all_seeds
from faultkit.wire import Server, ask, question, serving

CLIPS = [seed for seed in all_seeds() if seed.name in ("mp4", "webm", "gif", "wav", "png")]


def test_processes_killed_under_load() -> None:
    with serving() as server:
        counts = asyncio.run(_load(server, clients=6, each=8, killer=True))
        server.wait_for("requests_under_way", 0)
        left = {name: server.metric(name) for name in ("held_bytes", "rows", "jobs_queued")}
        calm = asyncio.run(_load(server, clients=2, each=3, killer=False))
        lost = server.metric("readers_lost_total")
    assert sum(counts.values()) == 48
    assert set(counts) <= {"200 ", "400 media_unreadable"}
    assert counts["200 "]
    assert lost == counts["400 media_unreadable"]
    assert not any(left.values())
    assert calm == {"200 ": 6}


def test_a_disk_that_fills_while_requests_come() -> None:
    """Not one byte more goes into a file: requests need none."""
    with serving() as server:
        main = psutil.Process(server.process.pid)
        for process in (main, *main.children(recursive=True)):
            process.rlimit(psutil.RLIMIT_FSIZE, (0, 0))
        counts = asyncio.run(_load(server, clients=2, each=4, killer=False))
    assert counts == {"200 ": 8}


async def _load(server: Server, *, clients: int, each: int, killer: bool) -> Counter[str]:
    """What became of so many requests, each for frames that no cache holds."""
    counts: Counter[str] = Counter()

    async def client(number: int) -> None:
        for turn in range(each):
            clip = CLIPS[(number + turn) % len(CLIPS)]
            body = question(clip.kind, clip.data, stream=False)
            if clip.kind == "video":
                body["messages"][0]["content"][0]["num_frames"] = 2 + number * each + turn
            reply = await ask(server.port, body, timeout_s=200)
            counts[f"{reply.status} {reply.code}"] += 1

    killing = asyncio.create_task(_kill(server)) if killer else None
    await asyncio.gather(*(client(number) for number in range(clients)))
    if killing is not None:
        killing.cancel()
    return counts


async def _kill(server: Server) -> None:
    """Kill one of the server's processes after another, whatever it is there for."""
    choose = random.Random(3)
    while True:
        found = psutil.Process(server.process.pid).children(recursive=True)
        if found:
            with suppress(psutil.NoSuchProcess):
                choose.choice(found).kill()
        await asyncio.sleep(1.0)
