"""What can be given as a medium, and what fetching an address refuses."""

import base64
import pickle
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from videollama2.media import (
    EmptyMediaError,
    MediaError,
    MediaFetchError,
    MediaLimits,
    MediaNotFoundError,
    MediaTooLargeError,
    TruncatedMediaError,
    UnsupportedMediaError,
    open_source,
    read_video,
)
from videollama2.media import fetch as fetching

PAYLOAD = bytes(range(256)) * 40
LOCAL = MediaLimits(allow_private_hosts=True, fetch_timeout_s=5.0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        kind = self.path.split("?")[0].strip("/")
        if kind == "redirect":
            self._head(302, {"Location": "/plain"})
        elif kind == "elsewhere":
            self._head(302, {"Location": "http://another.test/plain"})
        elif kind == "loop":
            self._head(302, {"Location": "/loop"})
        elif kind == "to-file":
            self._head(302, {"Location": "file:///etc/hostname"})
        elif kind == "missing":
            self._head(404, {})
        elif kind == "short":
            self._head(200, {"Content-Length": str(len(PAYLOAD) + 5)})
            self.wfile.write(PAYLOAD)
        elif kind == "endless":
            self._head(200, {})
            for _ in range(200):
                try:
                    self.wfile.write(b"x" * 10_000)
                except OSError:
                    return
        elif kind == "drip":
            self._head(200, {"Content-Length": "10000"})
            for _ in range(10_000):
                try:
                    self.wfile.write(b"x")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.05)
        else:
            self._head(200, {"Content-Length": str(len(PAYLOAD))})
            self.wfile.write(PAYLOAD)

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_an_address_is_read_whole(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    source = open_source(f"{server}/plain?token=secret", limits=LOCAL)
    assert source.data == PAYLOAD
    assert "secret" not in source.name
    assert open_source(f"{server}/redirect", limits=LOCAL).data == PAYLOAD


def test_hosts_off_the_list_are_refused_redirects_included(server):
    host = server.split("//")[1].split(":")[0]
    listed = replace(LOCAL, allowed_hosts=(host,))
    assert open_source(f"{server}/redirect", limits=listed).data == PAYLOAD
    with pytest.raises(MediaFetchError, match="not on the list"):
        open_source(f"{server}/plain", limits=replace(LOCAL, allowed_hosts=("example.com",)))
    with pytest.raises(MediaFetchError, match=r"another\.test is not on the list"):
        open_source(f"{server}/elsewhere", limits=listed)


def test_credentials_are_not_shown(server):
    address = server.replace("http://", "http://user:password@")
    assert "password" not in open_source(f"{address}/plain", limits=LOCAL).name


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("loop", "redirects"),
        ("to-file", "leads to file"),
        ("missing", "404"),
        ("short", "cut off"),
    ],
)
def test_bad_answers(server, path, reason):
    with pytest.raises(MediaFetchError, match=reason):
        open_source(f"{server}/{path}", limits=LOCAL)


def test_bytes_are_limited_declared_or_not(server):
    limits = replace(LOCAL, max_memory_bytes=5000)
    for path in ("plain", "endless"):
        with pytest.raises(MediaTooLargeError):
            open_source(f"{server}/{path}", limits=limits)


def test_time_is_limited_for_a_dripping_server(server):
    began = time.monotonic()
    with pytest.raises(MediaFetchError, match="no whole answer"):
        open_source(f"{server}/drip", limits=replace(LOCAL, fetch_timeout_s=0.5))
    assert time.monotonic() - began < 60  # the whole answer takes eight minutes


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00::1]",
        "[fe80::1]",
        "224.0.0.1",
        "2130706433",
        "0x7f.1",
    ],
)
def test_private_hosts_are_refused(host):
    with pytest.raises(MediaFetchError):
        open_source(f"http://{host}:1/x", limits=MediaLimits(fetch_timeout_s=2.0))


def test_a_name_with_one_private_address_is_refused(monkeypatch):
    def resolve(*_, **__):
        family = socket.AF_INET
        return [(family, 1, 6, "", (a, 80)) for a in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(fetching.socket, "getaddrinfo", resolve)
    with pytest.raises(MediaFetchError, match="private or local"):
        open_source("http://example.org/x")


def test_the_checked_address_is_the_one_connected_to(server, monkeypatch):
    resolved, connected = [], []

    def resolve(host, *_, **__):
        resolved.append(host)
        return [(socket.AF_INET, 1, 6, "", ("93.184.216.34", 80))]

    def connect(address, timeout):
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(fetching.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(fetching.socket, "create_connection", connect)
    with pytest.raises(MediaFetchError, match="connection failed"):
        open_source("http://example.org/x")
    assert resolved == ["example.org"]
    assert connected == [("93.184.216.34", 80)]


@pytest.mark.parametrize(
    "address", ["http://", "http:///x", "https://exa mple.org/", "http://h:99999/", "http://[::1/"]
)
def test_malformed_addresses(address):
    with pytest.raises(MediaError):
        open_source(address)


def test_urls_and_files_can_be_turned_off(server, tmp_path):
    with pytest.raises(MediaFetchError):
        open_source(f"{server}/plain", limits=replace(LOCAL, allow_urls=False))
    (tmp_path / "a").write_bytes(b"x")
    for value in (tmp_path / "a", str(tmp_path / "a"), (tmp_path / "a").as_uri()):
        with pytest.raises(UnsupportedMediaError):
            open_source(value, limits=MediaLimits(allow_files=False))


def test_data_uris():
    packed = base64.b64encode(PAYLOAD).decode()
    assert open_source(f"data:video/mp4;base64,{packed}").data == PAYLOAD
    assert open_source("data:,a%20b").data == b"a b"
    for bad in ("data:video/mp4;base64", "data:;base64,@@@@", "data:;base64,A"):
        with pytest.raises(UnsupportedMediaError):
            open_source(bad)
    with pytest.raises(EmptyMediaError):
        open_source("data:video/mp4;base64,")
    with pytest.raises(MediaTooLargeError):
        open_source(f"data:;base64,{packed}", limits=MediaLimits(max_memory_bytes=100))


def test_values_that_are_no_media(tmp_path):
    for value in (None, 3, {"a": 1}, np.zeros((4, 4)), np.zeros((2, 4, 4, 3), np.float32), [[1]]):
        with pytest.raises(UnsupportedMediaError):
            open_source(value)
    for value in (b"", [], np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(EmptyMediaError):
            open_source(value)
    for value in ("", "no/such/file.mp4", tmp_path / "missing", "a\0b"):
        with pytest.raises(MediaNotFoundError):
            open_source(value)
    with pytest.raises(UnsupportedMediaError):
        open_source("ftp://example.org/a.mp4")


def test_a_source_is_read_twice_but_fetched_once(clip):
    source = open_source(clip.read_bytes())
    assert open_source(source) is source
    assert read_video(source, num_frames=2).name == "bytes"


def test_errors_travel_between_processes():
    error = TruncatedMediaError("a.mp4", "cut short", "Copy it again", readable_frames=7)
    again = pickle.loads(pickle.dumps(error))
    assert (again.name, again.readable_frames, str(again)) == ("a.mp4", 7, str(error))
    assert type(again) is TruncatedMediaError
