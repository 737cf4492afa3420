"""Small files that ask for much are refused soon and cost little."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from faultkit.bombs import BOMBS, MB, Bomb
from faultkit.wire import Server, ask, question, serving

MOST_S = 2.0
MOST_BYTES = 200 * MB


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        for _ in range(3):  # whatever is loaded at first use
            asyncio.run(ask(found.port, question("audio", b"RIFF")))
        yield found


def peak(pid: int, *, forget: bool = False) -> int:
    """The most that a process has held, in bytes; from now on anew."""
    if forget:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name)
def test_a_bomb_is_refused_soon_and_costs_little(
    server: Server, bomb: Bomb, record_property: object
) -> None:
    body = json.dumps(question(bomb.kind, bomb.make())).encode()
    readers = [child.pid for child in psutil.Process(server.process.pid).children(recursive=True)]
    before = {pid: peak(pid, forget=True) for pid in (server.process.pid, *readers)}
    spent = sum(map(processor_seconds, before))
    reply = asyncio.run(ask(server.port, body))
    spent = sum(map(processor_seconds, before)) - spent
    grown = {pid: peak(pid) - most for pid, most in before.items()}
    print(f"\n{bomb.name}: {len(body) / MB:.1f} MB body, {reply.seconds:.2f} s, "
          f"{spent:.2f} s of processor, "
          f"{grown[server.process.pid] / MB:.0f} MB server, "
          f"{max(grown[pid] for pid in readers) / MB:.0f} MB reader, {reply.code}")  # fmt: skip
    assert reply.status == 400, reply.body
    assert reply.code.startswith("media_")
    assert reply.code in (bomb.code or reply.code)
    assert reply.code != "media_unreadable", "its reader was lost"
    assert max(grown.values()) < MOST_BYTES
    assert spent < MOST_S  # not the clock's seconds, as other work may share the machine
    assert asyncio.run(ask(server.port, question(None))).status == 200


def processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
