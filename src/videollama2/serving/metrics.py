"""What the server counts of itself, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One server's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "videollama2_requests",
            "Requests answered, by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self.request_seconds = self._histogram("request", "A request, from first byte to last.")
        self.first_token_seconds = self._histogram("first_token", "From admission to first token.")
        self.read_seconds = self._histogram("media_read", "Reading one medium.")
        self.encode_seconds = self._histogram("media_encode", "Encoding one medium.")
        self.step_seconds = self._histogram("step", "One step of all rows.")
        self.step_rows = Histogram(
            "videollama2_step_rows",
            "Rows that shared a step.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens read, text and media.")
        self.answer_tokens = self._counter("answer_tokens", "Tokens written.")
        self.cache_hits = self._counter("media_cache_hits", "Media found encoded.")
        self.cache_misses = self._counter("media_cache_misses", "Media that had to be read.")
        self.readers_lost = self._counter("readers_lost", "Reading processes that died or hung.")
        self.cancelled = self._counter("cancelled", "Answers that nobody waited for any more.")
        self.media_refused = Counter(
            "videollama2_media_refused", "Media refused.", ("code",), registry=self.registry
        )

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"videollama2_{name}", help_text, registry=self.registry).set_function(value)

    def page(self) -> bytes:
        """Everything, in Prometheus' text form."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str) -> Counter:
        return Counter(f"videollama2_{name}", help_text, registry=self.registry)

    def _histogram(self, name: str, help_text: str) -> Histogram:
        return Histogram(
            f"videollama2_{name}_seconds", help_text, buckets=_SECONDS, registry=self.registry
        )
