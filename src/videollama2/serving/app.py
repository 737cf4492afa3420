"""The routes, and the page beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from videollama2.serving.completions import Completion, check_model
from videollama2.serving.errors import ApiError, internal
from videollama2.serving.gate import Application, Gate, key_of
from videollama2.serving.host import OwnNames
from videollama2.serving.metrics import CONTENT_TYPE
from videollama2.serving.page.mount import HINT, Page, is_installed
from videollama2.serving.protocol import ChatCompletionRequest, TagsRequest, parse
from videollama2.serving.service import Service
from videollama2.serving.tags import tags

Result = TypeVar("Result")


def create_app(service: Service) -> Application:
    """The whole server as an ASGI application; its lifespan starts and stops the service."""
    page = Page(service) if service.settings.page and is_installed() else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        service.start()
        try:
            async with page.lifespan() if page is not None else nullcontext():
                yield
        finally:
            service.stop()

    app = FastAPI(
        title="VideoLLaMA 2", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.include_router(_routes(service))
    if service.settings.page and page is None:
        app.get("/")(_hint)
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(Exception, _broken)
    gate = Gate(app, service, None if page is None else page.door)
    return gate if service.settings.names is None else OwnNames(gate, service.settings.names)


async def _hint() -> Response:
    return PlainTextResponse(HINT)


def _routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.api_route("/health/live", methods=["GET", "HEAD"])
    async def live() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        return {"status": "live"}

    @router.api_route("/health/ready", methods=["GET", "HEAD"])
    async def ready() -> Response:  # pyright: ignore[reportUnusedFunction]
        status = "ready" if service.is_ready else "not ready"
        return JSONResponse({"status": status}, 200 if service.is_ready else 503)

    @router.get("/metrics")
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(service.metrics.page(), headers={"content-type": CONTENT_TYPE})

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return {"object": "list", "data": [_card(service)]}

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        check_model(name, service)
        return _card(service)

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        body = await asyncio.to_thread(parse, ChatCompletionRequest, await _body(request))
        request_id: str = request.state.request_id
        completion = Completion(service, body, request_id, key_of(request.scope))
        try:
            started = await while_wanted(request, completion.begin())
            if body.stream:
                return StreamingResponse(
                    completion.stream(started),
                    media_type="text/event-stream",
                    headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
                )
            return JSONResponse(await while_wanted(request, completion.whole(started)))
        except BaseException:
            completion.cancel()
            raise

    @router.post("/v1/audio/tags")
    async def audio_tags(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        body = await asyncio.to_thread(parse, TagsRequest, await _body(request))
        return JSONResponse(await while_wanted(request, tags(service, body)))

    return router


def _card(service: Service) -> dict[str, Any]:
    return {
        "id": service.settings.model_name,
        "object": "model",
        "created": service.started,
        "owned_by": "videollama2",
        "num_frames": service.num_frames,
    }


async def _body(request: Request) -> bytes:
    """A request's body, which the request itself does not keep."""
    return b"".join([piece async for piece in request.stream() if piece])


async def while_wanted(request: Request, work: Awaitable[Result]) -> Result:
    """The result of `work`, which is cancelled as soon as the client has gone away.

    Raises:
        ApiError: 499, which nobody is there to read.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ApiError(499, "the client has gone away", code="client_gone")
        return working.result()
    finally:
        for task in (working, gone):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error.body, error.status, headers=error.headers)


async def _broken(_: Request, __: Exception) -> Response:
    error = internal()  # the gate logs what it was
    return JSONResponse(error.body, error.status)


async def _not_found(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    reason = "this route takes another method" if status == 405 else "there is no such route"
    refusal = ApiError(status, reason, code="no_such_route")
    return JSONResponse(refusal.body, status, headers=error.headers)
