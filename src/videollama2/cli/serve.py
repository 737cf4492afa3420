"""`videollama2 serve`."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videollama2.cli import options
from videollama2.cli.console import WRONG_USAGE, exit_codes, fail, note, settle_output

if TYPE_CHECKING:
    from videollama2.serving.service import Service
    from videollama2.serving.settings import ServerSettings

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 serve

  videollama2 serve --model ./VideoLLaMA2.1-7B-AV --port 9000 --api-key "$(cat key.txt)"

  videollama2 serve --engine vllm --model ./VideoLLaMA2.1-7B-AV --tensor-parallel 2

  curl localhost:8000/v1/chat/completions -H 'Content-Type: application/json' -d
    '{"messages": [{"role": "user", "content": "What do you do?"}]}'
"""
_MEDIA, _LOAD = "Media", "Load"
MIB = 1024**2


def serve(
    model: options.Model = "starter",
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 is reached from elsewhere.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="VIDEOLLAMA2_API_KEY",
            help="Answer only requests that bring this key (any key passes without).",
            show_default=False,
        ),
    ] = None,
    served_model_name: Annotated[
        str | None, typer.Option(help="What clients call the model.", show_default=False)
    ] = None,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="A page for people at /; it needs [page].")
    ] = True,
    device: options.Device = None,
    dtype: options.DtypeOption = None,
    quantize: options.QuantizeOption = None,
    compile_steps: options.Compile = False,
    num_frames: options.NumFrames = None,
    engine: Annotated[
        options.Engine,
        typer.Option(help="own, or vllm, in an environment of its own (docs/vllm.md)."),
    ] = options.Engine.own,
    tensor_parallel: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="GPUs that --engine vllm splits the model over."),
    ] = 1,
    allow_media_host: Annotated[
        list[str] | None,
        typer.Option(
            help='Fetch media from this host; repeat it, or "*" for every public one (none).',
            rich_help_panel=_MEDIA,
            show_default=False,
        ),
    ] = None,
    allow_local_media_path: Annotated[
        Path | None,
        typer.Option(
            "--allow-local-media-path",
            "--media-root",
            help="Let requests name files under this folder (none).",
            rich_help_panel=_MEDIA,
            show_default=False,
        ),
    ] = None,
    max_media: Annotated[
        int, typer.Option(min=0, help="Media in one request.", rich_help_panel=_MEDIA)
    ] = 8,
    max_media_mib: Annotated[
        int, typer.Option(min=1, help="Size of one medium.", rich_help_panel=_MEDIA)
    ] = 48,
    max_media_seconds: Annotated[
        float, typer.Option(min=1, help="Length of one clip or sound.", rich_help_panel=_MEDIA)
    ] = 1800.0,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Under way at a time; then 429.", rich_help_panel=_LOAD)
    ] = 128,
    max_rows: Annotated[
        int, typer.Option(min=1, help="Answers decoded together.", rich_help_panel=_LOAD)
    ] = 16,
    deadline: Annotated[
        float, typer.Option(min=0.1, help="Seconds a request may take.", rich_help_panel=_LOAD)
    ] = 300.0,
    cache_mib: Annotated[
        int, typer.Option(min=0, help="Encoded clips kept.", rich_help_panel=_LOAD)
    ] = 512,
    prefix_mib: Annotated[
        int,
        typer.Option(min=0, help="Prompts and answers kept as read.", rich_help_panel=_LOAD),
    ] = 1024,
    cache_per_key: Annotated[
        bool,
        typer.Option("--cache-per-key", help="Share no clip across keys.", rich_help_panel=_LOAD),
    ] = False,
) -> None:
    """Serve a model over HTTP, as OpenAI's chat completions; Ctrl-C or SIGTERM ends it."""
    settle_output()
    with exit_codes():
        if tensor_parallel > 1 and engine is not options.Engine.vllm:
            fail("--tensor-parallel is for --engine vllm", WRONG_USAGE)
        if engine is options.Engine.vllm and (quantize is not None or compile_steps):
            fail("--quantize and --compile are for our own engine", WRONG_USAGE)
        if api_key == "":
            fail("--api-key is empty: give a key, or leave it out", WRONG_USAGE)
        if allow_local_media_path is not None and not allow_local_media_path.is_dir():
            fail(f"{allow_local_media_path}: there is no such folder", WRONG_USAGE)
        from videollama2.serving.address import listen

        try:
            bound = listen(host, port)
        except OSError as error:
            fail(f"cannot listen at {host}:{port}: {error.strerror or error}")
        try:
            from videollama2.serving.host import own_names
            from videollama2.serving.lifecycle import run
            from videollama2.serving.service import Service
            from videollama2.serving.settings import MediaRules, ServerSettings
        except ImportError as error:
            if not (error.name or "").startswith(("fastapi", "uvicorn", "pydantic", "prometheus")):
                raise
            fail('serving needs more packages: pip install "videollama2[serve]"')
        from videollama2.assistant import resolve
        from videollama2.cli.loading import load_assistant

        resolve(model)
        rules = MediaRules(hosts=tuple(allow_media_host or ()), local_root=allow_local_media_path)
        limits = replace(
            rules.limits,
            max_memory_bytes=max_media_mib * MIB,
            max_duration_s=max_media_seconds,
            max_audio_samples=int(16_000 * max_media_seconds),
            max_clip_frames=max(int(140 * max_media_seconds), 10_000),
            max_decoded_samples=int(48_000 * 8 * max_media_seconds),
        )
        settings = ServerSettings(
            model_name=served_model_name or os.path.basename(os.path.normpath(model)),
            num_frames=num_frames,
            api_key=api_key,
            names=own_names(host) if api_key is None else None,
            max_requests=max_requests,
            max_rows=max_rows,
            max_body_bytes=(max_media_mib + 16) * MIB * 4 // 3,
            deadline_s=deadline,
            cache_bytes=cache_mib * MIB,
            prefix_bytes=prefix_mib * MIB,
            cache_per_key=cache_per_key,
            page=page,
            media=replace(rules, max_items=max_media, limits=limits),
        )
        if engine is options.Engine.vllm:
            service = _vllm_service(resolve(model), device, dtype, tensor_parallel, settings)
        else:
            service = Service(
                lambda: load_assistant(model, device, dtype, None, quantize, compile_steps),
                settings,
            )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{bound.getsockname()[1]}"
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        note(f"loading {model}")
        run(
            service,
            bound,
            lambda: note(f"serving {settings.model_name} at {address}/v1"),
            lambda: note(f"the page for people is at {address}/"),
        )


def _vllm_service(
    model: str,
    device: str | None,
    dtype: options.Dtype | None,
    tensor_parallel: int,
    settings: ServerSettings,
) -> Service:
    """A service that answers in vLLM."""
    if device is not None:
        fail("--engine vllm runs where its installation does: leave --device out", WRONG_USAGE)
    from videollama2.engines.vllm.missing import MissingVllmError, need_vllm
    from videollama2.engines.vllm.online import OnlineEngine
    from videollama2.engines.vllm.settings import EngineOptions
    from videollama2.serving.service import Service
    from videollama2.serving.vllm_worker import VllmWorker

    try:
        need_vllm()
    except MissingVllmError as error:
        fail(str(error))
    chosen = EngineOptions(
        dtype=None if dtype is None else dtype.value,
        max_num_seqs=settings.max_rows,
        tensor_parallel=tensor_parallel,
        shared_caches=not settings.cache_per_key,
    )
    return Service(lambda: OnlineEngine(model, chosen), settings, VllmWorker)
