"""Fetch an http(s) address: only public hosts, only so many bytes, only so long.

The host is resolved once and the very address that was checked is connected to, so a name that
changes its address between check and use gains nothing. Proxy settings of the environment are not
followed. Each redirect is checked like the first address.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from threading import Timer
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from .errors import MediaError, MediaFetchError
from .limits import MediaLimits, too_large

REDIRECTS = (301, 302, 303, 307, 308)
CHUNK = 1 << 18
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def fetch(url: str, limits: MediaLimits) -> tuple[str, bytes]:
    """Read `url` whole: (its name without credentials and query, its bytes).

    Raises MediaFetchError (refused, unreachable, too slow, cut off, an error status) and
    MediaTooLargeError.
    """
    name = _name(url)
    if not limits.allow_urls:
        raise MediaFetchError(name, "URLs are not fetched here", "Pass a file or bytes")
    deadline = time.monotonic() + limits.fetch_timeout_s
    for _ in range(limits.max_redirects + 1):
        address = _parse(url, name)
        _check_host(address, name, limits)
        try:
            found = _read(address, name, limits, deadline)
        except MediaError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = time.monotonic() >= deadline or isinstance(error, TimeoutError)
            reason = (
                f"no whole answer within {limits.fetch_timeout_s:g} s"
                if late
                else f"the connection failed ({type(error).__name__}: {error})"
            )
            raise MediaFetchError(name, reason, "Check the address or download it") from error
        if isinstance(found, bytes):
            return name, found
        url = urljoin(url, found)
    raise MediaFetchError(
        name, f"more than {limits.max_redirects} redirects", "Pass the final address"
    )


def _name(url: str) -> str:
    """Shorten the URL for messages; credentials and query may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))[:200]
    except ValueError:
        return "URL"


def _parse(url: str, name: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise MediaFetchError(name, f"not a valid URL ({error})", "Check the address") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MediaFetchError(
            name, f"leads to {parts.scheme or 'no'}: address", "Only http and https are fetched"
        )
    if port == 0 or any(ord(letter) < 33 for letter in url):
        raise MediaFetchError(name, "not a valid URL", "Check the address")
    return parts


def _check_host(address: SplitResult, name: str, limits: MediaLimits) -> None:
    host = (address.hostname or "").rstrip(".")
    if limits.allowed_hosts is not None and host not in limits.allowed_hosts:
        raise MediaFetchError(
            name, f"the host {host} is not on the list", "Add it to MediaLimits.allowed_hosts"
        )


def _is_public(text: str) -> bool:
    """Whether an address may be reached from anywhere: no loopback, private or link-local one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and address.teredo is not None:
            return False
        address = inner or address
    return address.is_global and not address.is_multicast


def _resolve(host: str, port: int, name: str, limits: MediaLimits) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise MediaFetchError(
            name, f"the host {host} is not known ({error})", "Check the address"
        ) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not limits.allow_private_hosts and not all(_is_public(address) for address in addresses):
        raise MediaFetchError(
            name,
            f"the host {host} is on a private or local network",
            "Pass a public address, or set MediaLimits.allow_private_hosts",
        )
    return addresses


def _connect(addresses: list[str], port: int, deadline: float) -> socket.socket:
    failure: OSError = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection(
                (address, port), timeout=max(deadline - time.monotonic(), 0.01)
            )
        except OSError as error:
            failure = error
    raise failure


def _read(address: SplitResult, name: str, limits: MediaLimits, deadline: float) -> bytes | str:
    """Ask one address: its bytes, or where it redirects to."""
    host = address.hostname or ""
    secure = address.scheme == "https"
    port = address.port or (443 if secure else 80)
    connected = _connect(_resolve(host, port, name, limits), port, deadline)
    # A server that sends a byte now and then never runs into the socket's own time limit.
    wires = [connected]
    alarm = Timer(max(deadline - time.monotonic(), 0.01), _shut, (wires,))
    alarm.daemon = True
    alarm.start()
    connection = http.client.HTTPConnection(host, port)
    try:
        if secure:
            wire = ssl.create_default_context().wrap_socket(
                connected, server_hostname=host, do_handshake_on_connect=False
            )
            wires[0] = wire
            wire.do_handshake()
        connection.sock = wires[0]
        path = urlunsplit(("", "", address.path or "/", address.query, ""))
        standard = 443 if secure else 80
        shown = f"[{host}]" if ":" in host else host
        headers = {
            "Host": shown if port == standard else f"{shown}:{port}",
            "Accept-Encoding": "identity",
            "User-Agent": "videollama2",
        }
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        target = response.headers.get("Location")
        if response.status in REDIRECTS and target:
            return target
        if response.status != 200:
            raise MediaFetchError(
                name, f"the server answered {response.status} {response.reason}", "Check it"
            )
        return _body(response, name, limits, deadline)
    finally:
        alarm.cancel()
        connection.close()
        wires[0].close()


def _body(
    response: http.client.HTTPResponse, name: str, limits: MediaLimits, deadline: float
) -> bytes:
    most = limits.max_memory_bytes
    promised = response.length
    if promised is not None and promised > most:
        raise too_large(name, f"{promised} bytes", f"{most} bytes", "max_memory_bytes")
    pieces = bytearray()
    while piece := response.read1(CHUNK):
        pieces += piece
        if len(pieces) > most:
            raise too_large(name, f"over {most} bytes", f"{most} bytes", "max_memory_bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    if time.monotonic() >= deadline:
        raise TimeoutError
    if promised is not None and len(pieces) < promised:
        raise MediaFetchError(
            name, f"cut off after {len(pieces)} of {promised} bytes", "Fetch it again"
        )
    return bytes(pieces)


def _shut(wires: list[socket.socket]) -> None:
    try:
        wires[0].shutdown(socket.SHUT_RDWR)
    except OSError:
        return
