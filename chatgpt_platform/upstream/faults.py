"""What an upstream can do wrong, as Problems. Foreign exceptions end here.

``FOREIGN`` is what connecting may raise and a transport may report: the OSError family (refused, reset,
``ssl.SSLError``, ``socket.gaierror``, ``TimeoutError``), a host name that cannot be one (UnicodeError, a
ValueError), an end of file; of a proxy, ``Refused``. httptools' errors become ``BadAnswer`` in ``answer``, those
of the library that speaks with proxies ``Refused`` and ``ProxyUnreachable`` in ``proxies``.

Details name the upstream's host and port, the proxy's, and the reason; never a header, a path, a key, a password.

``Problem.safe``: no connection came about, or not a byte of the request was written.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from chatgpt_platform.errors import Kind, Problem


class Refused(Exception):
    """A proxy said no, or nothing that can be understood; the text says why, in words that are not the proxy's."""


class ProxyUnreachable(OSError):
    """There is no connection with the proxy itself."""


FOREIGN: Final = (OSError, ValueError, EOFError, Refused)

_DESCRIPTORS: Final = "raise the limit on open files (ulimit -n, LimitNOFILE)"
_MEMORY: Final = "the system is short of memory for connections"
_EXHAUSTED: Final = {
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: "raise the system's limit on open files (fs.file-max)",
    errno.ENOBUFS: _MEMORY,
    errno.ENOMEM: _MEMORY,
    errno.EADDRNOTAVAIL: "no local port is free: widen net.ipv4.ip_local_port_range, or cap the calls",
    getattr(errno, "WSAEMFILE", errno.EMFILE): _DESCRIPTORS,
    getattr(errno, "WSAENOBUFS", errno.ENOBUFS): _MEMORY,
    getattr(errno, "WSAEADDRNOTAVAIL", errno.EADDRNOTAVAIL): "no local port is free: widen the dynamic port range",
}
"""What this machine may run out of, and the cure."""


def exhausted(error: Exception) -> bool:
    """Whether this machine is out of what a connection takes: no address would do better."""
    # The numbers of look-ups are others, and mean other things.
    return isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno in _EXHAUSTED


def unreachable(where: str, error: Exception) -> Problem:
    """No connection came about: refused, unresolvable, TLS in any way wrong; or none can be made here."""
    if isinstance(error, TimeoutError):
        return too_slow(where, "connect")
    if isinstance(error, OSError) and exhausted(error):
        reason = f"{error.strerror or type(error).__name__}; {_EXHAUSTED[error.errno or 0]}"
        detail = f"no connection to {where} can be made: {reason}"
        return Problem(Kind.UNAVAILABLE, "overloaded", safe=True, retry_after=1, seconds=1, detail=detail)
    detail = f"{where} cannot be reached: {_reason(error)}"
    return Problem(Kind.BAD_UPSTREAM, "upstream_unreachable", safe=True, detail=detail)


def too_slow(where: str, phase: str) -> Problem:
    """``phase``: connect, first_byte, idle or total."""
    detail = f"{where} was too slow: {phase} timeout"
    return Problem(Kind.UPSTREAM_TIMEOUT, safe=phase == "connect", detail=detail)


def nonsense(where: str, reason: str) -> Problem:
    """The answer is not HTTP, or not HTTP that is taken here."""
    return Problem(Kind.BAD_UPSTREAM, detail=f"the answer of {where} cannot be used: {reason}")


def unanswered(where: str, error: Exception | None, *, untouched: bool) -> Problem:
    """The connection ended before the head of the answer had come.

    ``untouched``: before a byte of the request was written.
    """
    return Problem(Kind.BAD_UPSTREAM, safe=untouched, detail=f"{where} {_end(error)} before it answered")


def broke_off(where: str, error: Exception | None) -> Problem:
    """The connection ended in the middle of the answer."""
    return Problem(Kind.BAD_UPSTREAM, "upstream_broke_off", detail=f"{where} {_end(error)} within its answer")


def let_go(where: str) -> Problem:
    """This side closed the connection; seen only by who still reads from it."""
    detail = f"the connection to {where} was closed here"
    return Problem(Kind.BAD_UPSTREAM, "upstream_broke_off", detail=detail)


def too_large(where: str, limit: int) -> Problem:
    """``limit``: bytes."""
    detail = f"the answer of {where} is above {limit} bytes"
    return Problem(Kind.BAD_UPSTREAM, "upstream_too_large", detail=detail)


def _end(error: Exception | None) -> str:
    return "closed the connection" if error is None else f"broke off ({_reason(error)})"


def _reason(error: Exception) -> str:
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, ProxyUnreachable):
        return error.strerror or "the proxy cannot be reached"
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
