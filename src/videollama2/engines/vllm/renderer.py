"""Chat messages in vLLM -> token ids, written as our own processor writes them."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUntypedBaseClass=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.renderers.chat_utils import parse_chat_messages, parse_chat_messages_async
from vllm.renderers.hf import HfRenderer
from vllm.renderers.inputs.preprocess import parse_dec_only_prompt

from videollama2.engines.vllm.names import MODE
from videollama2.engines.vllm.processor import check_counts
from videollama2.engines.vllm.tokenizer import placeholder_ids, processor_of
from videollama2.processing.batch import split_placeholders
from videollama2.processing.chat import MEDIA_TOKENS
from videollama2.processing.parts import AudioInput, ImageInput, VideoInput
from videollama2.processing.processor import VideoLlama2Processor

_Renderer: Any = HfRenderer
_GIVEN_APART = ("tokenize", "return_dict", "chat_template")
_STAND_INS = {"video": VideoInput(None), "image": ImageInput(None), "audio": AudioInput(None)}


class VideoLlama2Renderer(_Renderer):
    """As vLLM's own renderer for texts; messages go through our processor and its template."""

    def render_messages(self, messages: Any, params: Any) -> tuple[Any, Any]:
        """Messages of a chat request -> (the conversation, a prompt of token ids with its media).

        Raises:
            ValueError: a placeholder is written out in a text, or the template drops a medium.
        """
        parsed = parse_chat_messages(messages, self.model_config, **_parsing(params))
        return self._prompt(parsed, params)

    async def render_messages_async(self, messages: Any, params: Any) -> tuple[Any, Any]:
        """As `render_messages`; media are fetched side by side."""
        parsed = await parse_chat_messages_async(messages, self.model_config, **_parsing(params))
        return self._prompt(parsed, params)

    def _prompt(self, parsed: tuple[Any, Any, Any], params: Any) -> tuple[Any, Any]:
        conversation, data, uuids = parsed
        processor = processor_of(self.model_config.model, self.model_config.revision)
        options = {
            name: value
            for name, value in params.get_apply_chat_template_kwargs().items()
            if name not in _GIVEN_APART and value is not None
        }
        messages = [
            {**message, "content": _content(message.get("content"))} for message in conversation
        ]
        text, _ = processor.render(messages, params.chat_template, **options)
        prompt: Any = parse_dec_only_prompt(token_ids(processor, text))
        if data is not None:
            prompt["multi_modal_data"] = data
        if uuids is not None:
            prompt["multi_modal_uuids"] = uuids
        return conversation, prompt

    def _process_tokens(self, prompt: Any, **options: Any) -> Any:
        self._check(prompt)
        return super()._process_tokens(prompt, **options)

    async def _process_tokens_async(self, prompt: Any, **options: Any) -> Any:
        self._check(prompt)
        return await super()._process_tokens_async(prompt, **options)

    def _check(self, prompt: Mapping[str, Any]) -> None:
        """A prompt with placeholders and no media at all does not reach the processor."""
        if not prompt.get("multi_modal_data"):
            ids = placeholder_ids(self.get_tokenizer())
            check_counts(prompt["prompt_token_ids"], {}, ids)


def token_ids(processor: VideoLlama2Processor, text: str) -> list[int]:
    """A rendered text as ids: encoded piece by piece, one id for each placeholder."""
    written = placeholder_ids(processor.tokenizer)
    ids = {MEDIA_TOKENS[kind]: id_ for kind, id_ in written.items()}
    found: list[int] = []
    for piece in split_placeholders(text):
        if piece in ids:
            found.append(ids[piece])
        else:
            found += processor.tokenizer.encode(piece, add_special_tokens=False)
    return found


def _parsing(params: Any) -> dict[str, Any]:
    """Media as vLLM fetches them, videos and sounds undecoded.

    `use_audio_in_video` is not passed on: vLLM would decode the sound a second time, as an item of
    its own.
    """
    media_io = dict(params.media_io_kwargs or {})
    media_io["video"] = {**media_io.get("video", {}), "video_backend": MODE}
    media_io["audio"] = {**media_io.get("audio", {}), "audio_backend": MODE}
    return {"content_format": "openai", "media_io_kwargs": media_io, "mm_processor_kwargs": None}


def _content(content: Any) -> Any:
    if content is None or isinstance(content, str):
        return content
    return [_block(block) for block in content]


def _block(block: Any) -> Any:
    kind = block if isinstance(block, str) else str(block.get("type"))
    if kind in _STAND_INS:
        return {"type": kind, kind: _STAND_INS[kind]}
    return block
