"""Our model as lmms-eval's chat model: `--model videollama2 --model_args pretrained=...`."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms

from videollama2.assistant import STARTER, VideoLlama2
from videollama2.engine import Engine
from videollama2.evaluation.lmms_eval.messages import (
    filled_in,
    passed_over,
    sampling_settings,
    taken_apart,
)
from videollama2.generation.prompt import Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.media.errors import MediaError
from videollama2.processing.parts import Part, VideoInput

_Base: Any = lmms
_LOG = logging.getLogger(__name__)
_LONGEST = 256
_ANSWERS_ONLY = "this model answers in words: choose a task of output_type generate_until"


@dataclass(frozen=True)
class _Asked:
    place: int
    prompt: Prompt
    settings: SamplingSettings


class VideoLlama2Chat(_Base):
    """`pretrained`: "starter", a folder or a hub id of any layout.

    `num_frames` None takes the model's own; `sound` false leaves every clip's soundtrack out, as
    the released video benchmarks do (a task's own wish goes first). A document whose medium cannot
    be read, or that is longer than the model reads, is answered with nothing, logged and counted.

    Raises:
        ValueError: an argument is not known.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str = STARTER,
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        num_frames: int | None = None,
        sound: bool | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            known = "pretrained, device, dtype, batch_size, num_frames, sound"
            raise ValueError(f"videollama2 takes no {', '.join(unknown)}; it takes {known}")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import Accelerator

            self.accelerator = Accelerator()
            self._rank = int(self.accelerator.process_index)
            self._world_size = int(self.accelerator.num_processes)
            device = str(self.accelerator.device)
        assistant = VideoLlama2.from_pretrained(pretrained, device=device, dtype=dtype)
        self.batch_size = 1 if batch_size == "auto" else int(batch_size)
        self.unanswered = 0
        self._num_frames, self._sound = num_frames, sound
        self._engine = Engine(assistant.model, assistant.processor, num_frames=num_frames)

    def generate_until(self, requests: Sequence[Any]) -> list[Any]:
        """An answer to each request, in their order."""
        wanted = [dict(request.args[2]) for request in requests]
        for name, value in sorted(
            {(k, str(v)) for one in wanted for k, v in passed_over(one).items()}
        ):
            _LOG.warning("videollama2 passes over the generation setting %s=%s", name, value)
        results: list[Any] = [GenerationResult("")] * len(requests)
        for first in range(0, len(requests), self.batch_size):
            places = range(first, min(first + self.batch_size, len(requests)))
            prepared = [
                self._prepare(place, requests[place].args, wanted[place]) for place in places
            ]
            asked = [one for one in prepared if one is not None]
            for one, result in zip(asked, self._written(asked), strict=True):
                results[one.place] = result
                context = requests[one.place].args[0]
                self.cache_hook.add_partial(
                    "generate_until", (context, wanted[one.place]), result.text
                )
        if self.unanswered:
            _LOG.warning("videollama2 gave no answer to %d documents", self.unanswered)
        return results

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not offered."""
        raise NotImplementedError(_ANSWERS_ONLY)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not offered."""
        raise NotImplementedError(_ANSWERS_ONLY)

    def _prepare(self, place: int, args: tuple[Any, ...], wanted: dict[str, Any]) -> _Asked | None:
        _, to_messages, _, doc, task, split = args
        messages = to_messages(self.task_dict[task][split][doc])
        turns, parts = taken_apart(messages, self._num_frames)
        settings = sampling_settings(wanted, _LONGEST)
        try:
            media = self._engine.take_in([self._with_sound(part) for part in parts])
        except MediaError as error:
            return self._unanswered(f"{task}, document {doc}: {error}")
        whole = filled_in(turns, [medium.content for medium in media])
        try:
            prompt = self._engine.prompt(whole, media)
        except ValueError as error:  # longer than the model reads
            return self._unanswered(f"{task}, document {doc}: {error}")
        return _Asked(place, prompt, settings)

    def _unanswered(self, reason: str) -> None:
        self.unanswered += 1
        _LOG.error(reason)

    def _with_sound(self, part: Part) -> Part:
        if isinstance(part, VideoInput) and part.sound is None and self._sound is not None:
            return VideoInput(part.source, part.start, part.end, part.num_frames, self._sound)
        return part

    def _written(self, asked: Sequence[_Asked]) -> list[Any]:
        if not asked:
            return []
        writing = self._engine.writer.write(
            [one.prompt for one in asked], [one.settings for one in asked], self._engine.prefix
        )
        for _ in writing:
            pass
        return [
            GenerationResult(one.text, TokenCounts(one.prompt_tokens, len(one.token_ids)))
            for one in writing.results()
        ]
