"""The reading processes of a server, for its event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from videollama2.processing.fbank import SAMPLING_RATE
from videollama2.processing.loader import MediaLoader
from videollama2.processing.parts import LoadedMedia
from videollama2.processing.pixels import PixelSettings
from videollama2.reading.pool import ReaderPool
from videollama2.reading.task import ReadTask, SoundWindows
from videollama2.serving.metrics import Metrics
from videollama2.serving.protocol import ImagePart, MediaPart, VideoPart
from videollama2.serving.settings import ServerSettings


class Readers:
    """A few reading processes, each with a thread that waits for it."""

    def __init__(self, loader: MediaLoader, settings: ServerSettings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._loader = loader
        self._num_frames = settings.num_frames or loader.num_frames
        self._number = settings.readers
        self.pool = ReaderPool(
            loader,
            readers=settings.readers,
            timeout_s=settings.read_timeout_s,
            memory_bytes=settings.reader_memory_bytes,
            on_lost=metrics.readers_lost.inc,
        )
        self._threads = ThreadPoolExecutor(settings.readers, thread_name_prefix="reader")

    def start(self) -> None:
        """Start the processes, so that the first medium need not wait for them."""
        for _ in range(self._number):
            self._threads.submit(self.pool.start_one)

    def most_bytes(self, part: MediaPart) -> int:
        """What a medium may take once it is read, before it is encoded."""
        if isinstance(part, ImagePart):
            return _picture_bytes(self._loader.image_settings)
        frames = 0
        if isinstance(part, VideoPart):
            frames = max(part.num_frames or self._num_frames, self._loader.min_frames)
        sound = 0
        if self._loader.has_audio:
            rows = self._loader.samples_heard(SAMPLING_RATE * 3600) // 160
            sound = 4 * rows * self._loader.num_mel_bins
        return frames * _picture_bytes(self._loader.video_settings) + sound

    async def read(self, task: ReadTask) -> LoadedMedia | SoundWindows:
        """Read one medium.

        Raises:
            MediaError: it cannot be read; `ReaderLostError` where it took its process along.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, task)

    def close(self) -> None:
        """End every process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.pool.close()

    def _read(self, task: ReadTask) -> LoadedMedia | SoundWindows:
        with self._metrics.read_seconds.time():
            return self.pool.read(task)


def _picture_bytes(settings: PixelSettings) -> int:
    height, width = settings.size
    return 4 * 3 * height * width
