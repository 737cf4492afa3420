"""The bodies of requests and answers: OpenAI's chat completions with vLLM's content parts."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from videollama2.serving.errors import ApiError


class Wire(BaseModel):
    """What is sent: nothing is guessed, nothing unknown is passed over in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Url(Wire):
    """An http(s) address or a `data:` URI; a mere string is taken for one, as vLLM does."""

    url: str
    detail: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value


class InputAudio(Wire):
    """A sound in base64."""

    data: str
    format: str = Field("wav", pattern="^[a-z0-9-]{1,16}$")


class TextPart(Wire):
    """Words."""

    type: Literal["text"]
    text: str


class ImagePart(Wire):
    """A picture."""

    type: Literal["image_url"]
    image_url: Url


class VideoPart(Wire):
    """A clip; `sound` None hears its soundtrack if there is one, True insists, False does not."""

    type: Literal["video_url"]
    video_url: Url
    sound: bool | None = None
    start: float | None = Field(None, ge=0)
    end: float | None = Field(None, gt=0)
    num_frames: int | None = Field(None, ge=1)


class AudioPart(Wire):
    """A sound."""

    type: Literal["audio_url"]
    audio_url: Url
    start: float | None = Field(None, ge=0)
    end: float | None = Field(None, gt=0)


class InputAudioPart(Wire):
    """A sound that comes along."""

    type: Literal["input_audio"]
    input_audio: InputAudio
    start: float | None = Field(None, ge=0)
    end: float | None = Field(None, gt=0)


MediaPart = ImagePart | VideoPart | AudioPart | InputAudioPart
ContentPart = Annotated[TextPart | MediaPart, Field(discriminator="type")]


class Message(Wire):
    """One turn. What clients send back of our own answers beside the text is taken and unused."""

    role: Literal["system", "developer", "user", "assistant"]
    content: tuple[ContentPart, ...] = ()
    name: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: list[Any] | None = Field(None, max_length=0)

    @field_validator("content", mode="before")
    @classmethod
    def _as_parts(cls, value: Any) -> Any:
        if value is None:
            return ()
        if isinstance(value, str):
            return (TextPart(type="text", text=value),)
        return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


class StreamOptions(Wire):
    """What is streamed beside the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class JsonSchema(Wire):
    """A schema that the answer follows."""

    name: str = "answer"
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Wire):
    """Plain text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatCompletionRequest(Wire):
    """A conversation to answer. The last block is accepted and changes nothing here."""

    messages: tuple[Message, ...] = Field(min_length=1)
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(1, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    repetition_penalty: float | None = Field(None, gt=0, le=4)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: tuple[str, ...] = Field((), max_length=16)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None

    frequency_penalty: Literal[0, None] = None
    presence_penalty: Literal[0, None] = None
    logit_bias: dict[str, float] | None = Field(None, max_length=0)
    tools: list[Any] | None = Field(None, max_length=0)
    tool_choice: Literal["none", "auto", None] = None
    functions: list[Any] | None = Field(None, max_length=0)
    modalities: list[Literal["text"]] | None = None

    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    parallel_tool_calls: bool | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _said(cls, value: Any) -> Any:
        """What is null has not been said, as some clients write it."""
        if not isinstance(value, dict):
            return value
        fields = cast("dict[str, Any]", value)
        return {name: field for name, field in fields.items() if field is not None}

    @field_validator("frequency_penalty", "presence_penalty", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return 0 if isinstance(value, float) and value == 0.0 else value

    @field_validator("messages", mode="before")
    @classmethod
    def _as_messages(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    @field_validator("stop", mode="before")
    @classmethod
    def _as_strings(cls, value: Any) -> Any:
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(0 < len(text) <= 256 for text in value):
            raise ValueError("a stop string has between 1 and 256 characters")
        return value


class TagsRequest(Wire):
    """A sound, or a clip whose soundtrack is meant, to be tagged in windows of `window_s`."""

    audio: Annotated[AudioPart | InputAudioPart | VideoPart, Field(discriminator="type")]
    model: str | None = None
    top_k: int = Field(5, ge=1, le=1000)
    window_s: float = Field(10.0, ge=0.1, le=30.0)


Body = TypeVar("Body", bound=Wire)

# A body of media is long and has few parts. One that has millions is refused before it is parsed:
# the interpreter would do nothing else meanwhile.
_MOST_PARTS = {b"{": 50_000, b"[": 50_000, b",": 1_000_000}


def parse(kind: type[Body], body: bytes) -> Body:
    """A body as a request.

    Raises:
        ApiError: 400, naming the first field that is wrong.
    """
    if any(body.count(sign) > most for sign, most in _MOST_PARTS.items()):
        raise ApiError(400, "the body has too many parts", code="invalid_body")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = _place(first["loc"])
        message = f"{place}: {first['msg']}" if place else str(first["msg"])
        raise ApiError(400, message[:500], code="invalid_body", param=place or None) from None


def _place(steps: tuple[int | str, ...]) -> str:
    """("messages", 0, "content", 1, "text", "text") -> "messages[0].content[1].text"."""
    place = ""
    parts = {"text", "image_url", "video_url", "audio_url", "input_audio"}
    for before, step in zip(("", *steps), steps, strict=False):
        if isinstance(step, int):
            place = f"{place}[{step}]"
        elif step in parts and (isinstance(before, int) or before == "audio"):
            continue  # which kind of part it was: a step of the validator's, not of the body
        else:
            place = f"{place}.{step}" if place else step
    return place[:300]
