"""A service that takes webhooks, and answers as a script says; the last answer for all that come later.

    async with Receiver(503, RESET, 204) as receiver:
        ... receiver.url, receiver.hooks ...

An answer is a status, or the bytes of a whole answer, or ``RESET``, or ``SILENCE``.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final

from support.scripted import Peer, RawServer

RESET: Final = b"reset"
SILENCE: Final = b"silence"


@dataclass(frozen=True)
class Hook:
    """A request. ``headers``: by their names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(RawServer):
    """``hooks``: what came, oldest first."""

    def __init__(self, *answers: int | bytes, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(self._take, tls=tls)
        self.hooks: list[Hook] = []
        self._answers = list(answers) or [204]

    async def _take(self, peer: Peer) -> None:
        try:
            while True:
                self.hooks.append(_read(await peer.request()))
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                if answer == RESET:
                    peer.reset()
                    return
                if answer == SILENCE:
                    await peer.gone()
                    return
                await peer.send(answer if isinstance(answer, bytes) else _plain(answer))
        except (asyncio.IncompleteReadError, OSError):  # the sender closed its connection
            return


def _plain(status: int) -> bytes:
    length = b"" if status == 204 else b"Content-Length: 0\r\n"
    return b"HTTP/1.1 %d Said\r\n%b\r\n" % (status, length)


def _read(request: bytes) -> Hook:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Hook(method, path, headers, body)
