"""Servers with their page, and a headless Chromium with a camera and a microphone of its own."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, KEY, PATIENCE_MS, Served, Tab, end, serve
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

LARGEST_SCREENSHOT = 60_000
WATCH_CAMERAS = """window.streams = [];
if (navigator.mediaDevices) {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async what => {
    const stream = await open(what); window.streams.push(stream); return stream; };
}
window.recorded = 0;
window.MediaRecorder = class extends window.MediaRecorder {
  constructor(...given) {
    super(...given);
    this.addEventListener('dataavailable', one => { window.recorded += one.data.size; });
  }
};"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("the page").addoption(
        "--screenshots", metavar="DIR", default=None, help="keep screenshots of the page here"
    )


@pytest.fixture(scope="session")
def starter() -> Iterator[Served]:
    served = serve()
    yield served
    end(served)


@pytest.fixture(scope="session")
def tagging(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A random model that names sounds, behind a key, for small files. One name is hostile."""
    folder = tmp_path_factory.mktemp("tagging") / "tagger"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    count = config["audio_config"]["num_sound_classes"]
    names = ["Violin, fiddle", HOSTILE, "Drum", "Music", "Silence", "Bell", "Speech"]
    assert len(names) == count
    config["audio_config"]["id2label"] = dict(enumerate(names))
    config["audio_config"]["label2id"] = {name: number for number, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config))
    served = serve("--model", str(folder), "--api-key", KEY, "--max-media-mib", "1")
    yield served
    end(served)


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    options = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=request.config.getoption("--chromium"), args=options
        )
        yield browser
        browser.close()


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Open an address in a browser of its own."""
    contexts: list[Any] = []

    def open_one(address: str, *, ready: str = "#box textarea", **options: Any) -> Tab:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(WATCH_CAMERAS)
        tab = Tab(context.new_page())
        tab.page.on("request", lambda one: tab.requests.append(one.url))
        tab.page.on("pageerror", lambda one: tab.errors.append(str(one)))
        tab.page.on(
            "console",
            lambda one: tab.errors.append(one.text) if "Content Security" in one.text else None,
        )
        tab.page.goto(address)
        tab.wait(ready)
        return tab

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keep a screenshot, where that is wanted."""
    folder = request.config.getoption("--screenshots")

    def save(tab: Tab, name: str, part: str = "body") -> None:
        if folder is None:
            return
        tab.page.wait_for_timeout(700)  # what slides and fades has come to rest
        whole = part == "body"
        taken = tab.page.screenshot() if whole else tab.wait(part).screenshot()
        picture = Image.open(io.BytesIO(taken))
        Path(folder).mkdir(parents=True, exist_ok=True)
        for quality in (82, 70, 55, 40):
            picture.convert("RGB").save(Path(folder) / f"{name}.webp", quality=quality, method=6)
            if (Path(folder) / f"{name}.webp").stat().st_size <= LARGEST_SCREENSHOT:
                break

    return save


@pytest.fixture
def markup_server(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, threading.Event]]:
    """A page in this process whose every answer is full of markup, and goes on at a sign."""
    import asyncio
    import time

    import uvicorn

    from videollama2.assistant import VideoLlama2
    from videollama2.serving.app import create_app
    from videollama2.serving.page import desk
    from videollama2.serving.service import Service
    from videollama2.serving.settings import ServerSettings
    from videollama2.serving.worker import Wrote

    go_on = threading.Event()

    async def ask(*_: Any) -> Any:
        for piece in (
            "# Title\n**bold** [link](http://example.org) ",
            "![i](http://example.org/i.png) <a href=http://example.org>a</a> ",
            f"{HOSTILE} <script>window.hurt=1</script>",
        ):
            yield Wrote(0, piece, (), 1, None)
            while not go_on.is_set():
                await asyncio.sleep(0.05)

    monkeypatch.setattr(desk, "ask", ask)
    service = Service(
        lambda: VideoLlama2.from_pretrained(tiny_folder), ServerSettings(page=True, readers=1)
    )
    config = uvicorn.Config(
        create_app(service), port=0, log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 300
    while not service.page_is_open:
        assert time.monotonic() < deadline, service.worker.failure
        time.sleep(0.1)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", go_on
    go_on.set()
    server.should_exit = True
    thread.join(20)
