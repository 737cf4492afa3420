"""Open a container with PyAV, shut tight: the one place that talks to libavformat's opener.

A file is only ever read as itself: playlist formats (which would open other files and addresses)
and all protocols but plain files are off, and the pixel limit holds inside the decoders too.
"""

from __future__ import annotations

import io
import mmap
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from .errors import CorruptMediaError, MediaError, TruncatedMediaError, UnsupportedMediaError
from .integrity import shortfall
from .limits import MediaLimits
from .source import Source

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

StreamT = TypeVar("StreamT", bound="Stream")

FORMATS = (
    "3g2,3gp,aac,ac3,aiff,alaw,amr,ape,apng,asf,asf_o,au,av1,avi,caf,dts,dtshd,dv,eac3,flac,flv,"
    "gif,gsm,h261,h263,h264,hevc,ivf,live_flv,m4a,m4v,matroska,mj2,mjpeg,mov,mp3,mp4,mpeg,"
    "mpegts,mpegvideo,mulaw,mxf,nut,obu,ogg,rm,truehd,tta,vc1,voc,vvc,w64,wav,webm,wtv,wv,"
    "xwma,yuv4mpegpipe"
)
PACKED_HEADER = re.compile(rb"cmov....dcom", re.DOTALL)
"""A QuickTime header that is packed with zlib, to however many bytes: nothing written today."""
LARGEST_SEARCHED = 1024**3
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<?xml", b"<MPD", b"v=0", b"<smil")
STRICT = {"err_detect": "crccheck+explode"}
"""Decoder options: damage is an error, never patched over with neighbouring picture."""


def missing_av(name: str, error: ImportError) -> UnsupportedMediaError:
    """Make the error for an environment without PyAV."""
    return UnsupportedMediaError(
        name, f"reading it needs PyAV, which cannot be imported ({error})", "pip install av"
    )


@contextmanager
def open_container(source: Source, limits: MediaLimits) -> Generator[InputContainer, None, None]:
    """Open `source` (a file or bytes) for reading.

    Raises TruncatedMediaError where the part that describes the file is cut off,
    CorruptMediaError where it is no media file, UnsupportedMediaError for formats not read here.
    What PyAV raises inside the block becomes a CorruptMediaError too.
    """
    try:
        import av
        import av.error
        from av.container import Flags
    except ImportError as error:
        raise missing_av(source.name, error) from error
    if _has_packed_header(source):
        raise UnsupportedMediaError(
            source.name, "packed QuickTime headers are not read", "Write it anew with ffmpeg"
        )
    target = io.BytesIO(source.data) if source.data is not None else f"file:{_absolute(source)}"
    try:
        container = av.open(
            target,
            mode="r",
            container_options={
                "format_whitelist": FORMATS,
                "protocol_whitelist": "file" if source.data is None else "none",
                **({} if limits.codecs is None else {"codec_whitelist": ",".join(limits.codecs)}),
            },
            options={"max_pixels": str(limits.max_pixels)},
            metadata_errors="replace",
        )
    except MemoryError as error:
        raise _unreadable(source, error) from error
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(source, error) from error
    # Generated times are a guess, and a wrong one for H.264 with B-frames in AVI.
    container.flags &= ~Flags.gen_pts.value
    try:
        yield container
    except MediaError:
        raise
    except (av.error.FFmpegError, MemoryError) as error:
        raise CorruptMediaError(
            source.name, f"reading it failed ({_words(error)})", "Record or copy it again"
        ) from error
    finally:
        container.close()


def _has_packed_header(source: Source) -> bool:
    if source.data is not None:
        return PACKED_HEADER.search(source.data) is not None
    if source.path is None or not 0 < source.size <= LARGEST_SEARCHED:
        return False
    with source.path.open("rb") as file, _mapped(file) as whole:
        return PACKED_HEADER.search(whole) is not None


def _mapped(file: BinaryIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _absolute(source: Source) -> str:
    if source.path is None:
        raise UnsupportedMediaError(source.name, "not an encoded medium", "Pass a file")
    return str(source.path.absolute())


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _unreadable(source: Source, error: BaseException) -> MediaError:
    short = shortfall(source)
    if short:
        return TruncatedMediaError(
            source.name,
            f"cut short: {short}; 0 frames can be read",
            "Copy or record it again",
            readable_frames=0,
            readable_s=0.0,
        )
    if source.head(64).lstrip().startswith(PLAYLISTS):
        return UnsupportedMediaError(
            source.name, "playlists are not followed", "Pass the media file itself"
        )
    return CorruptMediaError(
        source.name, f"not a media file that can be read ({_words(error)})", "Pass another file"
    )


def video_stream(container: InputContainer, name: str, limits: MediaLimits) -> VideoStream | None:
    """The main video stream: the default one, no cover picture, with a decoder that may be used."""
    from av.stream import Disposition

    cover = Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    return _main(streams, name, limits)


def audio_stream(container: InputContainer, name: str, limits: MediaLimits) -> AudioStream | None:
    """The main audio stream: the default one, with a decoder that may be used."""
    return _main(list(container.streams.audio), name, limits)


def _main(streams: list[StreamT], name: str, limits: MediaLimits) -> StreamT | None:
    if not streams:
        return None
    decodable = [stream for stream in streams if _has_decoder(stream)]
    if not decodable:
        raise UnsupportedMediaError(
            name, f"no decoder for its {streams[0].type} stream", "Convert it to H.264 and AAC"
        )
    from av.stream import Disposition

    default = Disposition.default
    chosen = next((s for s in decodable if s.disposition & default), decodable[0])
    context = chosen.codec_context
    if limits.codecs is not None and context.codec.name not in limits.codecs:
        raise UnsupportedMediaError(
            name, f"{context.codec.name} is not among the codecs read here", "Convert it to H.264"
        )
    return chosen


def _has_decoder(stream: Stream) -> bool:
    context = cast("object | None", stream.codec_context)
    return context is not None


def read_only(container: InputContainer, wanted: Stream) -> None:
    """Let the demuxer skip every stream but `wanted`."""
    from av.stream import Discard

    for stream in container.streams:
        if stream.index != wanted.index:
            stream.discard = Discard.all
