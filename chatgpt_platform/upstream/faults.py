"""What an upstream can do wrong, as Problems. Foreign exceptions end here.

``FOREIGN`` is what connecting may raise and a transport may report: the OSError family (refused, reset,
``ssl.SSLError``, ``socket.gaierror``, ``TimeoutError``), a host name that cannot be one (UnicodeError, a
ValueError), an end of file. httptools' errors become ``BadAnswer`` in ``answer``.

Details name the upstream's host and port and the reason, never a header, a path or a key.
"""

from __future__ import annotations

from typing import Final

from chatgpt_platform.errors import Kind, Problem

FOREIGN: Final = (OSError, ValueError, EOFError)


def unreachable(where: str, error: Exception) -> Problem:
    """No connection came about: refused, unresolvable, TLS in any way wrong."""
    if isinstance(error, TimeoutError):
        return too_slow(where, "connect")
    detail = f"{where} cannot be reached: {_reason(error)}"
    return Problem(Kind.BAD_UPSTREAM, "upstream_unreachable", detail=detail)


def too_slow(where: str, phase: str) -> Problem:
    """``phase``: connect, first_byte, idle or total."""
    return Problem(Kind.UPSTREAM_TIMEOUT, detail=f"{where} was too slow: {phase} timeout")


def nonsense(where: str, reason: str) -> Problem:
    """The answer is not HTTP, or not HTTP that is taken here."""
    return Problem(Kind.BAD_UPSTREAM, detail=f"the answer of {where} cannot be used: {reason}")


def unanswered(where: str, error: Exception | None) -> Problem:
    """The connection ended before the head of the answer had come."""
    return Problem(Kind.BAD_UPSTREAM, detail=f"{where} {_end(error)} before it answered")


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
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
