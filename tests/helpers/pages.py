"""A server with its page, and a tab of a browser in which it is open."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEY = "sk-page"
REFUSED = "⚠"
WAITING = "… looking and listening"
PATIENCE_MS = 180_000  # for every wait: a busy machine is slow, and nothing is judged by its time
HOSTILE = "<img src=x onerror=window.hurt=1>"


@dataclass
class Served:
    process: subprocess.Popen[str]
    address: str = ""
    log: list[str] = field(default_factory=list)


def serve(*options: str) -> Served:
    """A server whose page is open."""
    process = subprocess.Popen(
        [sys.executable, "-m", "videollama2", "serve", "--port", "0", *options],
        stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    served = Served(process)
    for line in process.stderr:
        served.log.append(line)
        found = re.search(r"the page for people is at (http\S+)/", line)
        if found:
            served.address = found.group(1)
            break
    assert served.address, "".join(served.log)
    threading.Thread(target=lambda: served.log.extend(process.stderr), daemon=True).start()
    return served


def end(served: Served) -> None:
    served.process.terminate()
    try:
        served.process.wait(20)
    except subprocess.TimeoutExpired:
        served.process.kill()
        served.process.wait()


@dataclass
class Tab:
    """A page that is open, what it asked of any host, and what went wrong in it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def wait(self, selector: str, **options: Any) -> Any:
        return self.page.wait_for_selector(selector, **options)

    def ask(self, question: str, *files: Path) -> str:
        """The whole answer."""
        number = len([one for one in self.answers() if not one.startswith(REFUSED)])
        self.send(question, *files)
        return self.next_answer(number)

    def refused(self, question: str, *files: Path) -> str:
        """What is said instead of an answer."""
        self.send(question, *files)
        self.wait(f"#chat [data-testid=bot]:has-text('{REFUSED}')")
        return self.answers()[-1]

    def send(self, question: str, *files: Path) -> None:
        if files:
            self.attach(*files)
        self.page.fill("#box textarea", question)
        self.page.click("#box [data-testid=submit-button]")

    def attach(self, *files: Path) -> None:
        before = len(self.page.query_selector_all("#box .thumbnail-item"))
        self.page.set_input_files("#box input[type=file]", [str(file) for file in files])
        count = before + len(files)
        self.page.wait_for_function(
            "count => document.querySelectorAll('#box .thumbnail-item').length == count", arg=count
        )

    def played(self, selector: str, seconds: float) -> None:
        """Wait until a `<video>` has shown so much more, by its own clock."""
        self.wait(selector)
        clock = "selector => document.querySelector(selector)?.currentTime ?? 0"
        until = float(self.page.evaluate(clock, selector)) + seconds
        self.page.wait_for_function(
            f"([selector, until]) => ({clock})(selector) >= until", arg=[selector, until]
        )

    def answers(self) -> list[str]:
        found = self.page.query_selector_all("#chat [data-testid=bot] .message-content")
        return [one.inner_text().strip() for one in found]

    def next_answer(self, number: int) -> str:
        """The answer after `number` others, once it is whole; refusals are no answers."""
        self.page.wait_for_function(
            """([number, no_answers]) => document.querySelector('[data-testid=submit-button]')
            && [...document.querySelectorAll('#chat [data-testid=bot]')].filter(one =>
              !no_answers.includes(one.innerText.trim()[0])).length > number""",
            arg=[number, [REFUSED, WAITING[0]]],
        )
        return self.answers()[number]
