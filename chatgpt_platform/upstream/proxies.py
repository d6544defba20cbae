"""The way to an upstream through a proxy: HTTP CONNECT and SOCKS5, spoken by python-socks.

    proxy = Proxy("socks5://user:password@proxy.example:1080")
    connection = await proxy.connect(address, "api.example.com", 443)    # a plain socket; TLS comes inside

Imported where a proxy is configured and only there. The proxy looks up the upstream's name, also with ``socks5``:
where the network is filtered, so is the look-up, and the name would not leave the machine unseen.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Final, cast
from urllib.parse import unquote_to_bytes, urlsplit

import python_socks
from python_socks.async_ import asyncio as ways

from chatgpt_platform.upstream.faults import ProxyUnreachable, Refused
from chatgpt_platform.wire import liveness

MAX_HEAD: Final = 64 * 1024
"""Bytes of an answer to CONNECT, with what comes along of its body."""

_LONGER: Final = 3600.0
"""Seconds: the caller's own time ends first."""

_HTTP, _SOCKS5 = python_socks.ProxyType.HTTP, python_socks.ProxyType.SOCKS5
_SCHEMES: Final = {"http": (_HTTP, 80), "socks5": (_SOCKS5, 1080), "socks5h": (_SOCKS5, 1080)}
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r]")


class Proxy:
    """One proxy. ``where``: host:port, for the log."""

    def __init__(self, url: str) -> None:
        """``url``: ``SCHEME://[user:password@]host[:port]``; the scheme is http, socks5 or socks5h.

        User and password are percent-encoded. Raises ValueError, whose text never repeats the URL.
        """
        # urlsplit drops tabs and line breaks without a word.
        if not _VISIBLE.fullmatch(url):
            raise ValueError("a proxy's URL has no spaces, control characters or letters outside ASCII")
        try:
            parts = urlsplit(url)
            told = parts.port
        except ValueError:  # it would repeat parts of the URL
            raise ValueError("a proxy's URL is http://[user:password@]host[:port], the port 1 to 65535") from None
        if parts.scheme not in _SCHEMES:
            raise ValueError("a proxy's URL begins with http://, socks5:// or socks5h://")
        if not parts.hostname or parts.path not in ("", "/") or "?" in url or "#" in url:
            raise ValueError("a proxy's URL has a host, perhaps a port, and nothing behind it")
        self._kind, port = _SCHEMES[parts.scheme]
        self.host: Final = parts.hostname
        self.port: Final = port if told is None else told
        if self.port == 0:
            raise ValueError("port 0 cannot be connected to")
        self.where: Final = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        self._user, self._password = _credentials(parts.username, parts.password, self._kind)

    async def connect(self, address: str, host: str, port: int) -> socket.socket:
        """A socket whose other end is ``host``, a name or an address, as the proxy at ``address`` sees it.

        Raises OSError where the proxy cannot be reached, and Refused. Cancelling it closes the connection.
        """
        line = _Line(self._kind)
        proxy = ways.Proxy(
            self._kind,
            address,
            self.port,
            self._user,
            self._password,
            rdns=True,
            loop=cast("asyncio.AbstractEventLoop", line),
        )
        try:
            connection = await proxy.connect(host, port, timeout=_LONGER)
        except python_socks.ProxyConnectionError as error:
            cause = error.__cause__
            reason = f"{type(cause).__name__}: {cause.strerror}" if isinstance(cause, OSError) else "no connection"
            raise ProxyUnreachable(error.errno or 0, f"the proxy cannot be reached: {reason}") from None
        except Exception as error:  # noqa: BLE001 - whatever the library raises, and what its socket does
            raise Refused(self._reason(error, line)) from None
        if line.behind:
            connection.close()
            raise Refused("the proxy sent more than its answer")
        return connection

    def _reason(self, error: Exception, line: _Line) -> str:
        """Why there is no way through, in words of ours and the library's: the proxy's own might hold anything."""
        if isinstance(error, Refused):
            return str(error)
        if isinstance(error, OSError):
            return f"the proxy broke off: {type(error).__name__}"
        if not isinstance(error, python_socks.ProxyError):
            return f"the proxy's answer cannot be used: {type(error).__name__}"
        if self._kind is _SOCKS5:
            return f"the proxy refused: {error}"
        hint = " (user and password)" if line.status == 407 else ""
        return f"the proxy refused: {line.status}{hint}"


class _Line:
    """What the library needs of the event loop.

    Its own way to read takes what the first packet brings for the whole answer to CONNECT.
    """

    def __init__(self, kind: python_socks.ProxyType) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._http: Final = kind is _HTTP
        self.status = 0
        self.behind = b""
        """What came behind the head of an answer that opened the way."""

    async def sock_connect(self, sock: socket.socket, address: tuple[object, ...]) -> None:
        liveness.watch(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does it only for sockets of its own
        await self._loop.sock_connect(sock, address)

    async def sock_sendall(self, sock: socket.socket, data: bytes) -> None:
        await self._loop.sock_sendall(sock, data)

    async def sock_recv(self, sock: socket.socket, size: int) -> bytes:
        """What has come; of an answer to CONNECT its whole head."""
        if not self._http:
            return await self._loop.sock_recv(sock, size)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = await self._loop.sock_recv(sock, size)
            if not piece:
                raise Refused("the proxy closed the connection before it answered")
            data += piece
            if not (data.startswith(b"HTTP/") or b"HTTP/".startswith(data)):
                raise Refused("the proxy's answer is not HTTP")
            if len(data) > MAX_HEAD:
                raise Refused("the proxy's answer does not end")
        head, _, behind = data.partition(b"\r\n\r\n")
        status = _STATUS.match(head + b"\r\n")
        if status is None:
            raise Refused("the proxy's answer is not HTTP")
        self.status = int(status[1])
        self.behind = behind
        return head


def _credentials(
    user: str | None, password: str | None, kind: python_socks.ProxyType
) -> tuple[str | None, str | None]:
    """As the library takes them: it encodes those for HTTP as Latin-1, and those for SOCKS5 as ASCII."""
    if user is None:
        return None, None
    name, word = (unquote_to_bytes(part or "").decode("latin-1") for part in (user, password))
    if kind is _SOCKS5:
        # RFC 1929: a length in one byte before each.
        if not (0 < len(name) <= 255 and 0 < len(word) <= 255 and (name + word).isascii()):
            raise ValueError("a SOCKS5 proxy's user and password are 1 to 255 ASCII characters each")
    elif not name or ":" in name:
        raise ValueError("an HTTP proxy's user is not empty and has no colon")
    return name, word
