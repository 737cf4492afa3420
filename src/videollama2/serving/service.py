"""Everything that a server is made of, started and stopped together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from videollama2.media_cache import MediaCache
from videollama2.reading.pool import prepare
from videollama2.serving.admission import Admission
from videollama2.serving.errors import ApiError
from videollama2.serving.intake import Intake
from videollama2.serving.metrics import Metrics
from videollama2.serving.readers import Readers
from videollama2.serving.settings import ServerSettings
from videollama2.serving.worker import ModelWorker, Worker


class Service:
    """A model being served. `load` is called once, in the model's own thread.

    `worker` is what answers: `ModelWorker`, or `VllmWorker`, whose `load` gives an `OnlineEngine`.
    """

    def __init__(
        self, load: Callable[[], Any], settings: ServerSettings, worker: Any = ModelWorker
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.admission = Admission(settings)
        self.cache = MediaCache(settings.cache_bytes)
        self.started = int(time.time())
        self.assistant: Any = None
        self.page_is_open = False
        self.worker: Worker = worker(load, settings, self.cache, self.metrics, self._loaded)
        self._intake: Intake | None = None
        self._readers: Readers | None = None
        watch = self.metrics.watch
        watch("requests_under_way", "Requests admitted.", lambda: self.admission.under_way)
        watch("held_bytes", "Bytes of their bodies.", lambda: self.admission.held_bytes)
        watch("jobs_queued", "Jobs that wait for the model.", lambda: self.worker.queued)
        watch("rows", "Answers being written.", lambda: self.worker.rows)
        watch("media_cache_bytes", "Bytes of encoded media.", lambda: self.cache.held_bytes)
        watch("ready", "1 where requests are answered.", lambda: float(self.is_ready))

    def _loaded(self, assistant: Any) -> None:
        processor = assistant.processor
        processor.limits = self.settings.media.limits
        self._readers = Readers(processor.loader, self.settings, self.metrics)
        self._readers.start()
        self._intake = Intake(self.settings, self._readers, self.cache, self.metrics)
        self.assistant = assistant

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered: the model is there, and nobody has asked to stop."""
        return self.assistant is not None and not self.admission.closed and self.worker.is_alive()

    @property
    def num_frames(self) -> int | None:
        """Frames taken of a clip whose request does not say; None while the model is loaded."""
        if self.assistant is None:
            return self.settings.num_frames
        return self.settings.num_frames or int(self.assistant.model.config.num_frames)

    @property
    def intake(self) -> Intake:
        """Takes in media.

        Raises:
            ApiError: 503, the model is still being loaded.
        """
        if self._intake is None:
            raise ApiError(
                503, "the model is still being loaded", code="not_ready", retry_after_s=5
            )
        return self._intake

    def start(self) -> None:
        """Begin to load."""
        prepare()
        self.worker.start()

    def stop(self) -> None:
        """End every thread and process."""
        self.worker.stop()
        if self._readers is not None:
            self._readers.close()
        if self._intake is not None:
            self._intake.close()
