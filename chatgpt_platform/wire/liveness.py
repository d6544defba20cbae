"""Notices peers that have closed (``heard``), or vanished without a word: a cable unplugged, a NAT that forgot.

Nothing comes from them any more, and no error either. Two cases, and no option of TCP covers both:

Nothing is on its way to the peer. Keepalive asks whether it is still there (``watch``).

Something is on its way. Keepalive rests then, and the system sends again for a quarter of an hour (Linux). It
would give up sooner by ``TCP_USER_TIMEOUT`` (``give_up_after``); but Linux also cuts a peer that is there and only
takes little at a time: while the window is opened by less than what is next, the time runs on. So that is for
what the peer's system surely takes at once. Where a slow reader must be spared, ``vanished`` looks whether the
peer's system answers at all.

Windows gives up by itself after five repetitions, some 20 s; others after minutes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final, Protocol

IDLE: Final = 15
"""Seconds of silence after which the peer is asked for the first time."""

INTERVAL: Final = 5
"""Seconds between the questions."""

COUNT: Final = 4
"""Questions without an answer after which the connection is over."""

GIVE_UP: Final = 30.0
"""Seconds that bytes may wait for the peer's system to take them, and that all those questions take."""

LINUX: Final = sys.platform == "linux"
"""Whether connections surely inherit the options of the socket that accepted them, and ``vanished`` can tell."""

_SELECTED: Final = 500
"""Sockets that Windows' ``select`` is asked about at a time: Python lets it have 512 (FD_SETSIZE)."""

_UNANSWERED: Final = 3
"""Repetitions without any answer: one or two may be lost on the way, or on their way yet."""

_INFO: Final = struct.Struct("@8B13I")
"""The beginning of struct tcp_info in linux/tcp.h, to tcpi_last_ack_recv."""

_RETRANSMITS: Final = 2
_PROBES: Final = 3
_LAST_ACK: Final = 20


class Options(Protocol):
    """A socket, or what uvloop shows of one."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def heard(descriptors: Iterable[int]) -> Iterable[int]:
    """Those of whose peers something waits to be read: bytes, an end, a reset. One question for all of them, on
    Windows for some hundreds."""
    if sys.platform == "win32":
        every = list(descriptors)
        some = [every[at : at + _SELECTED] for at in range(0, len(every), _SELECTED)]
        return [descriptor for each in some for descriptor in select.select(each, (), (), 0)[0]]
    else:  # noqa: RET505 - the type checker wants to see that one of both is there
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll(0)]


def watch(connection: Options) -> None:
    """Have the system ask a silent peer whether it is still there."""
    with contextlib.suppress(OSError):  # macOS: the peer has gone already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # macOS: the second
        interval, count = getattr(socket, "TCP_KEEPINTVL", None), getattr(socket, "TCP_KEEPCNT", None)
        for option, value in ((idle, IDLE), (interval, INTERVAL), (count, COUNT)):
            if option is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)


def give_up_after(connection: Options, seconds: float) -> None:
    """End the connection when bytes wait for so long for the peer's system to take them; 0: as the system does."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def vanished(connection: Options, seconds: float) -> bool:
    """Whether bytes were sent again and again, and nothing at all has come back for so long.

    A peer that reads slowly, or not at all, is there: its system answers. False where the system cannot tell.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, struct.error):
            info = _INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
            repeated = max(info[_RETRANSMITS], info[_PROBES])
            return bool(repeated >= _UNANSWERED and info[_LAST_ACK] >= seconds * 1000)
    return False
