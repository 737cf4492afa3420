"""The page as an application: gradio's, in a folder of its own, behind the door."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from videollama2.serving.page.door import Door
from videollama2.serving.service import Service

HINT = 'videollama2 serves its API below /v1; for a page here: pip install "videollama2[page]"\n'
EXAMPLES = Path(__file__).parent / "examples"
_LOOK_AGAIN_S = 0.1

log = logging.getLogger("videollama2.serving")


class Page:
    """Built once a server, when the model has been loaded; its door answers from the beginning."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._folder = Path(tempfile.mkdtemp(prefix="videollama2-page-")).resolve()
        self.door = Door(service.settings, self._folder, EXAMPLES)

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """The page is built and lives within this; what people left is deleted at the end."""
        over = asyncio.Event()
        living = asyncio.create_task(self._live(over))
        try:
            yield
        finally:
            over.set()
            await living
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _live(self, over: asyncio.Event) -> None:
        while not self._service.is_ready:
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _LOOK_AGAIN_S)
                return
        try:
            app = await asyncio.to_thread(_application, self._service, self._folder)
            async with app.router.lifespan_context(app):
                self.door.open(app)
                self._service.page_is_open = True
                await over.wait()
        except Exception:
            log.exception("the page could not be built")
            self.door.give_up()


def is_installed() -> bool:
    """Whether there can be a page."""
    return find_spec("gradio") is not None


def _application(service: Service, folder: Path) -> FastAPI:
    # Read when gradio is imported and when it makes a page: it reports nothing, and keeps files
    # nowhere else.
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    gradio: Any = import_module("gradio")
    from videollama2.serving.page.layout import STYLE, THEME, build

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    limits = service.settings.media.limits
    gradio.mount_gradio_app(
        app,
        build(gradio, service, folder, EXAMPLES),
        path="/",
        allowed_paths=[str(EXAMPLES)],
        max_file_size=limits.max_memory_bytes,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        footer_links=[],
        theme=THEME(gradio),
        css=STYLE.read_text(encoding="utf-8"),
    )
    return app
